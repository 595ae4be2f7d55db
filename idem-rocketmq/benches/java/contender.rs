//! The contenders, each in a process of its own.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use idem_rocketmq::batch_handler;
use idem_rocketmq::prelude::*;

use crate::bare::{BareClient, each};
use crate::measure::MessageCount;
use crate::payload::OrderPayload;
use crate::{MESSAGES, by_hand, measured};

pub(crate) const ORDERLY_QUEUES: u32 = 4;
/// More than there are queues: each has a thread when it needs one.
const ORDERLY_THREADS: u32 = 20;
/// As many threads as the client alone takes in most with.
const BEST_THREADS: u32 = 8;
/// The time that the orderly handlers take.
const WORK: Duration = Duration::from_millis(5);
/// Messages at once, of handlers that wait for nothing: as bare clients have as many threads as help them.
const AT_ONCE: usize = 1_024;

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Of several contenders of one row the fastest counts.
    pub(crate) row: &'static str,
    pub(crate) messages: usize,
    kind: ContenderKind,
}

#[derive(Clone, Copy)]
enum ContenderKind {
    Bare { threads: u32 },
    Memory,
    Redis,
    Batch,
    MemoryByHand,
    ByHand { threads: u32 },
    Pipelined { threads: u32 },
    Java { threads: u32 },
    BareOrderly,
    Ordered,
}

const BARE: &str = "bare client";
const MEMORY: &str = "idem, memory";
const REDIS: &str = "idem, Redis";
const BATCH: &str = "idem, Redis, batch handler";
const MEMORY_BY_HAND: &str = "by hand, memory";
const BY_HAND: &str = "by hand, Redis";
const PIPELINED: &str = "by hand, Redis, pipelined";
const JAVA: &str = "RocketMQDedupListener's protocol, Java and lettuce";
const BARE_ORDERLY: &str = "bare client, orderly, 5 ms";
const ORDERED: &str = "idem, order_by, 5 ms";

/// The cost of one row beside that of another.
pub(crate) struct Budget {
    pub(crate) over: &'static str,
    pub(crate) under: &'static str,
    /// How much of the other's rate it is to reach.
    pub(crate) rate: f64,
    /// How much of the other's CPU time it may take for a message, where that is bounded.
    pub(crate) cpu: Option<f64>,
}

pub(crate) const BUDGETS: [Budget; 5] = [
    Budget { over: MEMORY, under: MEMORY_BY_HAND, rate: 0.85, cpu: Some(1.25) },
    Budget { over: REDIS, under: PIPELINED, rate: 0.9, cpu: Some(1.2) },
    Budget { over: BATCH, under: PIPELINED, rate: 0.9, cpu: None },
    Budget { over: REDIS, under: JAVA, rate: 10.0, cpu: None },
    Budget { over: ORDERED, under: BARE_ORDERLY, rate: 10.0, cpu: None },
];

const fn contender(name: &'static str, row: &'static str, messages: usize, kind: ContenderKind) -> Contender {
    Contender { name, row, messages, kind }
}

/// One command of Redis after the other would take minutes for as many messages as the others have.
const SLOW: usize = MESSAGES / 5;

pub(crate) const ALL: [Contender; 15] = [
    contender("bare-8", BARE, MESSAGES, ContenderKind::Bare { threads: 8 }),
    contender("bare-20", BARE, MESSAGES, ContenderKind::Bare { threads: 20 }),
    contender("memory", MEMORY, MESSAGES, ContenderKind::Memory),
    contender("redis", REDIS, MESSAGES, ContenderKind::Redis),
    contender("batch", BATCH, MESSAGES, ContenderKind::Batch),
    contender("memory-by-hand", MEMORY_BY_HAND, MESSAGES, ContenderKind::MemoryByHand),
    contender("by-hand-8", BY_HAND, SLOW, ContenderKind::ByHand { threads: 8 }),
    contender("by-hand-20", BY_HAND, SLOW, ContenderKind::ByHand { threads: 20 }),
    contender("pipelined-4", PIPELINED, MESSAGES, ContenderKind::Pipelined { threads: 4 }),
    contender("pipelined-8", PIPELINED, MESSAGES, ContenderKind::Pipelined { threads: 8 }),
    contender("java-20", JAVA, SLOW, ContenderKind::Java { threads: 20 }),
    contender("java-64", JAVA, SLOW, ContenderKind::Java { threads: 64 }),
    contender("java-256", JAVA, SLOW, ContenderKind::Java { threads: 256 }),
    contender("bare-orderly", BARE_ORDERLY, 2_000, ContenderKind::BareOrderly),
    contender("ordered", ORDERED, 30_000, ContenderKind::Ordered),
];

