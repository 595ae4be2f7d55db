//! The rules, each a function that panics where the store breaks it.

mod attempts;
mod batches;
mod bounds;
mod decisions;
mod doubts;
mod fences;
mod foreign;
mod keys;
mod leases;
mod lists;
mod records;
mod tokens;

pub use self::attempts::*;
pub use self::batches::*;
pub use self::bounds::*;
pub use self::decisions::*;
pub use self::doubts::*;
pub use self::fences::*;
pub use self::foreign::*;
pub use self::keys::*;
pub use self::leases::*;
pub use self::lists::*;
pub use self::records::*;
pub use self::tokens::*;
