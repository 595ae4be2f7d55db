//! Batches: sorted, without equal keys, and asked again where a key's answer is open.

use std::collections::HashSet;

use super::dialect::{Connection, Reply, StoreDialect};
use super::entry::BatchEntry;
use super::found::{self, KeyRow, RecordRow, RowAnswer};
use super::key;
use super::link::{ConnectionWork, SqlLink};
use crate::key::RecordKey;
use crate::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, StoreError,
};

/// How often a key is asked again. Each time somebody else has changed it between a statement's first look at it and
/// its write, so a few are many.
const MOST_ROUNDS: usize = 20;

impl<R: BatchRequest> BatchEntry<R> {
    pub(in crate::store) fn new(request: R, place: usize) -> Self {
        Self { key: key::stored(request.key()), request, place }
    }
}

/// A request of one of the store's operations over batches.
pub(in crate::store) trait BatchRequest: Clone + Send + Sync + 'static {
    type Found: Send;
    type Answer: Send + 'static;

    fn key(&self) -> &RecordKey;
    fn stored_key(found: &Self::Found) -> &[u8];
    /// Sends the operation's statement.
    fn send<D: StoreDialect>(
        dialect: &D,
        on: &mut Connection<D>,
        batch: &[BatchEntry<Self>],
    ) -> impl Reply<Vec<Self::Found>>;
    /// The meaning of the row, or of its absence; `None` if the key must be asked again.
    fn answer(&self, found: Option<Self::Found>) -> RowAnswer<Self::Answer>;
}

macro_rules! requests {
    ($($request:ty => $operation:ident by $send:ident: $found:ident as $standing:expr, $answer:ty;)*) => {$(
        impl BatchRequest for $request {
            type Found = $found;
            type Answer = $answer;

            fn key(&self) -> &RecordKey {
                &self.key
            }

            fn stored_key(found: &$found) -> &[u8] {
                let standing: fn(&$found) -> &KeyRow = $standing;
                &standing(found).key
            }

            fn send<D: StoreDialect>(
                dialect: &D,
                on: &mut Connection<D>,
                batch: &[BatchEntry<Self>],
            ) -> impl Reply<Vec<$found>> {
                dialect.$send(on, batch)
            }

            fn answer(&self, found: Option<$found>) -> RowAnswer<$answer> {
                found::$operation(self, found)
            }
        }
    )*};
}

requests! {
    ClaimRequest => claim by claim_freshly: RecordRow as |found| &found.standing, Claim;
    RenewRequest => renew by renew: KeyRow as |found| found, Answer;
    CompleteRequest => complete by complete: KeyRow as |found| found, Answer;
    ReleaseRequest => release by release: KeyRow as |found| found, Answer;
}

/// Sends a batch. Of equal keys only the first is in the statement; the others follow, one after the other.
pub(in crate::store) async fn run<D: StoreDialect, R: BatchRequest>(
    link: &SqlLink<D>,
    batch: Vec<R>,
) -> Answers<R::Answer> {
    let mut answers: Vec<_> = batch.iter().map(|_| None).collect();
    let mut rest: Vec<_> =
        batch.into_iter().enumerate().map(|(place, request)| BatchEntry::new(request, place)).collect();
    while !rest.is_empty() {
        let (mut distinct, equal) = without_equal_keys(rest);
        distinct.sort_unstable_by(|one, two| one.key.cmp(&two.key));
        settle(link, distinct, &mut answers).await?;
        rest = equal;
    }
    Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(restless::<D>()))).collect())
}

/// The first entry of each key, and the others.
fn without_equal_keys<R>(entries: Vec<BatchEntry<R>>) -> (Vec<BatchEntry<R>>, Vec<BatchEntry<R>>) {
    let mut seen = HashSet::with_capacity(entries.len());
    let first: Vec<bool> = entries.iter().map(|entry| seen.insert(entry.key.as_slice())).collect();
    let mut first = first.into_iter();
    entries.into_iter().partition(|_| first.next().unwrap_or(true))
}

