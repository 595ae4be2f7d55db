//! Apache's client in Java and idem understand each other and are members of one group.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- operations::java_client::`

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use idem_rocketmq::Backoff;
use idem_rocketmq::handler::KeySource;
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Order, SOON};
use crate::support::log::secs;
use crate::support::place::Place;
use crate::support::servers::variable;

/// A consumer in Java, which ends with this value.
struct JavaConsumer {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl JavaConsumer {
    /// `address` stands first in its client id.
    async fn start(place: &Place, tags: &str, address: &str) -> Self {
        for _ in 0..3 {
            let this = Mutex::new(Self::spawn(place, tags, address));
            let is_ready = || !this.lock().unwrap().rows("ready").is_empty();
            let has_ended = || this.lock().unwrap().child.try_wait().unwrap().is_some();
            kit::until("the Java consumer is ready", 2 * SOON, async || is_ready() || has_ended()).await;
            if is_ready() {
                return this.into_inner().unwrap();
            }
            // A machine that is busy makes the client give up at times.
        }
        panic!("the Java consumer does not start")
    }

    fn spawn(place: &Place, tags: &str, address: &str) -> Self {
        let mut command = Command::new(variable("IDEM_TEST_JAVA_CLIENT"));
        command.args(["consume", &place.group, &place.topic, tags, address]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let (lines, seen) = (BufReader::new(child.stdout.take().unwrap()).lines(), said.clone());
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| seen.lock().unwrap().push(line));
        });
        Self { child, said }
    }

    /// The rows that begin with a word, without it: topic, tags, keys, colour, number of redeliveries, body.
    fn rows(&self, word: &str) -> Vec<Vec<String>> {
        let said = self.said.lock().unwrap();
        let rows = said.iter().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
        rows.filter(|row| row[0] == word).map(|row| row[1..].to_vec()).collect()
    }

    /// The ids of the orders in those rows.
    fn ids(&self, word: &str) -> Vec<String> {
        let id = |row: Vec<String>| serde_json::from_str::<Order>(&row[5]).unwrap().id;
        self.rows(word).into_iter().map(id).collect()
    }
}

impl Drop for JavaConsumer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_java_producer_sends_is_understood() {
    let place = Place::plain(2).await;
    let seen = Arc::<Mutex<Vec<(String, Arc<Delivery>, SystemTime)>>>::default();
    let log = seen.clone();
    let route = handler(&place.topic, move |order: Order, delivery: Arc<Delivery>| {
        log.lock().unwrap().push((order.id, delivery, SystemTime::now()));
        async {}
    });
    let route = route.key_from(KeySource::MessageKeys).tag("PAID");
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    let topic = place.topic.clone();
    let run =
        move || Command::new(variable("IDEM_TEST_JAVA_CLIENT")).args(["send", &topic]).status().unwrap();
    // A machine that is busy makes the client give up at times; what comes twice is a duplicate by its key.
    let sent = tokio::task::spawn_blocking(move || (0..3).any(|_| run().success()));
    assert!(sent.await.unwrap());
    kit::until_equal("messages", 5, SOON, async || seen.lock().unwrap().len()).await;
    place.until_acked().await;
    consumer.shutdown().await;

