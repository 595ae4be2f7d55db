//! Listings: ranges of the primary key, one after the other.
//!
//! A page reads two things, each by one statement: where the next one begins, and those rows until there that the filter takes.
//! So it is bounded by the rows that are looked at, and neither by those that are found nor by the table's size. Where the
//! database has an index of the records in doubt, these are read from it.

use std::sync::Arc;

use super::plain::{Blobs, Listed, PlainDialect, StatementValue, statements};
use super::{SqlStoreCore, key, micros};
use crate::clock::LONGEST;
use crate::record::State;
use crate::store::list::KeyFilter;
use crate::store::remote::on_runtime;
use crate::store::sql::found::{COMPLETED, IN_PROGRESS, RELEASED, RecordRow};
use crate::store::{ListedRecord, PageCursor, PageRequest, RecordFilter, RecordPage, StoreError};

statements! { ListStatements in "sql": end range doubts }

impl<D: PlainDialect> SqlStoreCore<D> {
    pub(in crate::store) async fn list(
        self: &Arc<Self>,
        filter: &RecordFilter,
        page: &PageRequest,
    ) -> Result<RecordPage, StoreError> {
        let (core, filter, page) = (Arc::clone(self), filter.clone(), page.clone());
        on_runtime(async move { core.link.in_time(core.page(&filter, &page)).await }).await?
    }

    async fn page(&self, filter: &RecordFilter, page: &PageRequest) -> Result<RecordPage, StoreError> {
        let statements = ListStatements::new(&self.names, &D::SYNTAX);
        let after = page.after.as_ref().map_or(&[][..], PageCursor::as_bytes);
        let mut ranges = ranges(filter).into_iter().filter(|(_, high)| after < high.as_slice());
        let Some((low, high)) = ranges.next() else {
            return Ok(RecordPage { records: Vec::new(), next: None });
        };
        let range = KeyRange { low: low.max(after.to_vec()), high, rows: page.rows.max(1) };
        let (records, end) = if filter.doubt == Some(true) && D::SYNTAX.has_partial_indexes {
            self.doubts(&statements, filter, &range).await?
        } else {
            self.range(&statements, filter, &range).await?
        };
        let next = end.or_else(|| ranges.next().map(|(low, _)| low)).map(PageCursor::from_bytes);
        let is_taken = |record: &ListedRecord| filter.takes_namespace(record.key.namespace());
        Ok(RecordPage { records: records.into_iter().filter(is_taken).collect(), next })
    }

    /// The records of the range that the filter takes, and where the next page begins if that is before the range's end.
    async fn range(
        &self,
        statements: &ListStatements,
        filter: &RecordFilter,
        range: &KeyRange,
    ) -> Result<(Vec<ListedRecord>, Option<Vec<u8>>), StoreError> {
        let [low, high] = range.ends();
        let rows = StatementValue::Number(i64::from(range.rows));
        let end = Blobs { statement: &statements.end, values: &[low.clone(), high.clone(), rows] };
        let end = self.link.call(&end).await?.pop().flatten();
        let state = match filter.state {
            None => 0,
            Some(State::InProgress) => IN_PROGRESS,
            Some(State::Completed) => COMPLETED,
            Some(State::Released) => RELEASED,
        };
        let values = [
            low,
            end.clone().map_or(high, StatementValue::bytes),
            StatementValue::Number(state),
            StatementValue::Number(filter.doubt.map_or(2, i64::from)),
            // A fence may be ahead of a clock that has stepped back.
            StatementValue::Number(filter.shortest.map_or(0_i64.saturating_sub(micros(LONGEST)), micros)),
            StatementValue::time(filter.longest),
        ];
        let rows = self.link.call(&Listed { statement: &statements.range, values: &values }).await?;
        Ok((rows.into_iter().map(RecordRow::listed).collect(), end))
    }

    /// As [`range`](Self::range), of those in doubt alone.
    async fn doubts(
        &self,
        statements: &ListStatements,
        filter: &RecordFilter,
        range: &KeyRange,
    ) -> Result<(Vec<ListedRecord>, Option<Vec<u8>>), StoreError> {
        let [low, high] = range.ends();
        let values = [low, high, StatementValue::Number(i64::from(range.rows))];
        let rows = self.link.call(&Listed { statement: &statements.doubts, values: &values }).await?;
        let is_full = usize::try_from(range.rows).is_ok_and(|most| rows.len() >= most);
        // The next key that could be.
        let end = rows.last().filter(|_| is_full).map(|row| [&row.standing.key[..], &[0]].concat());
        let live = rows.into_iter().filter(RecordRow::is_live).map(RecordRow::listed);
        Ok((live.filter(|record| filter.takes(record)).collect(), end))
    }
}

/// The next rows from one key on, and less than another.
struct KeyRange {
    low: Vec<u8>,
    high: Vec<u8>,
    rows: u32,
}

impl KeyRange {
    fn ends(&self) -> [StatementValue; 2] {
        [&self.low, &self.high].map(|end| StatementValue::bytes(end.clone()))
    }
}

/// Where the keys are that the filter takes, in order.
fn ranges(filter: &RecordFilter) -> Vec<(Vec<u8>, Vec<u8>)> {
    match &filter.keys {
        KeyFilter::All | KeyFilter::Within(_) => vec![key::everything()],
        KeyFilter::Exactly(namespace) => key::ranges(namespace).into(),
        KeyFilter::One(key) => {
            let only = key::stored(key);
            let next = [&only[..], &[0]].concat();
            vec![(only, next)]
        }
    }
}
