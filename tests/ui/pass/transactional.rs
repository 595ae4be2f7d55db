//! Handlers that take the connection of their transaction, on each database and anywhere behind the payload.

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

async fn plainly(order: OrderPaid, tx: &mut PgConnection) -> HandlerResult {
    sqlx::query("SELECT $1").bind(order.order_id).execute(tx).await?;
    Ok(())
}

#[test]
fn handlers_take_their_transactions_connection() {
    let plain = handler("orders", plainly).key(|order| order.order_id.clone()).transactional();
    assert_eq!(handlers![on_postgres, on_mysql, on_sqlite].len() + [plain].len(), 4);
}
