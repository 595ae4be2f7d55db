//! What idem costs beside the bare client, over a broker in this process.
//!
//! `cargo bench -p idem-rocketmq --features embedded --bench broker`, and `-- idem` or `-- bare` after it for one of
//! them alone, to look at it with a profiler.
//!
//! Both read the same topic in groups of their own, with the same batches and listener threads, several times in
//! turn. The bare listener only counts; idem decodes each payload, takes its key, claims, runs and completes it over
//! the memory store. The clock runs from a tenth of the messages to the last one, so that joining a group is left
//! out. CPU time is the whole process's, the broker's share included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use idem_rocketmq::embedded::{EmbeddedBroker, Outgoing};
use idem_rocketmq::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

const MESSAGES: usize = 200_000;
const WARM_UP: usize = MESSAGES / 10;
const ROUNDS: usize = 5;
/// The least share of the bare client's messages per second.
const BUDGET: f64 = 0.9;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount_cents: i64,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn count(order: OrderPaid, State(count): State<Count>) {
    std::hint::black_box(order.amount_cents);
    count.one();
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let broker = EmbeddedBroker::builder().topic("orders", 4).start().await?;
    broker.producer().send_all((0..MESSAGES).map(order).collect()).await?;
    println!("{MESSAGES} messages of about 100 bytes in 4 queues; {ROUNDS} rounds in turn");
    println!("{:>5}  {:<12} {:>12} {:>16}", "round", "", "messages/s", "CPU µs/message");
    let (mut bare, mut idem) = (Vec::new(), Vec::new());
    let only = std::env::args().nth(1).filter(|name| ["idem", "bare"].contains(&&**name));
    for round in 1..=ROUNDS {
        // Who comes first in one round comes second in the next.
        for turn in 0..2 {
            let is_idem = (round + turn) % 2 == 0;
            if only.as_deref().is_some_and(|only| is_idem != (only == "idem")) {
                continue;
            }
            if is_idem {
                idem.push(with_idem(&broker, round).await?.print(round, "idem"));
            } else {
                bare.push(without(&broker, round).await?.print(round, "bare client"));
            }
        }
    }
    broker.shutdown().await;
    if only.is_some() {
        return Ok(());
    }
    println!();
    verdict("best", best(&idem), best(&bare));
    verdict("median", median(&mut idem), median(&mut bare));
    Ok(())
}

fn order(number: usize) -> Outgoing {
    let body = format!(
        r#"{{"order_id":"order-{number:012}","amount_cents":{},"currency":"EUR","note":"paid by card, thank you"}}"#,
        number % 1_000
    );
    Outgoing::new("orders", body)
}

async fn without(broker: &EmbeddedBroker, round: usize) -> anyhow::Result<Cost> {
    let count = Count::default();
    let each = {
        let count = count.clone();
        move |payload: &Bytes| {
            std::hint::black_box(payload);
            count.one();
        }
    };
    let listener = broker.listen_bare(&format!("bare-{round}"), "orders", each).await?;
    let cost = count.measured().await;
    listener.shutdown().await;
    Ok(cost)
}

async fn with_idem(broker: &EmbeddedBroker, round: usize) -> anyhow::Result<Cost> {
    let count = Count::default();
    let consumer = Consumer::builder(format!("idem-{round}"))
        .name_server(broker.name_server())
        .store(MemoryStore::new())
        .state(count.clone())
        .handlers(handlers![count])
        .start()
        .await?;
    let cost = count.measured().await;
    consumer.shutdown().await;
    Ok(cost)
}

/// Counts messages, and wakes up who waits at the end of the warm-up and at the last one.
#[derive(Clone, Default)]
struct Count(Arc<Counted>);

#[derive(Default)]
struct Counted {
    messages: AtomicUsize,
    warm: Notify,
    done: Notify,
}

impl Count {
    fn one(&self) {
        match self.0.messages.fetch_add(1, Ordering::Relaxed) + 1 {
            WARM_UP => self.0.warm.notify_one(),
            MESSAGES => self.0.done.notify_one(),
            _ => {}
        }
    }

    async fn measured(&self) -> Cost {
        self.0.warm.notified().await;
        let (begun, cpu_begun) = (Instant::now(), cpu());
        // The notice may come some messages late.
        let before = self.0.messages.load(Ordering::Relaxed);
        self.0.done.notified().await;
        Cost::of(MESSAGES - before, begun.elapsed(), cpu().saturating_sub(cpu_begun))
    }
}

#[derive(Clone, Copy)]
struct Cost {
    per_second: f64,
    cpu_micros: f64,
}

impl Cost {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn of(messages: usize, took: Duration, cpu: Duration) -> Self {
        let messages = messages as f64;
        Self { per_second: messages / took.as_secs_f64(), cpu_micros: cpu.as_secs_f64() * 1e6 / messages }
    }

    fn print(self, round: usize, what: &str) -> Self {
        println!("{round:>5}  {what:<12} {:>12.0} {:>16.2}", self.per_second, self.cpu_micros);
        self
    }
}

fn best(costs: &[Cost]) -> Cost {
    let fold = |best: Cost, cost: &Cost| Cost {
        per_second: best.per_second.max(cost.per_second),
        cpu_micros: best.cpu_micros.min(cost.cpu_micros),
    };
    costs.iter().fold(Cost { per_second: 0.0, cpu_micros: f64::MAX }, fold)
}

fn median(costs: &mut [Cost]) -> Cost {
    let mut middle = |of: fn(&Cost) -> f64| {
        costs.sort_by(|a, b| of(a).total_cmp(&of(b)));
        of(&costs[costs.len() / 2])
    };
    Cost { per_second: middle(|cost| cost.per_second), cpu_micros: middle(|cost| cost.cpu_micros) }
}

fn verdict(what: &str, idem: Cost, bare: Cost) {
    let ratio = idem.per_second / bare.per_second;
    let kept = if ratio >= BUDGET { "kept" } else { "MISSED" };
    println!(
        "{what:<6} idem / bare client: {:.0} / {:.0} messages/s = {ratio:.2} (budget: at least {BUDGET:.2}, {kept}); \
         {:.2} µs of CPU more a message",
        idem.per_second,
        bare.per_second,
        idem.cpu_micros - bare.cpu_micros
    );
}

/// The CPU time of the whole process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}
