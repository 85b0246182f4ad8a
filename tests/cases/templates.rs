//! Chat templates from strangers.