    let seen = seen.lock().unwrap();
    for (id, delivery, _) in seen.iter() {
        assert_eq!(delivery.keys(), Some(&*format!("{id} order")));
        assert_eq!((delivery.tag(), delivery.property("colour")), (Some("PAID"), Some("blue")));
        assert_eq!((delivery.topic(), delivery.reconsume_times()), (&*place.topic, 0));
    }
    let mut ids: Vec<_> = seen.iter().map(|(id, ..)| id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["batch-0", "batch-1", "batch-2", "delayed", "plain"]);
    let (_, delayed, at) = seen.iter().find(|(id, ..)| id == "delayed").unwrap();
    let after = at.duration_since(delayed.born_at()).unwrap();
    assert!(after >= secs(2) && after < secs(6), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_idems_producer_sends_a_java_consumer_understands() {
    let place = Place::plain(2).await;
    let consumer = JavaConsumer::start(&place, "PAID", "127.0.0.1").await;
    let producer = place.sender().start().await.unwrap();
    let order = |id: &str| {
        let body = format!(r#"{{"id":"{id}"}}"#);
        OutgoingMessage::new(&*place.topic, id, body)
            .tag("PAID")
            .lookup_key("more")
            .property("colour", "blue")
    };
    producer.send(&order("one")).await.unwrap();
    producer.send_after(&order("later"), secs(2)).await.unwrap();
    producer.send_all(&[order("batch-0"), order("batch-1")]).await.unwrap();
    producer.send(&order("other").tag("DUE")).await.unwrap();
    kit::until_equal("messages", 4, SOON, async || consumer.rows("done").len()).await;
    let mut rows = consumer.rows("done");
    rows.sort();
    let wanted = ["batch-0", "batch-1", "later", "one"].map(|id| {
        let (keys, body) = (format!("{id} more"), format!(r#"{{"id":"{id}"}}"#));
        [place.topic.as_str(), "PAID", &keys, "blue", "0", &body].map(str::to_owned).to_vec()
    });
    assert_eq!(rows, wanted);
    producer.shutdown().await;
}

/// Each in a group with a member of the other kind. Half of the orders fail at their first delivery, whoever gets it,
/// and come again by the one queue of the group's retry topic, which the first member in the order of addresses has.
async fn shared_group(name: &str, address: &str) -> (usize, usize) {
    const ORDERS: usize = 60;
    let place = Place::plain(4).await;
    let other = JavaConsumer::start(&place, "PAID", address).await;
    let (done, failed) = <(Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<String>>>)>::default();
    let (dones, fails) = (done.clone(), failed.clone());
    let route = handler(&place.topic, move |order: Order, delivery: Arc<Delivery>| {
        let fails_now = delivery.reconsume_times() == 0 && order.id.starts_with("twice");
        if fails_now { &fails } else { &dones }.lock().unwrap().push(order.id);
        async move { if fails_now { Err("once more") } else { Ok(()) } }
    });
    let route = route.key(|order| order.id.clone()).backoff(Backoff::fixed(secs(1)));
    // The broker knows a member that gets messages; right behind its start it may not have been told.
    let probe = async || {
        place.send(place.order("probe").tag("PAID")).await;
    };
    let known = async || {
        probe().await;
        !other.rows("done").is_empty()
    };
    kit::until("the Java consumer gets messages", 2 * SOON, known).await;
    let untagged = place.member(&MemoryStore::new(), [kit::counting(&place.topic, &kit::Runs::default())]);
    let error = untagged.start().await.unwrap_err();
    assert!(error.to_string().contains("with the tag PAID"), "{error}");
    let consumer = place.member(&MemoryStore::new(), [route.tag("PAID")]).start().await.unwrap();
    // Both have queues by then.
    let halves = async || {
        probe().await;
        !done.lock().unwrap().is_empty()
    };
    kit::until("both get messages", SOON, halves).await;

    for number in 0..ORDERS {
        let id = if number % 2 == 0 { format!("twice-{number}") } else { format!("once-{number}") };
        place.send(place.order(id).tag("PAID")).await;
    }
    let handled = || {
        let all = [done.lock().unwrap().clone(), other.ids("done")].concat();
        all.into_iter().filter(|id| id != "probe").collect::<std::collections::BTreeSet<_>>()
    };
    kit::until_equal("orders", ORDERS, 2 * SOON, async || handled().len()).await;
    place.until_acked().await;
    let (failed, failed_there) = (failed.lock().unwrap().clone(), other.ids("failed"));
    println!("{name}: {} orders failed here, {} in Java", failed.len(), failed_there.len());
    assert_eq!(failed.len() + failed_there.len(), ORDERS / 2, "each failed once");
    assert!(!failed.is_empty() && !failed_there.is_empty());
    let again = |ids: Vec<String>| ids.iter().filter(|id| id.starts_with("twice")).count();
    let ours = again(done.lock().unwrap().clone());
    let theirs = again(other.ids("done"));
    consumer.shutdown().await;
    (ours, theirs)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_with_a_java_consumer_its_retries_and_idems_are_handled_by_idem() {
    assert_eq!(shared_group("idem_first", "9.9.9.9").await, (30, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_with_a_java_consumer_its_retries_and_idems_are_handled_by_java() {
    assert_eq!(shared_group("java_first", "0.0.0.0").await, (0, 30));
}
