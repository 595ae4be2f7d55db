//! Programs that must compile without a warning, under lints that many teams turn on.
#![allow(missing_docs, reason = "these are users' programs and no API")]
#![deny(warnings, clippy::all, clippy::pedantic, clippy::nursery)]

mod attribute;