/// Asks until each entry has its answer, or for long enough.
async fn settle<D: StoreDialect, R: BatchRequest>(
    link: &SqlLink<D>,
    mut open: Vec<BatchEntry<R>>,
    answers: &mut [RowAnswer<R::Answer>],
) -> Result<(), StoreError> {
    for _ in 0..MOST_ROUNDS {
        let rows = link.call(&BatchCall(&open)).await?;
        open = still_open(open, rows, answers);
        if open.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Claims in a transaction: sorted, so that two of them wait for each other and never both. None for a key that others
/// change all the time.
///
/// A row that is asked again was locked by the first statement, so that nothing is waited for out of the order.
pub(super) async fn claim_inside<D: StoreDialect>(
    dialect: &D,
    on: &mut Connection<D>,
    requests: &[ClaimRequest],
) -> sqlx::Result<Vec<RowAnswer<Claim>>> {
    let entries = requests.iter().cloned().enumerate();
    let mut open: Vec<_> = entries.map(|(place, request)| BatchEntry::new(request, place)).collect();
    open.sort_unstable_by(|one, two| one.key.cmp(&two.key));
    let mut answers: Vec<_> = requests.iter().map(|_| None).collect();
    for _ in 0..MOST_ROUNDS {
        let rows = dialect.claim_inside(on, &open).await?;
        let rows = dialect.freshened(on, &open, rows).await?;
        open = still_open(open, rows, &mut answers);
        if open.is_empty() {
            break;
        }
    }
    Ok(answers)
}

/// Takes the answers out of the rows. Returns the entries that must be asked again.
fn still_open<R: BatchRequest>(
    entries: Vec<BatchEntry<R>>,
    rows: Vec<R::Found>,
    answers: &mut [RowAnswer<R::Answer>],
) -> Vec<BatchEntry<R>> {
    let rows = in_order(rows, &entries);
    let unanswered = |(entry, found): (BatchEntry<R>, Option<R::Found>)| {
        answers[entry.place] = entry.request.answer(found);
        answers[entry.place].is_none().then_some(entry)
    };
    entries.into_iter().zip(rows).filter_map(unanswered).collect()
}

/// The row of each entry.
fn in_order<R: BatchRequest>(rows: Vec<R::Found>, entries: &[BatchEntry<R>]) -> Vec<Option<R::Found>> {
    let mut ordered: Vec<_> = entries.iter().map(|_| None).collect();
    for row in rows {
        let key = R::stored_key(&row);
        if let Ok(place) = entries.binary_search_by(|entry| entry.key.as_slice().cmp(key)) {
            ordered[place] = Some(row);
        }
    }
    ordered
}

fn restless<D: StoreDialect>() -> StoreError {
    StoreError::unavailable(format!(
        "{} did not come to an answer: others change the key all the time",
        D::TITLE
    ))
}

/// The statement of a batch.
struct BatchCall<'a, R>(&'a [BatchEntry<R>]);

impl<D: StoreDialect, R: BatchRequest> ConnectionWork<D> for BatchCall<'_, R> {
    type Output = Vec<R::Found>;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl Reply<Self::Output> {
        R::send(dialect, on, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_follow_in_their_order() {
        let entry = |(place, key): (usize, &u8)| BatchEntry { key: vec![*key], request: (), place };
        let entries = [1, 2, 1, 1, 3, 2].iter().enumerate().map(entry).collect();
        let places = |entries: &[BatchEntry<()>]| entries.iter().map(|entry| entry.place).collect::<Vec<_>>();
        let (first, rest) = without_equal_keys(entries);
        assert_eq!((places(&first), places(&rest)), (vec![0, 1, 4], vec![2, 3, 5]));
        let (second, rest) = without_equal_keys(rest);
        assert_eq!((places(&second), places(&rest)), (vec![2, 5], vec![3]));
    }
}
