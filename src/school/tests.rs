//! A whole school on the built-in model.
