//! Handlers that take their time.
