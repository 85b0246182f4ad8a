//! Nothing from a file reaches a terminal as a command.
