//! Mods: what they may contain, what is refused with a hint, and the commands on them.

mod cli;
mod load;
