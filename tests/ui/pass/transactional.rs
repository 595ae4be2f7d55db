//! Handlers that take the connection of their transaction, on each database and anywhere behind the payload.

use idem_rocketmq::batch_handler;
use idem_rocketmq::extract::Lease;
use idem_rocketmq::prelude::*;
use sqlx::{MySqlConnection, PgConnection, SqliteConnection};

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders", tag = "A", transactional)]
async fn on_postgres(order: OrderPaid, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT $1").bind(order.order_id).execute(tx).await?;
    Ok(())
}

#[idempotent(key = "order_id", topic = "orders", tag = "B", transactional)]
async fn on_mysql(
    order: OrderPaid,
    State(name): State<String>,
    tx: &mut MySqlConnection,
    delivery: &Delivery,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT ?, ?").bind(order.order_id).bind(name).execute(tx).await?;
    println!("{}", delivery.topic());
    Ok(())
}

#[idempotent(key = "order_id", topic = "orders", tag = "C", transactional, timeout = "1m")]
async fn on_sqlite(order: OrderPaid, tx: &mut SqliteConnection, lease: Lease) -> HandlerResult {
    sqlx::query("SELECT ?").bind(order.order_id).execute(&mut *tx).await?;
    println!("{:?}", lease.fence());
    Ok(())
}

#[idempotent(key = "order_id", topic = "orders", tag = "D", batch, transactional)]
async fn together(orders: Vec<OrderPaid>, State(name): State<String>, tx: &mut PgConnection) -> BatchResult {
    for order in orders {
        sqlx::query("SELECT $1, $2").bind(order.order_id).bind(&name).execute(&mut *tx).await?;
    }
    Ok(BatchFailures::new())
}

#[idempotent(key = "order_id", topic = "orders", tag = "E", transactional, group_commit)]
async fn in_a_savepoint(order: OrderPaid, tx: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT ?").bind(order.order_id).execute(tx).await?;
    Ok(())
}

async fn together_plainly(orders: Batch<OrderPaid>, tx: &mut PgConnection) -> HandlerResult {
    for order in orders.into_payloads() {
        sqlx::query("SELECT $1").bind(order.order_id).execute(&mut *tx).await?;
    }
    Ok(())
}

async fn plainly(order: OrderPaid, tx: &mut PgConnection) -> HandlerResult {
    sqlx::query("SELECT $1").bind(order.order_id).execute(tx).await?;
    Ok(())
}

#[test]
fn handlers_take_their_transactions_connection() {
    let plain = handler("orders", plainly).key(|order| order.order_id.clone()).transactional();
    let many = batch_handler("orders", together_plainly).key(|order| order.order_id.clone()).transactional();
    let all = handlers![on_postgres, on_mysql, on_sqlite, together, in_a_savepoint];
    assert_eq!(all.into_iter().chain([plain, many]).count(), 7);
}
