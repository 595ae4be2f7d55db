//! Batches: sorted, without equal keys, and asked again where a key's answer is open.

use std::collections::HashSet;

use super::dialect::{Connection, Dialect, Reply};
use super::found::{self, Found, Standing};
use super::key;
use super::link::{Link, Work};
use crate::key::RecordKey;
use crate::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, StoreError,
};

/// How often a key is asked again. Each time somebody else has changed it between a statement's first look at it and
/// its write, so a few are many.
const MOST_ROUNDS: usize = 20;

/// One request of a batch, and the key that it is stored under.
pub(in crate::store) struct Entry<R> {
    pub(in crate::store) key: Vec<u8>,
    pub(in crate::store) request: R,
    /// Where its answer goes.
    place: usize,
}

impl<R: Request> Entry<R> {
    pub(in crate::store) fn new(request: R, place: usize) -> Self {
        Self { key: key::stored(request.key()), request, place }
    }
}

/// A request of one of the store's operations over batches.
pub(in crate::store) trait Request: Clone + Send + Sync + 'static {
    type Found: Send;
    type Answer: Send + 'static;

    fn key(&self) -> &RecordKey;
    fn stored_key(found: &Self::Found) -> &[u8];
    /// Sends the operation's statement.
    fn send<D: Dialect>(
        dialect: &D,
        on: &mut Connection<D>,
        batch: &[Entry<Self>],
    ) -> impl Reply<Vec<Self::Found>>;
    /// What the row means, or that there is none; `None` where the key must be asked again.
    fn answer(&self, found: Option<Self::Found>) -> Option<Result<Self::Answer, StoreError>>;
}

macro_rules! requests {
    ($($request:ty => $operation:ident by $send:ident: $found:ident as $standing:expr, $answer:ty;)*) => {$(
        impl Request for $request {
            type Found = $found;
            type Answer = $answer;

            fn key(&self) -> &RecordKey {
                &self.key
            }

            fn stored_key(found: &$found) -> &[u8] {
                let standing: fn(&$found) -> &Standing = $standing;
                &standing(found).key
            }

            fn send<D: Dialect>(
                dialect: &D,
                on: &mut Connection<D>,
                batch: &[Entry<Self>],
            ) -> impl Reply<Vec<$found>> {
                dialect.$send(on, batch)
            }

            fn answer(&self, found: Option<$found>) -> Option<Result<$answer, StoreError>> {
                found::$operation(self, found)
            }
        }
    )*};
}

requests! {
    ClaimRequest => claim by claim_freshly: Found as |found| &found.standing, Claim;
    RenewRequest => renew by renew: Standing as |found| found, Answer;
    CompleteRequest => complete by complete: Standing as |found| found, Answer;
    ReleaseRequest => release by release: Standing as |found| found, Answer;
}

/// Sends a batch. Of equal keys only the first is in the statement; the others follow, one after the other.
pub(in crate::store) async fn run<D: Dialect, R: Request>(
    link: &Link<D>,
    batch: Vec<R>,
) -> Answers<R::Answer> {
    let mut answers: Vec<_> = batch.iter().map(|_| None).collect();
    let mut rest: Vec<_> =
        batch.into_iter().enumerate().map(|(place, request)| Entry::new(request, place)).collect();
    while !rest.is_empty() {
        let (mut distinct, equal) = without_equal_keys(rest);
        distinct.sort_unstable_by(|one, two| one.key.cmp(&two.key));
        settle(link, distinct, &mut answers).await?;
        rest = equal;
    }
    Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(restless::<D>()))).collect())
}

/// The first entry of each key, and the others.
fn without_equal_keys<R>(entries: Vec<Entry<R>>) -> (Vec<Entry<R>>, Vec<Entry<R>>) {
    let mut seen = HashSet::with_capacity(entries.len());
    let first: Vec<bool> = entries.iter().map(|entry| seen.insert(entry.key.as_slice())).collect();
    let mut first = first.into_iter();
    entries.into_iter().partition(|_| first.next().unwrap_or(true))
}

