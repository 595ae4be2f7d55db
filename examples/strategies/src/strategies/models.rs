//! The two message models, with two members each.

use super::*;
use crate::place::INSTANCES;

pub(super) fn strategies(ground: &Ground) -> [Strategy; 2] {
    let clustering = INSTANCES.map(|name| {
        // They write as one: together they handle each order once.
        ground
            .consumer("example-clustering", "", &ground.store, handlers![one_of_the_group])
            .instance_name(name)
    });
    let broadcasting = INSTANCES.map(|name| {
        ground
            .consumer("example-broadcasting", name, &ground.store, handlers![each_of_the_group])
            .instance_name(name)
    });
    [
        ground
            .strategy_of("clustering, two members", "example-clustering", clustering.into())
            .weak_at("a rebalance, which delivers twice"),
        ground
            .strategy_of("broadcasting, two members", "example-broadcasting", broadcasting.into())
            .promises(Promise::OnceInEach)
            .weak_at("an instance whose name changes"),
    ]
}

/// Each message comes to one member, and to another one where that one fails or goes.
#[idempotent(key = "order", topic = "example-clustering", transactional, backoff = "1s")]
async fn one_of_the_group(
    paid: Paid,
    tx: &mut Connection,
    State(books): State<Books>,
    attempt: Attempt,
) -> HandlerResult {
    books.work(tx, &paid, attempt).await
}

/// Each message comes to each member, which has records of its own.
#[idempotent(key = "order", topic = "example-broadcasting", broadcast, transactional, backoff = "1s")]
async fn each_of_the_group(
    paid: Paid,
    tx: &mut Connection,
    State(books): State<Books>,
    attempt: Attempt,
) -> HandlerResult {
    books.work(tx, &paid, attempt).await
}
