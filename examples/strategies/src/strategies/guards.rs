//! The work's own table tells a duplicate. These handlers run for each message, without a record of idem's: the guard
//! alone keeps the work from being done twice.

use idem_rocketmq::sql::guard;

use super::*;

pub(super) fn strategies(ground: &Ground) -> [Strategy; 5] {
    let alone = |name, topic, handlers| ground.strategy(name, topic, &ground.redis, handlers);
    [
        alone("operation log with a unique key", "example-log", handlers![operation_log])
            .weak_at("rows stay until somebody deletes them"),
        alone("natural-key upsert", "example-upsert", handlers![upsert])
            .weak_at("an overtaken message undoes the later one"),
        alone("state machine", "example-machine", handlers![state_machine]).weak_at("states that come back"),
        alone("optimistic version", "example-version", handlers![version])
            .weak_at("somebody must number the messages"),
        alone("pessimistic SELECT .. FOR UPDATE", "example-lock", handlers![lock])
            .weak_at("a row that does not remember the work"),
    ]
}

/// A line in the log is written once, and the work is done by whoever writes it.
#[idempotent(key_from = property("none"), missing_key = run, topic = "example-log", backoff = "1s")]
async fn operation_log(paid: Paid, State(books): State<Books>, attempt: Attempt) -> HandlerResult {
    let mut tx = begin(&books.pool).await?;
    let log = guard::insert_once("example_log").key("operation", &paid.order);
    if log.apply(&mut tx).await?.applied()? {
        books.work(&mut tx, &paid, attempt).await?;
    }
    Ok(tx.commit().await?)
}

/// The payment's row has the order as its key, so a duplicate finds what it would write.
#[idempotent(key_from = property("none"), missing_key = run, topic = "example-upsert", backoff = "1s")]
async fn upsert(paid: Paid, State(books): State<Books>, attempt: Attempt) -> HandlerResult {
    let mut tx = begin(&books.pool).await?;
    let payment =
        guard::insert_once("example_payments").key("order_id", &paid.order).set("cents", paid.cents);
    if payment.or_update().apply(&mut tx).await?.applied()? {
        books.work(&mut tx, &paid, attempt).await?;
    }
    Ok(tx.commit().await?)
}

/// `UPDATE .. SET state = 'PAID' WHERE state = 'NEW'`.
#[idempotent(key_from = property("none"), missing_key = run, topic = "example-machine", backoff = "1s")]
async fn state_machine(paid: Paid, State(books): State<Books>, attempt: Attempt) -> HandlerResult {
    let mut tx = begin(&books.pool).await?;
    let step = guard::advance_state("example_states").id("id", &paid.order).from("NEW").to("PAID");
    if step.apply(&mut tx).await?.applied()? {
        books.work(&mut tx, &paid, attempt).await?;
    }
    Ok(tx.commit().await?)
}

/// The message says that it makes version 1 of the order.
#[idempotent(key_from = property("none"), missing_key = run, topic = "example-version", backoff = "1s")]
async fn version(paid: Paid, State(books): State<Books>, attempt: Attempt) -> HandlerResult {
    let mut tx = begin(&books.pool).await?;
    let version = guard::bump_version("example_versions").id("id", &paid.order).carried(1);
    if version.apply(&mut tx).await?.applied()? {
        books.work(&mut tx, &paid, attempt).await?;
    }
    Ok(tx.commit().await?)
}

/// Under the lock there is time to look, to think and to write.
#[idempotent(key_from = property("none"), missing_key = run, topic = "example-lock", backoff = "1s")]
async fn lock(paid: Paid, State(books): State<Books>, attempt: Attempt) -> HandlerResult {
    let mut tx = begin(&books.pool).await?;
    let lock = guard::lock_row("example_locks").id("id", &paid.order).unless("state", "PAID");
    if lock.apply(&mut tx).await?.applied()? {
        books.work(&mut tx, &paid, attempt).await?;
        sqlx::query(PAY).bind(&paid.order).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}
