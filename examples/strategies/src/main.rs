//! Every strategy against duplicates that people use on RocketMQ, each as a small handler, under the same storm: orders that
//! are sent one to four times, and runs that fail before or after their work. A table says what each has counted, what it
//! took, and what it is weak at alone.
//!
//! `cargo run -p strategies` works in a file of SQLite, with a broker in the process. `DATABASE_URL=postgres://..` or `mysql://..`,
//! `REDIS_URL=redis://..` and `NAMESRV_ADDR=127.0.0.1:9876` take a database, a Redis and a broker of your own.
//!
//! The handlers are in `strategies/`, a file for each family.

#![allow(
    clippy::wildcard_imports,
    reason = "the strategies are written once, and compiled for each database"
)]
#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the method is of a crate that is none of this example's"
)]

mod database;
mod ledger;
mod place;
mod progress;
mod report;
mod storm;
mod strategy;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use idem_rocketmq::RunningConsumer;
use idem_rocketmq::consumer::ConsumeFrom;
use idem_rocketmq::prelude::*;
use tokio::task::JoinSet;

use crate::database::{mysql, postgres, sqlite};
use crate::ledger::Ledger;
use crate::place::{Database, Place};
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::storm::Storm;
use crate::strategy::{Sending, Strategy};

/// The example must not hang where something is wrong; a broker of your own asks for transactions once in 30 s or a minute.
const LONGEST: Duration = Duration::from_mins(3);

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let begun = Instant::now();
    let place = Place::open().await?;
    println!("Works on {place} ..");
    let progress = Progress::install()?;
    let (storm, ledger) = (Storm::make(), Ledger::create(&place).await?);
    let mut strategies = match place.database() {
        Database::Sqlite => sqlite::strategies::all(&place).await?,
        Database::Postgres => postgres::strategies::all(&place).await?,
        Database::MySql => mysql::strategies::all(&place).await?,
    };
    println!("Starting a consumer group for each of {} strategies ..", strategies.len());
    place.create_topics(&strategies).await?;
    let consumers = start(&mut strategies).await?;

    println!("Sending {} orders in {} messages to one group after the other ..", storm.orders, storm.count());
    let producer = Producer::builder("example-shop").name_server(place.name_server()).start().await?;
    let mut rows = Vec::new();
    for strategy in strategies {
        let took = weather(&strategy, &storm, &producer, &progress).await?;
        println!("  {:4.1} s: {}", begun.elapsed().as_secs_f32(), strategy.name);
        rows.push(Row { expected: strategy.promise.of(&storm, strategy.members), strategy, took });
    }
    println!("Waiting for the last retries ..");
    for Row { strategy, expected, .. } in &rows {
        let messages = expected.messages;
        progress.wait_for(strategy, LONGEST, |verdicts| verdicts.settled >= messages).await?;
    }
    producer.shutdown().await;
    for consumer in consumers {
        consumer.shutdown().await;
    }

    let report = Report { counts: ledger.counts().await?, rows, messages: storm.count() };
    place.close().await;
    println!("{report}");
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn start(strategies: &mut [Strategy]) -> Result<Vec<RunningConsumer>, Error> {
    let from_now = ConsumeFrom::Timestamp(SystemTime::now());
    let mut starting = JoinSet::new();
    for consumer in strategies.iter_mut().flat_map(|strategy| std::mem::take(&mut strategy.consumers)) {
        starting.spawn(consumer.consume_from(from_now).start());
    }
    Ok(starting.join_all().await.into_iter().collect::<Result<_, _>>()?)
}

/// Sends the storm to a strategy. How long it took until each message had its first verdict: what is to come again does so a
/// second later, while others are under way.
async fn weather(
    strategy: &Strategy,
    storm: &Storm,
    producer: &Producer,
    progress: &Progress,
) -> Result<Duration, Error> {
    let begun = Instant::now();
    match &strategy.sending {
        Sending::Plain => producer.send_all(&storm.messages(strategy.topic)).await?,
        Sending::Half(announce) => {
            for paid in &storm.paid {
                announce(paid.clone()).await?;
            }
        }
    }
    if matches!(strategy.sending, Sending::Plain) {
        let messages = strategy.promise.of(storm, strategy.members).messages;
        progress.wait_for(strategy, LONGEST, |verdicts| verdicts.all >= messages).await?;
    }
    Ok(begun.elapsed())
}
