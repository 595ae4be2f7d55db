//! Records, page after page.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::AdminError;
use crate::store::{ListedRecord, PageRequest, RecordFilter, Store};

/// The records that a filter takes, read as they are asked for.
///
/// It rests after each page, as long as the page took: so it takes half of a connection's time at most, and a server that is busy
/// is asked less often. Among millions of records that takes its time; a [namespace](RecordFilter::namespace) that is said spares
/// SQL stores all others, and `PostgreSQL` and `SQLite` find those in doubt without reading the others.
///
/// # Cancel safety
/// A dropped [`next`](Self::next) loses nothing: the page is asked for again. [`all`](Self::all) does.
pub struct Listing {
    store: Arc<dyn Store>,
    filter: RecordFilter,
    page: PageRequest,
    found: std::vec::IntoIter<ListedRecord>,
    is_over: bool,
    rest: Duration,
}

impl Listing {
    pub(super) fn new(store: Arc<dyn Store>, filter: RecordFilter) -> Self {
        let (page, rest) = (PageRequest::default(), Duration::ZERO);
        Self { store, filter, page, found: Vec::new().into_iter(), is_over: false, rest }
    }

    /// How many records a page looks at: a thousand unless said otherwise.
    #[must_use]
    pub fn rows(mut self, rows: u32) -> Self {
        self.page.rows = rows;
        self
    }

    /// The next record; `None` behind the last one.
    ///
    /// # Errors
    /// The store does not answer. Asking again goes on at the same place.
    pub async fn next(&mut self) -> Result<Option<ListedRecord>, AdminError> {
        loop {
            if let Some(found) = self.found.next() {
                return Ok(Some(found));
            }
            if self.is_over {
                return Ok(None);
            }
            sleep(self.rest).await;
            let begun = Instant::now();
            let page = self.store.list(&self.filter, &self.page).await?;
            self.rest = begun.elapsed();
            self.found = page.records.into_iter();
            self.is_over = page.next.is_none();
            self.page.after = page.next;
        }
    }

    /// All records that are left.
    ///
    /// # Errors
    /// The store does not answer. Asking again has all of them.
    ///
    /// # Cancel safety
    /// Dropped, it has lost the records that it had found.
    pub async fn all(&mut self) -> Result<Vec<ListedRecord>, AdminError> {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(found)) => all.push(found),
                Ok(None) => return Ok(all),
                Err(error) => {
                    self.found = all.into_iter();
                    return Err(error);
                }
            }
        }
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("filter", &self.filter)
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}
