//! Messages that cannot be handled.
