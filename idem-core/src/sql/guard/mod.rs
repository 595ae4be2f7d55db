#![doc = include_str!("docs/guard.md")]

mod advance;
mod answer;
mod error;
mod insert;
mod lock;
mod row;
pub mod stage;
mod statement;
mod version;

pub use self::advance::{AdvanceState, advance_state};
pub use self::answer::{Conflict, Guarded};
pub use self::error::Error;
pub use self::insert::{InsertOnce, insert_once};
pub use self::lock::{DEFAULT_WAIT, LockRow, lock_row};
pub use self::statement::Bind;
pub use self::version::{BumpVersion, bump_version};
