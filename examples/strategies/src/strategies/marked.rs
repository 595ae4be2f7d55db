//! Transactional messages with a marker in the local transaction: what is committed is announced, whatever dies in between.

use idem_rocketmq::handler::BoxFuture;
use idem_rocketmq::outbox::OutboxError;

use super::*;
use crate::storm::Trouble;

const TOPIC: &str = "example-marked";

pub(super) async fn strategy(ground: &Ground<'_>) -> Result<Strategy, Error> {
    let producer = Producer::builder(ground.place.group("example-marks"))
        .name_server(ground.place.name_server())
        .outbox(open_outbox(ground.place).await?)
        .start()
        .await?;
    let announce = move |paid| -> BoxFuture<'static, _> { Box::pin(announce(producer.clone(), paid)) };
    Ok(ground
        .strategy("half messages with a marker", TOPIC, &ground.store, handlers![count_sale])
        .promises(Promise::OnceIfCommitted)
        .sent_by(Box::new(announce))
        .weak_at("the consumer's side"))
}

/// Stores the sale and announces it, both or none. Of a buyer who presses twice, the second sale does not begin.
async fn announce(producer: Producer<Outbox>, paid: Paid) -> Result<(), Error> {
    let work = async |tx: &mut Connection| sell(tx, &paid).await;
    match producer.transaction_on(&paid.message(TOPIC), work).await {
        Err(OutboxError::NotPrepared(error)) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The local work, without a guard: the marker keeps it from being done twice.
async fn sell(tx: &mut Connection, paid: &Paid) -> Result<(), Error> {
    if paid.trouble == Some(Trouble::Before) {
        return Err("the card is declined".into());
    }
    sqlx::query(SELL).bind(&paid.order).execute(tx).await?;
    if paid.trouble == Some(Trouble::After) {
        return Err("the goods are sold out, and the sale is taken back".into());
    }
    Ok(())
}

/// A broker may commit a message twice by itself, and what it may not have got is sent again.
#[idempotent(key = "order", topic = "example-marked", transactional, backoff = "1s")]
async fn count_sale(
    paid: Paid,
    tx: &mut Connection,
    State(books): State<Books>,
    attempt: Attempt,
) -> HandlerResult {
    books.work(tx, &paid, attempt).await
}
