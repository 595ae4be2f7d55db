//! A value of an outbox's statement.

use std::time::Duration;

use crate::outbox::TransactionId;
use crate::store::sql::micros;

/// A value of a statement.
#[derive(Debug, Clone)]
pub(in crate::store) enum StatementValue {
    Number(i64),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl StatementValue {
    pub(super) fn id(id: TransactionId) -> Self {
        Self::Bytes(Some(id.to_bytes().to_vec()))
    }

    pub(super) fn time(time: Duration) -> Self {
        Self::Number(micros(time))
    }
}
