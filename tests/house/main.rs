//! The house: the order of the floors, and the width of what is written.

mod floors;
mod prose;
