//! What is shown before a command runs is what runs.
