//! Orders that take pieces out of a stock, each sent one to three times, while some runs fail halfway. The handler works with
//! diesel, on a connection of diesel's own pool, and commits together with the record of its message: `driver.rs` is all
//! that it takes.
//!
//! `DATABASE_URL=postgres://.. cargo run -p orm` works in that database, with a broker in the process;
//! `NAMESRV_ADDR=127.0.0.1:9876` takes a broker of your own.

mod driver;
mod runs;
mod schema;
#[cfg(test)]
mod tests;
mod warehouse;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use idem_rocketmq::RunningConsumer;
use idem_rocketmq::consumer::ConsumeFrom;
use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::prelude::*;

use crate::driver::Diesel;
use crate::runs::Runs;
use crate::warehouse::{Pick, Totals, Warehouse, pick};

const PICKS: usize = 500;
/// The example must not hang where something is wrong.
const LONGEST: Duration = Duration::from_mins(2);
const NO_DATABASE: &str = "This example needs a PostgreSQL, in which it makes the tables `example_stock`, `example_picks` and \
                           `idem_records`:\n\n  DATABASE_URL=postgres://user:password@127.0.0.1:5432/database cargo run -p orm";

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| url.starts_with("postgres")) else {
        eprintln!("{NO_DATABASE}");
        return Ok(ExitCode::from(2));
    };
    let warehouse = Warehouse::open(&url).await?;
    let own = std::env::var("NAMESRV_ADDR").ok();
    let broker = if own.is_none() {
        println!("Starting a RocketMQ name server and broker in this process ..");
        let levels = ["1s"; 18].join(" ");
        Some(EmbeddedBroker::builder().topic("picks", 4).message_delay_levels(levels).start().await?)
    } else {
        None
    };
    let name_server = own.or_else(|| Some(broker.as_ref()?.name_server().to_owned())).unwrap_or_default();
    let runs = Runs::default();
    let consumer = consume(&name_server, &url, &warehouse, &runs).await?;

    println!("Sending {PICKS} orders, each one to three times ..");
    let picks: Vec<Pick> = (0..PICKS).map(|number| warehouse.pick(number)).collect();
    let sent = send(&name_server, &picks).await?;
    let totals = watch(&warehouse, &runs).await?;
    consumer.shutdown().await;
    if let Some(broker) = broker {
        broker.shutdown().await;
    }
    let wanted = picks.iter().map(|pick| pick.pieces).sum();
    Ok(if report(sent, &runs, &totals, wanted) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The store's own connections are for leases and counts; handlers have those of diesel's pool.
async fn consume(
    name_server: &str,
    url: &str,
    warehouse: &Warehouse,
    runs: &Runs,
) -> Result<RunningConsumer, Failure> {
    let store = PostgresStore::builder(url).driver(Diesel(warehouse.pool()));
    store.migrate().await?;
    let consumer = Consumer::builder("warehouse")
        .name_server(name_server)
        .consume_from(ConsumeFrom::Timestamp(SystemTime::now()))
        .store(store.connect().await?)
        .state(runs.clone())
        .handlers(handlers![pick]);
    Ok(consumer.start().await?)
}

async fn send(name_server: &str, picks: &[Pick]) -> Result<usize, Failure> {
    let producer = Producer::builder("shop").name_server(name_server).start().await?;
    let mut sent = 0;
    for round in 1..=3 {
        let some: Vec<&Pick> = picks.iter().filter(|pick| pick.times() >= round).collect();
        sent += some.len();
        producer.send_all(some).await?;
    }
    producer.shutdown().await;
    Ok(sent)
}

async fn watch(warehouse: &Warehouse, runs: &Runs) -> Result<Totals, Failure> {
    let begun = Instant::now();
    loop {
        let totals = warehouse.totals().await?;
        let (time, made, failed) = (begun.elapsed().as_secs_f32(), totals.made, runs.failed());
        println!("  {time:4.1} s: {made} orders picked, {failed} runs failed halfway");
        if made >= PICKS || begun.elapsed() > LONGEST {
            return Ok(totals);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Whether all is right.
fn report(sent: usize, runs: &Runs, totals: &Totals, wanted: i64) -> bool {
    let Totals { made, twice, gone, taken } = *totals;
    let verdict = |is_right: bool| if is_right { "right" } else { "wrong" };
    println!();
    println!("  orders                           {PICKS:>12}");
    println!("  messages sent                    {sent:>12}");
    println!("  runs of the handler              {:>12}", runs.all());
    println!("  runs that failed halfway         {:>12}   rolled back", runs.failed());
    println!();
    println!("  orders picked                    {made:>12}   {}", verdict(made == PICKS));
    println!("  orders picked twice              {twice:>12}   {}", verdict(twice == 0));
    println!("  pieces that the orders want      {wanted:>12}");
    println!("  pieces that picks say they took  {taken:>12}   {}", verdict(taken == wanted));
    println!("  pieces gone from the stock       {gone:>12}   {}", verdict(gone == wanted));
    *totals == Totals { made: PICKS, twice: 0, gone: wanted, taken: wanted }
}
