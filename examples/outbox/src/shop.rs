//! The shop, in a process that may be killed at any time.

use std::time::Duration;

use idem_rocketmq::outbox::{MySqlOutbox, PostgresOutbox, SqliteOutbox};
use idem_rocketmq::prelude::*;

use crate::Failure;
use crate::database::Shop;

pub(crate) const ORDERS: usize = 300;

/// The message that announces a sold order.
#[derive(Serialize, Deserialize)]
pub(crate) struct OrderPaid {
    pub(crate) order_id: String,
    pub(crate) cents: i64,
}

/// Where the shop works, which its process finds in the environment.
pub(crate) struct Setting {
    pub(crate) name_server: String,
    pub(crate) database: String,
    pub(crate) topic: String,
    /// Tells this run's orders from those of others in the same database.
    pub(crate) run: String,
}

const NAMES: [&str; 4] = ["SHOP_NAME_SERVER", "SHOP_DATABASE", "SHOP_TOPIC", "SHOP_RUN"];

impl Setting {
    pub(crate) fn of_environment() -> Option<Self> {
        let [name_server, database, topic, run] = NAMES.map(|name| std::env::var(name).ok());
        Some(Self { name_server: name_server?, database: database?, topic: topic?, run: run? })
    }

    pub(crate) fn environment(&self) -> [(&'static str, &str); 4] {
        let values = [&self.name_server, &self.database, &self.topic, &self.run];
        std::array::from_fn(|place| (NAMES[place], values[place].as_str()))
    }
}

/// Sells all orders that are not sold yet.
pub(crate) async fn sell(setting: &Setting) -> Result<(), Failure> {
    // The panics below are part of the story.
    std::panic::set_hook(Box::new(|_| {}));
    match setting.database.split(':').next() {
        Some("postgres") => {
            let outbox = PostgresOutbox::builder(&setting.database).resend_after(SOON).sweep_every(SOON / 4);
            outbox.migrate().await?;
            sell_on(outbox.connect().await?, setting).await
        }
        Some("mysql") => {
            let outbox = MySqlOutbox::builder(&setting.database).resend_after(SOON).sweep_every(SOON / 4);
            outbox.migrate().await?;
            sell_on(outbox.connect().await?, setting).await
        }
        _ => {
            let outbox = SqliteOutbox::builder(&setting.database).resend_after(SOON).sweep_every(SOON / 4);
            sell_on(outbox.open().await?, setting).await
        }
    }
}

/// A message that the broker has not confirmed is sent again after this time; two minutes would be usual.
const SOON: Duration = Duration::from_secs(4);

async fn sell_on<S: Shop>(outbox: S, setting: &Setting) -> Result<(), Failure> {
    let producer =
        Producer::builder("outbox-shop").name_server(&setting.name_server).outbox(outbox).start().await?;
    for number in 0..ORDERS {
        let order_id = format!("{}-{number}", setting.run);
        let order = OrderPaid { order_id, cents: i64::try_from(number * 7 % 500)? + 100 };
        let announcement = OutgoingMessage::json(&setting.topic, order.order_id.as_str(), &order);
        let sold = producer.transaction_on(&announcement, async |tx: &mut S::Connection| {
            S::insert(tx, &order, &setting.run).await?;
            match number % 20 {
                3 => Err(Failure::from("the card is declined")),
                7 => panic!("a bug"),
                _ => Ok(()),
            }
        });
        match sold.await {
            // A declined card, a bug; or an order that was sold before the last shop was killed.
            Err(error) if !error.is_rolled_back() && !error.is_key_committed() => {
                return Err(error.to_string().into());
            }
            _ => {}
        }
    }
    // The broker asks about the orders of shops that were killed, and what it gave up on is sent again.
    tokio::time::sleep(SOON * 2).await;
    producer.shutdown().await;
    Ok(())
}
