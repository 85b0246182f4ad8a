//! Requests written for other engines.
