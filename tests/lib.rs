//! Tests across the crates of idem. There is no library here.
