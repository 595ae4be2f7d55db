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
use crate::{by_hand, measured};

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
    messages: usize,
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
const BARE_ORDERLY: &str = "bare client, orderly, 5 ms";
const ORDERED: &str = "idem, order_by, 5 ms";

/// Which row is to reach how much of which.
pub(crate) const BUDGETS: [(&str, &str, f64); 5] = [
    (MEMORY, BARE, 0.9),
    (REDIS, BARE, 0.5),
    (REDIS, BY_HAND, 4.0),
    (BATCH, BARE, 0.55),
    (ORDERED, BARE_ORDERLY, 10.0),
];

const fn contender(name: &'static str, row: &'static str, messages: usize, kind: ContenderKind) -> Contender {
    Contender { name, row, messages, kind }
}

pub(crate) const ALL: [Contender; 16] = [
    contender("bare-4", BARE, 100_000, ContenderKind::Bare { threads: 4 }),
    contender("bare-8", BARE, 100_000, ContenderKind::Bare { threads: 8 }),
    contender("bare-20", BARE, 100_000, ContenderKind::Bare { threads: 20 }),
    contender("bare-64", BARE, 100_000, ContenderKind::Bare { threads: 64 }),
    contender("memory", MEMORY, 100_000, ContenderKind::Memory),
    contender("redis", REDIS, 100_000, ContenderKind::Redis),
    contender("batch", BATCH, 100_000, ContenderKind::Batch),
    contender("memory-by-hand", MEMORY_BY_HAND, 100_000, ContenderKind::MemoryByHand),
    contender("by-hand-4", BY_HAND, 20_000, ContenderKind::ByHand { threads: 4 }),
    contender("by-hand-8", BY_HAND, 20_000, ContenderKind::ByHand { threads: 8 }),
    contender("by-hand-20", BY_HAND, 20_000, ContenderKind::ByHand { threads: 20 }),
    contender("by-hand-64", BY_HAND, 20_000, ContenderKind::ByHand { threads: 64 }),
    contender("pipelined-4", PIPELINED, 100_000, ContenderKind::Pipelined { threads: 4 }),
    contender("pipelined-8", PIPELINED, 100_000, ContenderKind::Pipelined { threads: 8 }),
    contender("bare-orderly", BARE_ORDERLY, 2_000, ContenderKind::BareOrderly),
    contender("ordered", ORDERED, 30_000, ContenderKind::Ordered),
];

impl Contender {
    pub(crate) const fn is_ordered(&self) -> bool {
        matches!(self.kind, ContenderKind::BareOrderly | ContenderKind::Ordered)
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
