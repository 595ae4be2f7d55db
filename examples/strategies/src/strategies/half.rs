//! Transactional messages: consumers hear of an order only if the shop has stored it.

use idem_rocketmq::HandlerError;
use idem_rocketmq::handler::BoxFuture;
use idem_rocketmq::producer::TransactionError;
use idem_rocketmq::producer::TransactionState;
use idem_rocketmq::sql::guard::{self, Guarded};

use super::*;
use crate::storm::Trouble;

const TOPIC: &str = "example-half";

pub(super) async fn strategy(ground: &Ground<'_>) -> Result<Strategy, Error> {
    let pool = ground.pool.clone();
    let producer = Producer::builder(ground.place.group("example-sales"))
        .name_server(ground.place.name_server())
        .check_back(TOPIC, move |message: Delivery| ended(pool.clone(), message))
        .start()
        .await?;
    let pool = ground.pool.clone();
    let announce =
        move |paid| -> BoxFuture<'static, _> { Box::pin(announce(producer.clone(), pool.clone(), paid)) };
    Ok(ground
        .strategy("half messages with check-back", TOPIC, &ground.store, handlers![count_sale])
        .promises(Promise::OnceIfPaid)
        .sent_by(Box::new(announce))
        .weak_at("the consumer's side"))
}

/// Stores the sale and announces it. A sale that fails, or only looks so, is the check-back's.
async fn announce(producer: Producer, pool: Pool, paid: Paid) -> Result<(), Error> {
    match producer.transaction(&paid.message(TOPIC), || sell(&pool, &paid)).await {
        Err(TransactionError::NotPrepared(error)) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The local work. A buyer who presses twice stores nothing new.
async fn sell(pool: &Pool, paid: &Paid) -> Result<(), Error> {
    if paid.trouble == Some(Trouble::Before) {
        return Err("the card is declined".into());
    }
    let sale = guard::insert_once("example_sales").key("order_id", &paid.order).set("state", "PAID");
    sale.apply(pool).await?.applied()?;
    if paid.trouble == Some(Trouble::After) {
        return Err("the connection to the database broke after its commit".into());
    }
    Ok(())
}

/// The check-back: an order of which nothing is stored is given up in the same step, so that work which comes late fails.
async fn ended(pool: Pool, message: Delivery) -> Result<TransactionState, HandlerError> {
    let sale = guard::insert_once("example_sales").key("order_id", message.keys()).set("state", "GIVEN_UP");
    Ok(match sale.apply(&pool).await? {
        Guarded::Applied | Guarded::AlreadyApplied => TransactionState::Rollback,
        Guarded::Conflict(_) => TransactionState::Commit,
    })
}

/// A broker may commit a message twice by itself.
#[idempotent(key = "order", topic = "example-half", transactional, backoff = "1s")]
async fn count_sale(
    paid: Paid,
    tx: &mut Connection,
    State(books): State<Books>,
    attempt: Attempt,
) -> HandlerResult {
    books.work(tx, &paid, attempt).await
}
