//! The macros as users see them. The tests are beside this file.
//!
//! The programs with mistakes know this library as `serde`. Of the two builds of serde, one is for build scripts, and only a crate
//! that depends on serde is sure to have the other one.

pub use serde::*;
