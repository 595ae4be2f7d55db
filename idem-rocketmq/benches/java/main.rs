//! The costs of idem on Apache RocketMQ in Java, beside the client alone and beside deduplication by hand.
//!
//! `scripts/services start DIR redis rocketmq`, `. DIR/env`, then
//! `cargo bench -p idem-rocketmq --features embedded --bench java`; names of rows behind `--` run those alone.
//!
//! Each contender is a process of its own that reads the same topic in a group of its own, several times in turn. The clock
//! runs from a tenth of its messages to the last one, so that joining a group is left out; CPU time and memory are its own,
//! without the broker's and Redis's. The broker, Redis and the consumer share the machine.
//!
//! Deduplication by hand says what any deduplication costs: a map in the process, and two commands of Redis for each message,
//! one by one as is usual or those of a listener call together. Teams on Apache's client have a listener in Java
//! (`listener/DedupListener.java`), which is built with Maven.

mod bare;
mod by_hand;
mod contender;
mod listener;
#[path = "../measure/mod.rs"]
mod measure;
#[path = "../measure/payload.rs"]
mod payload;

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use idem_rocketmq::embedded::{Bench, Outgoing};
use idem_rocketmq::prelude::*;

use crate::contender::{ALL, Contender, ORDERLY_QUEUES};
use crate::measure::{Cost, MessageCount};
use crate::payload::{OrderPayload, redis_cpu};

const ROUNDS: usize = 5;
/// The messages in the topic for every contender of unordered messages.
const MESSAGES: usize = 1_000_000;
const ORDERED: usize = 40_000;
const BUYERS: usize = 1_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [word, rest @ ..] = &arguments[..]
        && word == "consume"
    {
        return contender::consume(rest).await;
    }
    let name_server = variable("IDEM_TEST_ROCKETMQ")?;
    let redis = variable("IDEM_TEST_REDIS_URL")?;
    let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let (topic, ordered) = (format!("bench-{run}"), format!("bench-ordered-{run}"));
    send(&name_server, &topic, &ordered).await?;
    let wanted: Vec<&Contender> = ALL
        .iter()
        .filter(|one| arguments.is_empty() || arguments.iter().any(|name| name == one.name))
        .collect();
    ensure!(!wanted.is_empty(), "there are: {}", ALL.map(|one| one.name).join(", "));
    let needs_java = wanted.iter().any(|one| one.java_threads().is_some());
    let listener = if needs_java { Some(listener::build()?) } else { None };
    println!("{ROUNDS} rounds in turn, with {MESSAGES} messages of about 100 bytes waiting in 8 queues");
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); wanted.len()];
    for round in 0..ROUNDS {
        for turn in 0..wanted.len() {
            let place = (turn + round) % wanted.len();
            let one = wanted[place];
            let topic = if one.is_ordered() { &ordered } else { &topic };
            let group = format!("bench-{run}-{}-{round}", one.name);
            let group_arguments = [&name_server, &redis, topic, &group];
            let mut command = if let (Some(threads), Some(listener)) = (one.java_threads(), &listener) {
                listener::command(listener, group_arguments, threads, one.messages)
            } else {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["consume", one.name]).args(group_arguments);
                command
            };
            let redis_before = redis_cpu(&redis)?;
            let cost = cost_of(&mut command).with_context(|| format!("{} has failed", one.name))?;
            let redis_cpu = redis_cpu(&redis)?.saturating_sub(redis_before);
            eprintln!("{round:>3}  {:<24} {:>9.0} messages/s", one.name, cost.per_second);
            costs[place].push(cost.with_server(redis_cpu, one.messages));
        }
    }
    table(&wanted, &costs);
    Ok(())
}

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| {
        format!("{name} is not set: `scripts/services start DIR redis rocketmq` and `. DIR/env` first")
    })
}

async fn send(name_server: &str, topic: &str, ordered: &str) -> anyhow::Result<()> {
    let bench = Bench::connect(name_server).await?;
    bench.create_topic(topic, 8).await?;
    bench.create_topic(ordered, ORDERLY_QUEUES).await?;
    let message = |topic: &str, number: usize| {
        let buyer = number.wrapping_mul(2_654_435_761) % BUYERS;
        Outgoing::new(topic, OrderPayload::json(number, buyer))
    };
    for first in (0..MESSAGES).step_by(100) {
        let batch: Vec<_> = (first..first + 100).map(|number| message(topic, number)).collect();
        bench.producer().send_all(batch).await?;
    }
    let producer = Producer::builder("bench").name_server(name_server).start().await?;
    for first in (0..ORDERED).step_by(1_000) {
        let sends = (first..first + 1_000).map(|number| {
            let buyer = number.wrapping_mul(2_654_435_761) % BUYERS;
            let message =
                OutgoingMessage::new(ordered, number.to_string(), OrderPayload::json(number, buyer));
            producer.send(&message.order_by(buyer))
        });
        futures_util::future::try_join_all(sends).await?;
    }
    producer.shutdown().await;
    Ok(())
}

fn cost_of(command: &mut Command) -> anyhow::Result<Cost> {
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(cost) = text.lines().rev().find_map(Cost::parse).filter(|_| output.status.success()) else {
        bail!("it ended with {}: {text}", output.status);
    };
    Ok(cost)
}

fn table(wanted: &[&Contender], costs: &[Vec<Cost>]) {
    let best = |name: &str| {
        let places = wanted.iter().enumerate().filter(|(_, one)| one.row == name);
        places
            .map(|(place, _)| Cost::median(&costs[place]))
            .max_by(|a, b| a.per_second.total_cmp(&b.per_second))
    };
    println!();
    println!("| | messages/s | CPU µs/message | Redis' CPU µs/message | resident, after 100,000 |");
    println!("|---|---|---|---|---|");
    let mut rows: Vec<&str> = Vec::new();
    for one in wanted {
        if !rows.contains(&one.row) {
            rows.push(one.row);
        }
    }
    for row in rows {
        if let Some(cost) = best(row) {
            println!(
                "| {row} | {:.0} | {:.1} | {:.1} | {:.0} MiB |",
                cost.per_second, cost.cpu_micros, cost.server_micros, cost.resident_mib
            );
        }
    }
    println!();
    let kept = |is_kept| if is_kept { "kept" } else { "MISSED" };
    for budget in contender::BUDGETS {
        let (Some(over), Some(under)) = (best(budget.over), best(budget.under)) else { continue };
        let rate = over.per_second / under.per_second;
        print!("{} / {}: {rate:.2} of the rate", budget.over, budget.under);
        print!(" (at least {:.2}, {})", budget.rate, kept(rate >= budget.rate));
        let cpu = over.cpu_micros / under.cpu_micros;
        print!(", {cpu:.2} times the CPU");
        if let Some(most) = budget.cpu {
            print!(" (at most {most:.2}, {})", kept(cpu <= most));
        }
        println!();
    }
}

/// Nothing takes longer, also on a busy machine.
const LONGEST: Duration = Duration::from_mins(5);

/// The costs of consuming, when all is counted.
async fn measured(count: &MessageCount) -> anyhow::Result<Cost> {
    tokio::time::timeout(LONGEST, count.measured()).await.context("it takes too long")
}
