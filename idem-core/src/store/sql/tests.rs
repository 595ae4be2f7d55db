//! Helpers of the tests of the tables of codes.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use sqlx::error::{DatabaseError, ErrorKind};

use super::codes::{Code, look_up};
use super::meaning::ErrorSort;

pub(in crate::store) fn each_code_stands_once<C: PartialEq + fmt::Debug>(table: &[Code<C>]) {
    for (place, (code, name, _)) in table.iter().enumerate() {
        assert!(!name.is_empty());
        assert!(table[..place].iter().all(|(before, ..)| before != code), "{code:?} stands twice");
    }
}

pub(in crate::store) fn sort_of<C: PartialEq>(table: &[Code<C>], code: &C) -> Option<ErrorSort> {
    look_up(table, code).map(|known| known.meaning.sort())
}

/// A server's error: a code, and words.
#[derive(Debug)]
pub(in crate::store) struct FakeServerError(
    pub(in crate::store) &'static str,
    pub(in crate::store) &'static str,
);

impl fmt::Display for FakeServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }
}

impl StdError for FakeServerError {}

impl DatabaseError for FakeServerError {
    fn message(&self) -> &str {
        self.1
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.0.into())
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}
