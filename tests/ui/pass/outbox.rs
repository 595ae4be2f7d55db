//! Producers with an outbox are typed by it, and those without are as before.

use idem_rocketmq::Error;
use idem_rocketmq::outbox::OutboxError;
use idem_rocketmq::outbox::TypedOutbox;
use idem_rocketmq::outbox::{MySqlOutbox, PostgresOutbox, SqliteOutbox};
use idem_rocketmq::prelude::*;
use sqlx::{MySqlConnection, PgConnection};

struct Shop {
    announces: Producer<PostgresOutbox>,
    plain: Producer,
}

impl Shop {
    async fn start(outbox: PostgresOutbox) -> Result<Self, Error> {
        let announces = Producer::builder("shop").outbox(outbox).name_server("a:1").start().await?;
        let plain = Producer::builder("mail").name_server("a:1").start().await?;
        Ok(Self { announces, plain })
    }

    async fn pay(&self, paid: &OutgoingMessage, id: i64) -> Result<i64, OutboxError<std::io::Error>> {
        let _ = self.plain.clone().send(paid).await;
        self.announces.transaction_on(paid, async |tx: &mut PgConnection| insert(tx, id).await).await
    }
}

async fn insert(_: &mut PgConnection, id: i64) -> Result<i64, std::io::Error> {
    std::future::ready(Ok(id)).await
}

async fn anywhere<O: TypedOutbox>(producer: Producer<O>, paid: OutgoingMessage) -> bool {
    let work = async |_: &mut O::Connection| Ok::<_, std::io::Error>(());
    producer.transaction_on(&paid, work).await.is_ok()
}

/// As a server does it: the future moves between threads.
fn spawned(producer: Producer<MySqlOutbox>, paid: OutgoingMessage) {
    tokio::spawn(async move {
        let name = String::from("moved in");
        let work = async |_: &mut MySqlConnection| Err::<(), _>(std::io::Error::other(name));
        producer.transaction_on(&paid, work).await.is_err_and(|error| error.is_rolled_back())
    });
}

#[test]
fn a_producer_has_the_type_of_its_outbox() {
    let _ = (Shop::start, Shop::pay, spawned, anywhere::<SqliteOutbox>);
}
