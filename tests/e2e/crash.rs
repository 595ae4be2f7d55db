//! Processes that are killed while they handle messages.
