//! `idem-worker soak NAME_SERVER TOPIC STORE GROUP INSTANCE LEDGER`: orders of a long run under every kind of load. With Redis as
//! store, each run writes `KEY PID MILLIS WHAT` to the ledger (`begin`, then `done` or `failed`, with the time of day), a file
//! that all workers append to. With PostgreSQL, a run adds its key to the table `effects` in one transaction with its record.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use idem_rocketmq::Backoff;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::StoreError;
use sqlx::PgConnection;

#[derive(Deserialize)]
struct Order {
    id: String,
    /// How long a run works.
    #[serde(default)]
    millis: u64,
    /// How many attempts fail.
    #[serde(default)]
    fails: u32,
}

impl Order {
    async fn work(&self, is_to_fail: bool) -> HandlerResult {
        tokio::time::sleep(Duration::from_millis(self.millis)).await;
        if is_to_fail { Err("this attempt is to fail".into()) } else { Ok(()) }
    }
}

#[derive(Clone)]
struct Ledger(Arc<File>);

impl Ledger {
    fn write(&self, order: &Order, what: &str) -> std::io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let line = format!("{} {} {now} {what}\n", order.id, std::process::id());
        (&*self.0).write_all(line.as_bytes())
    }
}

async fn under_a_lease(order: Order, State(ledger): State<Ledger>, attempt: Attempt) -> HandlerResult {
    ledger.write(&order, "begin")?;
    let end = order.work(attempt.number() <= order.fails).await;
    ledger.write(&order, if end.is_ok() { "done" } else { "failed" })?;
    end
}

async fn in_a_transaction(order: Order, tx: &mut PgConnection) -> HandlerResult {
    sqlx::query("INSERT INTO effects (id) VALUES ($1)").bind(&order.id).execute(&mut *tx).await?;
    order.work(order.fails > 0 && rand::random()).await
}

#[tokio::main]
pub(super) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [name_server, topic, store, group, instance, ledger] = &arguments[..] else {
        return Err("idem-worker soak NAME_SERVER TOPIC STORE GROUP INSTANCE LEDGER".into());
    };
    super::log();
    let consumer = Consumer::builder(group).name_server(name_server).instance_name(instance);
    if store.starts_with("redis") {
        let file = OpenOptions::new().append(true).create(true).open(ledger)?;
        let store = patiently(async || RedisStore::connect(store.as_str()).await).await?;
        let consumer = consumer.store(store);
        let consumer =
            consumer.state(Ledger(Arc::new(file))).handlers([route(handler(topic, under_a_lease))]);
        consumer.run().await?;
    } else {
        let store = patiently(async || PostgresStore::connect(store.as_str()).await).await?;
        consumer
            .store(store)
            .handlers([route(handler(topic, in_a_transaction)).transactional()])
            .run()
            .await?;
    }
    Ok(())
}

/// The machine may be busy.
async fn patiently<S>(connect: impl AsyncFn() -> Result<S, StoreError>) -> Result<S, StoreError> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match connect().await {
            Err(error) if Instant::now() < deadline => eprintln!("{error}"),
            end => return end,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn route(handler: idem_rocketmq::handler::Unkeyed<Order>) -> Route {
    let route = handler.key(|order| order.id.clone()).named("soak").scope("orders").max_attempts(100);
    route.lease(Duration::from_secs(3)).backoff(Backoff::fixed(Duration::from_secs(1))).concurrency(16)
}
