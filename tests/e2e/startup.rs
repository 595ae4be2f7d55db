//! Every mistake that a start-up finds, by its text.
