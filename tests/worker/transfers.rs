//! `idem-worker transfers NAME_SERVER TOPIC DATABASE GROUP INSTANCE`: money from one account to another, in one transaction with
//! the message's record. The database is a URL, or the path of a file for SQLite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use idem_rocketmq::Backoff;
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::{Store, StoreError};
use sqlx::{MySqlConnection, PgConnection, SqliteConnection};

#[derive(Deserialize)]
struct Transfer {
    id: String,
    from: i64,
    to: i64,
    cents: i64,
}

/// The same on each database; the placeholders are all that differs. Some runs fail halfway.
macro_rules! transfers {
    ($($name:ident on $connection:ty: $take:literal, $give:literal, $book:literal;)*) => {$(
        async fn $name(transfer: Transfer, tx: &mut $connection) -> HandlerResult {
            let Transfer { id, from, to, cents } = transfer;
            sqlx::query($take).bind(cents).bind(from).execute(&mut *tx).await?;
            match rand::random_range(0..20) {
                0 => return Err("some runs fail".into()),
                1 => panic!("some runs panic"),
                _ => {}
            }
            sqlx::query($give).bind(cents).bind(to).execute(&mut *tx).await?;
            sqlx::query($book).bind(id).execute(&mut *tx).await?;
            Ok(())
        }
    )*};
}

transfers! {
    on_postgres on PgConnection:
        "UPDATE accounts SET cents = cents - $1 WHERE id = $2",
        "UPDATE accounts SET cents = cents + $1 WHERE id = $2",
        "INSERT INTO transfers (id) VALUES ($1)";
    on_mysql on MySqlConnection:
        "UPDATE accounts SET cents = cents - ? WHERE id = ?",
        "UPDATE accounts SET cents = cents + ? WHERE id = ?",
        "INSERT INTO transfers (id) VALUES (?)";
    on_sqlite on SqliteConnection:
        "UPDATE accounts SET cents = cents - ? WHERE id = ?",
        "UPDATE accounts SET cents = cents + ? WHERE id = ?",
        "INSERT INTO transfers (id) VALUES (?)";
}

#[tokio::main]
pub(super) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [name_server, topic, database, group, instance] = &arguments[..] else {
        return Err("idem-worker transfers NAME_SERVER TOPIC DATABASE GROUP INSTANCE".into());
    };
    super::log();
    // The machine may be busy, and the database just back from a crash.
    let deadline = Instant::now() + Duration::from_mins(1);
    let consumer = loop {
        match builder(name_server, topic, database, group, instance).await {
            Ok(consumer) => break consumer,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(error) => eprintln!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    consumer.run().await?;
    Ok(())
}

async fn builder(
    name_server: &str,
    topic: &str,
    database: &str,
    group: &str,
    instance: &str,
) -> Result<Builder<Arc<dyn Store>>, StoreError> {
    let consumer = Consumer::builder(group).name_server(name_server).instance_name(instance);
    Ok(match database.split(':').next() {
        Some("postgres") => {
            let route = route(handler(topic, on_postgres));
            consumer.store(PostgresStore::connect(database).await?).handlers([route])
        }
        Some("mysql") => {
            let route = route(handler(topic, on_mysql));
            consumer.store(MySqlStore::connect(database).await?).handlers([route])
        }
        _ => {
            let route = route(handler(topic, on_sqlite));
            consumer.store(SqliteStore::open(database).await?).handlers([route])
        }
    })
}

/// A killed run leaves nothing behind that a retry waits for, so that few retries take long.
fn route(handler: idem_rocketmq::handler::Unkeyed<Transfer>) -> Route {
    let route = handler.key(|transfer| transfer.id.clone()).named("transfer").scope("transfers");
    route.backoff(Backoff::fixed(Duration::from_secs(1))).max_attempts(100).transactional()
}
