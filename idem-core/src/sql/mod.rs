//! SQL for the user's own tables: [`guard`]s that make the work of a message safe to repeat.
//!
//! All of it is generic over sqlx's three databases, whichever of the features `postgres`, `mysql` and `sqlite` are on.

mod dialect;
mod name;
mod target;

pub mod guard;

pub use self::dialect::Dialect;
pub use self::target::{InTransaction, Target};
