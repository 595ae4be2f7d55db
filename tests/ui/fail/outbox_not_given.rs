use idem_rocketmq::prelude::*;
use sqlx::PgConnection;

async fn pay(producer: Producer, paid: OutgoingMessage) {
    let work = async |_: &mut PgConnection| Ok::<_, std::io::Error>(());
    let _ = producer.transaction_on(&paid, work).await;
}

fn main() {}
