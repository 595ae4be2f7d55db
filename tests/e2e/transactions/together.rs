//! Messages of one call commit together with their records, from the attribute to the database.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- transactions::together::`

use std::sync::{Arc, Mutex};

use idem_rocketmq::embedded::Outgoing;
use idem_rocketmq::prelude::*;
use idem_rocketmq::testing::Decision;
use idem_rocketmq::testing::{Outcome, Verdict};
use sqlx::SqliteConnection;

use crate::support::kit::{self, SOON, note};
use crate::support::place::{OfThisRun, Place};
use crate::support::shop::{Paid, Shop, paid_on};

const PAID: OfThisRun = OfThisRun("paid");

fn paid(id: &str, fails: u32) -> Delivery {
    paid_on(PAID, id, fails)
}

/// The keys of each call. Cloning shares it.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Vec<String>>>>);

impl Calls {
    fn note<'p>(&self, payments: impl IntoIterator<Item = &'p Paid>) {
        self.0.lock().unwrap().push(payments.into_iter().map(|paid| paid.id.clone()).collect());
    }

    /// The calls since the last look.
    fn take(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

async fn insert(tx: &mut SqliteConnection, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO payments (id) VALUES (?)").bind(id).execute(tx).await.map(drop)
}

#[idempotent(key = "id", topic = PAID, batch, transactional, max_attempts = 2)]
async fn pay_all(
    payments: Vec<Paid>,
    tx: &mut SqliteConnection,
    State(calls): State<Calls>,
) -> HandlerResult {
    calls.note(&payments);
    for paid in &payments {
        insert(tx, &paid.id).await?;
    }
    if payments.iter().any(|paid| paid.fails > 0) {
        return Err("one of them cannot be paid".into());
    }
    Ok(())
}

#[idempotent(key = "id", topic = PAID, transactional, group_commit, max_attempts = 2)]
async fn pay_each(paid: Paid, tx: &mut SqliteConnection, State(calls): State<Calls>) -> HandlerResult {
    calls.note([&paid]);
    insert(tx, &paid.id).await?;
    if paid.fails > 0 { Err("it cannot be paid".into()) } else { Ok(()) }
}

fn outcomes(decisions: &[Decision]) -> Vec<Outcome> {
    decisions.iter().map(|decision| decision.outcome).collect()
}

#[tokio::test]
async fn a_batch_and_its_records_are_one_and_a_bad_message_takes_no_other_with_it() {
    let (shop, calls) = (Shop::open().await, Calls::default());
    let consumer = Consumer::builder("shop").store(shop.store().await).state(calls.clone());
    let consumer = consumer.handlers(handlers![pay_all]).test().unwrap();
    let good = consumer.deliver_all(["1", "2", "1"].map(|id| paid(id, 0))).await;
    assert_eq!(outcomes(&good), [Outcome::Completed, Outcome::Completed, Outcome::Duplicate]);
    assert_eq!((calls.take(), shop.payments().await), (vec![vec!["1".to_owned(), "2".to_owned()]], 2));

    let mixed = || [paid("3", 0), paid("bad", 1), paid("2", 0)];
    let first = consumer.deliver_all(mixed()).await;
    assert_eq!(outcomes(&first), [Outcome::Completed, Outcome::Failed, Outcome::Duplicate]);
    assert_eq!((first[1].attempt, calls.take().len(), shop.payments().await), (1, 3, 3));
    let last = consumer.deliver_all(mixed()).await;
    assert_eq!((last[1].outcome, last[1].verdict), (Outcome::Exhausted, Verdict::DeadLetter));
    assert_eq!((outcomes(&last)[0], shop.payments().await), (Outcome::Duplicate, 3));
}

#[tokio::test]
async fn of_a_group_that_commits_together_one_that_fails_is_undone_alone() {
    let (shop, calls) = (Shop::open().await, Calls::default());
    let consumer = Consumer::builder("shop").store(shop.store().await).state(calls.clone());
    let consumer = consumer.handlers(handlers![pay_each]).test().unwrap();
    let decisions = consumer.deliver_all([paid("1", 0), paid("bad", 1), paid("2", 0), paid("1", 0)]).await;
    let wanted = [Outcome::Completed, Outcome::Failed, Outcome::Completed, Outcome::Duplicate];
    assert_eq!((outcomes(&decisions), shop.payments().await), (wanted.to_vec(), 2));
    // Each was called once.
    assert_eq!(calls.take(), [["1"], ["bad"], ["2"]]);
    let again = consumer.deliver_all([paid("bad", 0), paid("3", 0)]).await;
    assert_eq!((outcomes(&again), shop.payments().await), (vec![Outcome::Completed; 2], 4));
}

/// On a broker, each message twice, and two that can never be paid: they alone become dead letters, after their attempts.
#[tokio::test(flavor = "multi_thread")]
async fn what_commits_together_is_paid_once_and_the_bad_ones_alone_are_dead_letters() {
    const KEYS: usize = 60;
    /// All but two.
    const GOOD: u32 = 58;
    let mut place = Place::plain(1).await;
    place.topic = PAID.into();
    place.bench.create_topic(&place.topic, 2).await.unwrap();
    let order = |number: usize| {
        let fails = u32::from(number % 30 == 7);
        Outgoing::new(&place.topic, format!(r#"{{"id":"{number}","fails":{fails}}}"#))
    };
    let twice = (0..KEYS).flat_map(|number| [order(number), order(number)]);
    place.send_all(twice.collect()).await;
    for (group, routes) in [("batch", handlers![pay_all]), ("group", handlers![pay_each])] {
        place.group = crate::support::servers::unique(group);
        let (shop, calls) = (Shop::open().await, Calls::default());
        let routes = routes.into_iter().map(|route| route.backoff(kit::secondly()));
        let consumer = place.consumer().store(shop.store().await).state(calls.clone());
        let consumer = consumer.handlers(routes).start().await.unwrap();

        let letters = place.until_dead_letters(4).await;
        kit::until("all are paid", SOON, async || shop.payments().await >= i64::from(GOOD)).await;
        place.until_acked().await;
        consumer.shutdown().await;
        assert_eq!(shop.payments().await, i64::from(GOOD), "{group}");
        let mut keys: Vec<_> = letters.iter().map(|letter| note(letter, "IDEM_KEY")).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["37", "37", "7", "7"], "{group}");
        assert_eq!(place.counted("completed"), u64::from(GOOD), "{group}");
    }
}
