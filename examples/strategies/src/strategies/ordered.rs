//! The messages of a key in one queue, one after the other.

use idem_rocketmq::sql::guard;

use super::*;

pub(super) fn strategy(ground: &Ground) -> Strategy {
    ground
        .strategy(
            "ordered, by hashing a key to a queue",
            "example-ordered",
            &ground.store,
            handlers![in_turn],
        )
        .weak_at("duplicates, which order does not tell")
}

/// The producer sends a buyer's orders to one queue, and each begins when the one before it is done, also where that one
/// fails first. One that came out of turn would be a dead letter here, and be missed in the end.
#[idempotent(key = "order", order_by = "buyer", topic = "example-ordered", transactional, backoff = "20ms")]
async fn in_turn(
    paid: Paid,
    tx: &mut Connection,
    State(books): State<Books>,
    attempt: Attempt,
) -> HandlerResult {
    let turn = guard::bump_version("example_buyers").id("id", paid.buyer).carried(paid.turn);
    turn.apply(&mut *tx).await?.applied().or_reject()?;
    books.work(tx, &paid, attempt).await
}
