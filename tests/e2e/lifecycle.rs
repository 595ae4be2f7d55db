//! From start to end, and what a stop leaves behind.
