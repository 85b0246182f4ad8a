//! Conversions that are kept: right, bounded, and healed.
