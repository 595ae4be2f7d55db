//! A value of a statement.

use std::time::Duration;

use super::IDS;
use crate::store::sql::micros;

/// A value of a statement.
#[derive(Debug, Clone)]
pub(in crate::store) enum StatementValue {
    Number(i64),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl StatementValue {
    pub(in crate::store) fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(Some(bytes.into()))
    }

    pub(in crate::store) fn text(text: impl Into<String>) -> Self {
        Self::Text(Some(text.into()))
    }

    pub(in crate::store) fn time(time: Duration) -> Self {
        Self::Number(micros(time))
    }
}

/// The ids fill their places in the statement; the last one is there more than once.
pub(in crate::store) fn with_ids(
    mut values: Vec<StatementValue>,
    ids: impl Iterator<Item = StatementValue>,
) -> Vec<StatementValue> {
    let (before, mut last) = (values.len(), None);
    values.extend(ids.inspect(|id| last = Some(id.clone())));
    values.resize(before + IDS, last.unwrap_or(StatementValue::Bytes(None)));
    values
}