impl Contender {
    pub(crate) const fn is_ordered(&self) -> bool {
        matches!(self.kind, ContenderKind::BareOrderly | ContenderKind::Ordered)
    }

    /// The threads of the contender that runs in Java, where it is that one.
    pub(crate) const fn java_threads(&self) -> Option<u32> {
        match self.kind {
            ContenderKind::Java { threads } => Some(threads),
            _ => None,
        }
    }
}

async fn add(order: OrderPayload, State(count): State<MessageCount>) {
    black_box(order.amount_cents);
    count.one();
}

async fn add_all(orders: Vec<OrderPayload>, State(count): State<MessageCount>) {
    for order in orders {
        black_box(order.amount_cents);
        count.one();
    }
}

async fn work(order: OrderPayload, State(count): State<MessageCount>) {
    black_box(order.buyer_id);
    tokio::time::sleep(WORK).await;
    count.one();
}

/// Consumes as the arguments say, and prints what it cost.
pub(crate) async fn consume(arguments: &[String]) -> anyhow::Result<()> {
    let [name, name_server, redis, topic, group] = arguments else { bail!("not what the parent says") };
    let one = ALL.iter().find(|one| one.name == name).context("an unknown contender")?;
    let count = MessageCount::to(one.messages);
    let bare = |threads, work| BareClient {
        name_server: name_server.clone(),
        group: group.clone(),
        topic: topic.clone(),
        threads,
        is_orderly: one.is_ordered(),
        work,
    };
    let counted = count.clone();
    let cost = match one.kind {
        ContenderKind::Bare { threads } => {
            let work = each(move |payload| {
                black_box(payload);
                counted.one();
            });
            bare(threads, work).consume(count)?
        }
        ContenderKind::MemoryByHand => bare(BEST_THREADS, by_hand::in_memory(counted)).consume(count)?,
        ContenderKind::ByHand { threads } => {
            bare(threads, by_hand::in_redis(redis, group, counted)?).consume(count)?
        }
        ContenderKind::Pipelined { threads } => {
            bare(threads, by_hand::in_redis_pipelined(redis, group, counted)?).consume(count)?
        }
        ContenderKind::Java { .. } => bail!("the parent runs what is Java's"),
        ContenderKind::BareOrderly => {
            let work = each(move |_| {
                thread::sleep(WORK);
                counted.one();
            });
            bare(ORDERLY_THREADS, work).consume(count)?
        }
        ContenderKind::Memory | ContenderKind::Redis | ContenderKind::Batch | ContenderKind::Ordered => {
            let key = |order: &OrderPayload| IdempotencyKey::new(&order.order_id);
            let route = match one.kind {
                ContenderKind::Ordered => handler(topic, work).order_by(|order| order.buyer_id).key(key),
                ContenderKind::Batch => batch_handler(topic, add_all).key(key),
                _ => handler(topic, add).key(key),
            };
            let consumer = Consumer::builder(group).name_server(name_server).state(count.clone());
            let consumer = if one.is_ordered() { consumer } else { consumer.concurrency(AT_ONCE) };
            let consumer = match one.kind {
                ContenderKind::Redis | ContenderKind::Batch => {
                    consumer.store(RedisStore::connect(redis.as_str()).await?)
                }
                _ => consumer.store(MemoryStore::new()),
            };
            let running = consumer.handlers([route]).start().await?;
            let cost = measured(&count).await?;
            running.shutdown().await;
            cost
        }
    };
    cost.print();
    Ok(())
}
