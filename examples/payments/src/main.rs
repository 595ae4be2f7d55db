//! Transfers between accounts, each sent one to three times, while some runs fail halfway. A transfer and the record of its
//! message commit together, so that each is made once, and never by half.
//!
//! `cargo run -p payments` works in a file of SQLite, with a broker in the process. `DATABASE_URL=postgres://..` or `mysql://..`, and
//! `NAMESRV_ADDR=127.0.0.1:9876`, take a database and a broker of your own.

mod bank;
mod transfer;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use idem_rocketmq::RunningConsumer;
use idem_rocketmq::consumer::ConsumeFrom;
use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::prelude::*;

use crate::bank::{Bank, Totals};
use crate::transfer::{Runs, Transfer, on_mysql, on_postgres, on_sqlite};

const TRANSFERS: usize = 500;
/// The example must not hang where something is wrong.
const LONGEST: Duration = Duration::from_mins(2);

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let own = std::env::var("NAMESRV_ADDR").ok();
    let broker = if own.is_none() {
        println!("Starting a RocketMQ name server and broker in this process ..");
        let levels = ["1s"; 18].join(" ");
        Some(EmbeddedBroker::builder().topic("transfers", 4).message_delay_levels(levels).start().await?)
    } else {
        None
    };
    let name_server = own.or_else(|| Some(broker.as_ref()?.name_server().to_owned())).unwrap_or_default();
    let bank = Bank::open(std::env::var("DATABASE_URL").ok()).await?;
    println!("{} accounts with {} cents each are in {} ..", bank::ACCOUNTS, bank::AT_FIRST, bank.name());
    let runs = Runs::default();
    let consumer = consume(&name_server, &bank, &runs).await?;

    println!("Sending {TRANSFERS} transfers, each one to three times ..");
    let transfers: Vec<Transfer> = (0..TRANSFERS).map(|number| bank.transfer(number)).collect();
    let sent = send(&name_server, &transfers).await?;
    let begun = Instant::now();
    let totals = loop {
        let totals = bank.totals(&transfers).await?;
        println!(
            "  {:4.1} s: {} transfers made, {} runs failed halfway",
            begun.elapsed().as_secs_f32(),
            totals.made,
            runs.failed()
        );
        if totals.made >= TRANSFERS || begun.elapsed() > LONGEST {
            break totals;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    consumer.shutdown().await;
    if let Some(broker) = broker {
        broker.shutdown().await;
    }
    report(sent, &runs, &totals);
    Ok(if totals.are_right(TRANSFERS) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The store is in the database that the handler works on.
async fn consume(
    name_server: &str,
    bank: &Bank,
    runs: &Runs,
) -> Result<RunningConsumer, Box<dyn std::error::Error>> {
    let consumer = Consumer::builder("bank")
        .name_server(name_server)
        .consume_from(ConsumeFrom::Timestamp(SystemTime::now()))
        .state(runs.clone());
    let url = bank.url();
    let consumer = if url.starts_with("postgres") {
        PostgresStore::builder(url).migrate().await?;
        consumer.store(PostgresStore::connect(url).await?).handlers(handlers![on_postgres])
    } else if url.starts_with("mysql") {
        MySqlStore::builder(url).migrate().await?;
        consumer.store(MySqlStore::connect(url).await?).handlers(handlers![on_mysql])
    } else {
        consumer.store(SqliteStore::open(bank.path()).await?).handlers(handlers![on_sqlite])
    };
    Ok(consumer.start().await?)
}

async fn send(name_server: &str, transfers: &[Transfer]) -> Result<usize, Box<dyn std::error::Error>> {
    let producer = Producer::builder("counter").name_server(name_server).start().await?;
    let mut sent = 0;
    for round in 1..=3 {
        let some: Vec<&Transfer> = transfers.iter().filter(|transfer| transfer.times() >= round).collect();
        sent += some.len();
        producer.send_all(some).await?;
    }
    producer.shutdown().await;
    Ok(sent)
}

fn report(sent: usize, runs: &Runs, totals: &Totals) {
    let verdict = |is_right: bool| if is_right { "right" } else { "wrong" };
    println!();
    println!("  transfers                        {TRANSFERS:>12}");
    println!("  messages sent                    {sent:>12}");
    println!("  runs of the handler              {:>12}", runs.all());
    println!("  runs that failed halfway         {:>12}   rolled back", runs.failed());
    println!();
    println!(
        "  transfers made                   {:>12}   {}",
        totals.made,
        verdict(totals.made == TRANSFERS)
    );
    println!("  transfers made twice             {:>12}   {}", totals.twice, verdict(totals.twice == 0));
    println!("  cents in all accounts, before    {:>12}", bank::AT_FIRST * bank::ACCOUNTS);
    let is_kept = totals.cents == bank::AT_FIRST * bank::ACCOUNTS;
    println!("  cents in all accounts, after     {:>12}   {}", totals.cents, verdict(is_kept));
    println!("  accounts with a wrong balance    {:>12}   {}", totals.wrong, verdict(totals.wrong == 0));
}
