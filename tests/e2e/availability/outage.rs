//! Broker and name server go away under load, and come back. Each test has servers of its own.
//!
//! Consuming goes on up to 33 s after the broker was killed, however soon it is back: the client's pull request that
//! waits in a broken connection ends after 30 s, and the next one comes 3 s later. Neither can be set.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- availability::outage::`

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::embedded::Bench;
use idem_rocketmq::prelude::*;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::producer::sending::a_broker_goes_away;
use crate::support::kit::{self, Runs, note};
use crate::support::log::{Log, secs};
use crate::support::place::Place;

const LONG: Duration = secs(120);

/// Servers that end with this value, also when the test's process is killed.
struct Servers {
    dir: TempDir,
    guard: Child,
}

impl Servers {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let guard = format!("read -r _; exec {} stop {}", script().display(), dir.path().display());
        let mut command = Command::new("sh");
        let guard = command.args(["-c", &guard]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let servers = Self { dir, guard };
        servers.call("start", "rocketmq").await;
        servers
    }

    async fn call(&self, what: &'static str, name: &'static str) {
        let mut command = Command::new(script());
        command.arg(what).arg(self.dir.path()).arg(name).env_remove("IDEM_TEST_ROCKETMQ");
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{what} {name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn name_server(&self) -> String {
        let port = std::fs::read_to_string(self.dir.path().join("names-plain/port")).unwrap();
        format!("127.0.0.1:{}", port.trim())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/services")
}

/// Sends orders, 0, 1, .., each until the broker has confirmed it.
struct Load {
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    sending: JoinHandle<()>,
}

impl Load {
    fn start(bench: &Bench, topic: &str) -> Self {
        let (sent, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (producer, topic) = (bench.producer(), topic.to_owned());
        let (count, stopped) = (sent.clone(), stop.clone());
        let sending = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let order = kit::order(&topic, count.load(Ordering::Relaxed));
                if producer.send(order).await.is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                } else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
        Self { sent, stop, sending }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.sending.await.unwrap();
        self.sent.load(Ordering::Relaxed)
    }
}

/// Waits for the number to grow, and says how long that took.
async fn grows(what: &str, number: impl Fn() -> usize) -> Duration {
    let (begun, before) = (Instant::now(), number());
    kit::until(what, LONG, async || number() > before).await;
    begun.elapsed()
}

/// Orders that lie in the broker when it goes away.
///
/// The client pulls up to 1,000 of a queue ahead, which the handler has done long before the broker is back.
const BACKLOG: usize = 4_000;

/// A backlog and more orders, an outage, and all orders are handled once.
async fn under_load(name: &str, outage: impl AsyncFn(&Servers)) {
    let servers = Servers::start().await;
    let place = Place::at(servers.name_server(), 1).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let backlog = (0..BACKLOG).map(|number| place.order(format!("backlog-{number}")));
    place.send_all(backlog.collect()).await;
    let route = kit::sleeping(&place.topic, &begun, &ended, Duration::from_millis(10)).concurrency(4);
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    let load = Load::start(&place.bench, &place.topic);
    kit::until("there is load", LONG, async || ended.total() > 300).await;
    outage(&servers).await;
    let (back, left) = (Instant::now(), BACKLOG.saturating_sub(ended.total()));
    let sending = grows("sending goes on", || load.sent());
    let handling = grows("handling goes on", || ended.total());
    let (sending, handling) = tokio::join!(sending, handling);
    println!(
        "{name}: after all was up again, with a backlog of {left}, handling went on after {handling:.1?}, sending after {sending:.1?}"
    );
    let more = load.sent() + 300;
    kit::until("load goes on", LONG, async || load.sent() >= more).await;
    let sent = BACKLOG + load.end().await;
    kit::until_equal("keys", sent, LONG, async || ended.keys()).await;
    println!("{name}: {sent} orders, all handled {:.1?} after all was up again", back.elapsed());
    place.until_acked().await;
    consumer.shutdown().await;
    assert_eq!(begun.repeated(), Vec::<String>::new());
    assert!(place.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_loses_and_repeats_nothing() {
    under_load("broker-killed", async |servers: &Servers| {
        servers.call("kill", "broker-plain").await;
        tokio::time::sleep(secs(5)).await;
        servers.call("restart", "broker-plain").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_is_killed_and_comes_back_loses_and_repeats_nothing() {
    under_load("names-killed", async |servers: &Servers| {
        servers.call("kill", "names-plain").await;
        // Longer than clients take to ask for routes again.
        tokio::time::sleep(secs(15)).await;
        servers.call("restart", "names-plain").await;
    })
    .await;
}

/// Retries and dead letters are held until the broker is back: none is lost, and none costs a further attempt.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_sent_back_while_the_broker_is_away_is_sent_when_it_is_back() {
    const ORDERS: usize = 60;
    let servers = Servers::start().await;
    let place = Place::at(servers.name_server(), 4).await;
    let (log, is_away) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let seen = is_away.clone();
    let noted = log.clone();
    let route = handler(&place.topic, move |order: kit::Order, attempt: Attempt| {
        let run =
            crate::support::log::Run { id: order.id.clone(), attempt: attempt.number(), at: Instant::now() };
        noted.0.lock().unwrap().push(run);
        let is_away = seen.clone();
        async move {
            while !is_away.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            match (order.id.parse::<usize>().unwrap() % 3, attempt.number()) {
                (0, _) => Err(Reject::new("a negative amount").into()),
                (1, 1) => Err(Retry::after(secs(2)).into()),
                _ => HandlerResult::Ok(()),
            }
        }
    });
    let route = route.key(|order| order.id.clone());
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    place.send_all(place.orders(ORDERS)).await;
    log.until(ORDERS, LONG).await;
    servers.call("kill", "broker-plain").await;
    is_away.store(true, Ordering::Relaxed);
    let failed = || kit::counted("idem_send_failures_total", &[("group", &place.group)]);
    kit::until("sending back fails", LONG, async || failed() >= 20).await;
    servers.call("restart", "broker-plain").await;
    let back = Instant::now();
    let of = |kind: usize, attempt: u32| {
        let runs = log.runs().into_iter().map(|run| (run.id.parse::<usize>().unwrap(), run.attempt));
        runs.filter(move |(id, at)| (id % 3, *at) == (kind, attempt)).count()
    };
    kit::until_equal("second attempts", ORDERS / 3, LONG, async || of(1, 2)).await;
    let dead = place.dead_letter_topic();
    let bodies = async || {
        let letters = place.bench.read_all(&dead).await.unwrap_or_default();
        letters.into_iter().map(|letter| letter.body).collect::<BTreeSet<_>>()
    };
    kit::until_equal("dead letters", ORDERS / 3, LONG, async || bodies().await.len()).await;
    println!("away: all was sent back and tried again {:.1?} after the broker was up again", back.elapsed());
    place.until_acked().await;
    consumer.shutdown().await;
    let runs = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)].map(|(kind, attempt)| of(kind, attempt));
    assert_eq!(runs, [ORDERS / 3, ORDERS / 3, 0, ORDERS / 3, 0], "{:?}", log.runs());
    // A rejected order is given back when its dead letter is confirmed: what the broker delivers again, because the
    // queue was handed out anew meanwhile, is rejected again.
    let letters = place.dead_letters().await;
    println!("away: {} rejected orders have {} dead letters", ORDERS / 3, letters.len());
    assert!(letters.iter().all(|letter| note(letter, "IDEM_REASON") == "a negative amount"));
}

/// How sends ended, each by the number of its order.
#[derive(Default)]
struct Sends {
    next: AtomicUsize,
    stop: AtomicBool,
    confirmed: Mutex<BTreeSet<usize>>,
    maybe: Mutex<BTreeSet<usize>>,
    not_sent: Mutex<BTreeSet<usize>>,
}

impl Sends {
    async fn go_on(&self, producer: &Producer, topic: &str) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let order = OutgoingMessage::new(topic, number as u64, format!(r#"{{"id":"{number}"}}"#));
            let ended = match producer.send(&order).await {
                Ok(_) => &self.confirmed,
                Err(error) if error.is_maybe_sent() => &self.maybe,
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    &self.not_sent
                }
            };
            ended.lock().unwrap().insert(number);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn confirmed(&self) -> usize {
        self.confirmed.lock().unwrap().len()
    }

    fn failed(&self) -> usize {
        self.maybe.lock().unwrap().len() + self.not_sent.lock().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_broker_confirmed_is_there_and_what_was_not_sent_is_not() {
    const SENDERS: usize = 8;
    let servers = Servers::start().await;
    let place = Place::at(servers.name_server(), 4).await;
    // Short, so that sends end during the outage.
    let producer = place.sender().send_timeout(secs(3)).start().await.unwrap();
    let sends = Arc::new(Sends::default());
    let sending: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (sends, producer, topic) = (sends.clone(), producer.clone(), place.topic.clone());
            tokio::spawn(async move { sends.go_on(&producer, &topic).await })
        })
        .collect();
    kit::until("orders are sent", LONG, async || sends.confirmed() > 500).await;
    servers.call("kill", "broker-plain").await;
    let killed = Instant::now();
    kit::until("sends fail", LONG, async || sends.failed() >= 2 * SENDERS).await;
    let failed = killed.elapsed();
    let before = sends.confirmed();
    servers.call("restart", "broker-plain").await;
    let (back, down) = (Instant::now(), killed.elapsed());
    kit::until("a send is confirmed again", LONG, async || sends.confirmed() > before).await;
    let again = back.elapsed();
    kit::until("sending goes on", LONG, async || sends.confirmed() > before + 500).await;
    sends.stop.store(true, Ordering::Relaxed);
    for task in sending {
        task.await.unwrap();
    }
    producer.shutdown().await;

    let stored = place.bench.read_all(&place.topic).await.unwrap();
    let stored: BTreeSet<usize> =
        stored.iter().map(|message| note(message, "KEYS").parse().unwrap()).collect();
    let (confirmed, maybe, not_sent) =
        (sends.confirmed.lock().unwrap(), sends.maybe.lock().unwrap(), sends.not_sent.lock().unwrap());
    println!(
        "{} sends: {} confirmed, {} not sent, {} maybe sent of which {} are stored; sends failed for good {failed:.1?} \
         after the kill; the broker was away {down:.1?}, and a send was confirmed {again:.2?} after it was back",
        sends.next.load(Ordering::Relaxed),
        confirmed.len(),
        not_sent.len(),
        maybe.len(),
        maybe.intersection(&stored).count(),
    );
    // 20 s where the client is let try a broker that is away.
    assert!(again < secs(10), "{again:?}");
    assert_eq!(confirmed.difference(&stored).collect::<Vec<_>>(), [&0; 0], "confirmed and lost");
    assert_eq!(
        not_sent.intersection(&stored).collect::<Vec<_>>(),
        [&0; 0],
        "said not to be sent, and stored"
    );
    assert_eq!(confirmed.len() + maybe.len() + not_sent.len(), sends.next.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_gives_an_error_that_says_so_in_time() {
    let servers = Servers::start().await;
    let place = Place::at(servers.name_server(), 1).await;
    a_broker_goes_away(&place, async || servers.call("kill", "broker-plain").await).await;
}
