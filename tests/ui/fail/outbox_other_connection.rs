use idem_rocketmq::prelude::*;
use sqlx::SqliteConnection;

async fn pay(producer: Producer<PostgresOutbox>, paid: OutgoingMessage) {
    let work = async |_: &mut SqliteConnection| Ok::<_, std::io::Error>(());
    let _ = producer.transaction_on(&paid, work).await;
}

fn main() {}