/// Asks until each entry has its answer, or for long enough.
async fn settle<D: Dialect, R: Request>(
    link: &Link<D>,
    mut open: Vec<Entry<R>>,
    answers: &mut [Option<Result<R::Answer, StoreError>>],
) -> Result<(), StoreError> {
    for _ in 0..MOST_ROUNDS {
        let rows = link.call(&Batch(&open)).await?;
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
/// What is asked again is a row that the first statement has locked, so that nothing is waited for out of the order.
pub(super) async fn claim_inside<D: Dialect>(
    dialect: &D,
    on: &mut Connection<D>,
    requests: &[ClaimRequest],
) -> sqlx::Result<Vec<Option<Result<Claim, StoreError>>>> {
    let entries = requests.iter().cloned().enumerate();
    let mut open: Vec<_> = entries.map(|(place, request)| Entry::new(request, place)).collect();
    open.sort_unstable_by(|one, two| one.key.cmp(&two.key));
    let mut answers: Vec<_> = requests.iter().map(|_| None).collect();
    for _ in 0..MOST_ROUNDS {
        let rows = dialect.claim_inside(on, &open).await?;
        let rows = freshened(dialect, on, &open, rows).await?;
        open = still_open(open, rows, &mut answers);
        if open.is_empty() {
            break;
        }
    }
    Ok(answers)
}

/// Gives fresh fences to what was claimed with old ones, and leaves out its rows, so that they are asked for again.
pub(super) async fn freshened<D: Dialect>(
    dialect: &D,
    on: &mut Connection<D>,
    batch: &[Entry<ClaimRequest>],
    mut rows: Vec<Found>,
) -> sqlx::Result<Vec<Found>> {
    let mut stale = Vec::new();
    rows.retain(|row| {
        let place = batch.binary_search_by(|entry| entry.key.cmp(&row.standing.key)).ok();
        let entry = place.map(|place| &batch[place]);
        let entry = entry.filter(|entry| row.is_stale(&entry.request, dialect.prompt()));
        stale.extend(entry.map(|entry| Entry::new(entry.request.clone(), entry.place)));
        entry.is_none()
    });
    if !stale.is_empty() {
        dialect.freshen(on, &stale).await?;
    }
    Ok(rows)
}

/// Takes the answers out of the rows. What must be asked again.
fn still_open<R: Request>(
    entries: Vec<Entry<R>>,
    rows: Vec<R::Found>,
    answers: &mut [Option<Result<R::Answer, StoreError>>],
) -> Vec<Entry<R>> {
    let rows = in_order(rows, &entries);
    let unanswered = |(entry, found): (Entry<R>, Option<R::Found>)| {
        answers[entry.place] = entry.request.answer(found);
        answers[entry.place].is_none().then_some(entry)
    };
    entries.into_iter().zip(rows).filter_map(unanswered).collect()
}

/// The row of each entry.
fn in_order<R: Request>(rows: Vec<R::Found>, entries: &[Entry<R>]) -> Vec<Option<R::Found>> {
    let mut ordered: Vec<_> = entries.iter().map(|_| None).collect();
    for row in rows {
        let key = R::stored_key(&row);
        if let Ok(place) = entries.binary_search_by(|entry| entry.key.as_slice().cmp(key)) {
            ordered[place] = Some(row);
        }
    }
    ordered
}

fn restless<D: Dialect>() -> StoreError {
    StoreError::unavailable(format!(
        "{} did not come to an answer: others change the key all the time",
        D::TITLE
    ))
}

/// The statement of a batch.
struct Batch<'a, R>(&'a [Entry<R>]);

impl<D: Dialect, R: Request> Work<D> for Batch<'_, R> {
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
        let entry = |(place, key): (usize, &u8)| Entry { key: vec![*key], request: (), place };
        let entries = [1, 2, 1, 1, 3, 2].iter().enumerate().map(entry).collect();
        let places = |entries: &[Entry<()>]| entries.iter().map(|entry| entry.place).collect::<Vec<_>>();
        let (first, rest) = without_equal_keys(entries);
        assert_eq!((places(&first), places(&rest)), (vec![0, 1, 4], vec![2, 3, 5]));
        let (second, rest) = without_equal_keys(rest);
        assert_eq!((places(&second), places(&rest)), (vec![2, 5], vec![3]));
    }
}
