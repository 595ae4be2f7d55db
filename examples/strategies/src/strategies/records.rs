//! A record in the work's own transaction: idem's transactional mode.

use super::*;

pub(super) fn strategies(ground: &Ground) -> [Strategy; 3] {
    [
        ground.strategy(
            "message Keys, cache, database, transaction",
            "example-keys",
            &ground.tiered,
            handlers![keys_of_the_producer],
        ),
        ground.strategy("flow record of order and scene", "example-flow", &ground.store, handlers![flow]),
        ground.strategy(
            "lock table with a unique index",
            "example-lock-table",
            &ground.store,
            handlers![under_the_record],
        ),
    ]
    .map(|strategy| strategy.weak_at("effects outside of the database"))
}

/// Under the key that the producer has sent the message with, whatever the payload is. A cache in front of the database
/// knows most duplicates.
#[idempotent(key_from = producer_key, topic = "example-keys", transactional, backoff = "1s")]
async fn keys_of_the_producer(
    paid: Paid,
    tx: &mut Connection,
    State(books): State<Books>,
    attempt: Attempt,
) -> HandlerResult {
    books.work(tx, &paid, attempt).await
}

/// The order counts once in this scene. Another one, such as `points`, would count it again.
#[idempotent(key = "order", scope = "gmv", topic = "example-flow", transactional, backoff = "1s")]
async fn flow(
    paid: Paid,
    tx: &mut Connection,
    State(books): State<Books>,
    attempt: Attempt,
) -> HandlerResult {
    books.work(tx, &paid, attempt).await
}

/// The record is the lock's row: its key is unique, so that a duplicate beside this run waits until that one has committed.
#[idempotent(key = "order", topic = "example-lock-table", transactional, backoff = "1s")]
async fn under_the_record(
    paid: Paid,
    tx: &mut Connection,
    State(books): State<Books>,
    attempt: Attempt,
) -> HandlerResult {
    books.work(tx, &paid, attempt).await
}
