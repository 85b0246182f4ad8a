//! Mods: what they may contain, what is refused with a hint, and the commands on them.

mod archive;
mod cli;
mod load;
mod made;
mod order;
mod patch;
mod reload;
mod rules;
