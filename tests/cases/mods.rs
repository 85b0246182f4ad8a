//! Mods and queues.
