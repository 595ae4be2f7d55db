//! Handlers whose runs end without an answer, as users write them and test them.

use std::time::Duration;

use idem_core::{DoubtCause, HandlerError, UncertainRun};
use parking_lot::Mutex;

use super::*;
use crate::batch_handler;
use crate::extract::Doubt;
use crate::handler::Happened;
use crate::prelude::*;

#[derive(Deserialize)]
struct Payout {
    id: String,
}

fn payout(id: &str) -> Delivery {
    Delivery::builder("payouts").body(format!(r#"{{"id":"{id}"}}"#)).build()
}

/// A provider that pays and does not answer, and what it says when it is asked.
#[derive(Clone)]
struct Provider {
    paid: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Vec<Happened>>>,
    asked: Arc<Mutex<Vec<(String, u32)>>>,
}

impl Provider {
    fn answering(answers: impl IntoIterator<Item = Happened>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        Self { paid: Arc::default(), answers, asked: Arc::default() }
    }

    fn payments(&self) -> usize {
        self.paid.lock().len()
    }
}

/// The first request for each payout has no answer.
async fn pay(payout: Payout, State(provider): State<Provider>) -> HandlerResult {
    provider.paid.lock().push(payout.id);
    if provider.payments() == 1 {
        Err(Uncertain::because("no answer from the provider"))?;
    }
    Ok(())
}

async fn pay_all(payouts: Vec<Payout>, State(provider): State<Provider>) -> HandlerResult {
    for payout in payouts {
        pay(payout, State(provider.clone())).await?;
    }
    Ok(())
}

async fn was_paid(
    payout: &Payout,
    doubt: &Doubt,
    State(provider): State<Provider>,
) -> Result<Happened, String> {
    provider.asked.lock().push((payout.id.clone(), doubt.attempt));
    let mut answers = provider.answers.lock();
    if answers.is_empty() { Err("the provider is away".to_owned()) } else { Ok(answers.remove(0)) }
}

fn consumer(provider: &Provider, route: Route) -> TestConsumer {
    let builder = Consumer::builder("treasury").store(TestStore::new()).state(provider.clone());
    builder.handlers([route]).test().unwrap()
}

fn checked() -> Route {
    handler("payouts", pay).check(was_paid).key(|payout| payout.id.clone()).max_attempts(3)
}

async fn retried(consumer: &TestConsumer) -> Decision {
    let retry = consumer.retries().remove(0);
    consumer.deliver(retry).await
}

#[tokio::test(start_paused = true)]
async fn a_check_that_finds_the_payment_completes_without_another() {
    let provider = Provider::answering([Happened::Unknown, Happened::Yes]);
    let consumer = consumer(&provider, checked());
    let first = consumer.deliver(payout("7")).await;
    assert_eq!(
        (first.outcome, first.reason.as_deref()),
        (Outcome::Failed, Some("no answer from the provider"))
    );
    let unknown = retried(&consumer).await;
    assert_eq!((unknown.outcome, unknown.attempt), (Outcome::Uncertain, 2));
    let found = retried(&consumer).await;
    assert_eq!((found.verdict, found.outcome), (Verdict::Ack, Outcome::FoundDone));
    assert_eq!(consumer.deliver(payout("7")).await.outcome, Outcome::Duplicate);
    assert_eq!(provider.payments(), 1);
    assert_eq!(*provider.asked.lock(), [("7".to_owned(), 1), ("7".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_finds_nothing_lets_the_handler_run() {
    let provider = Provider::answering([Happened::No]);
    let consumer = consumer(&provider, checked());
    consumer.deliver(payout("7")).await;
    let second = retried(&consumer).await;
    assert_eq!((second.outcome, second.attempt), (Outcome::Completed, 2));
    assert_eq!(provider.payments(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_check_without_an_answer_ends_as_a_dead_letter_and_duplicates_do_too() {
    let provider = Provider::answering([]);
    let consumer = consumer(&provider, checked());
    consumer.deliver(payout("7")).await;
    assert_eq!(retried(&consumer).await.reason.as_deref(), Some("the provider is away"));
    let last = retried(&consumer).await;
    assert_eq!((last.verdict, last.outcome), (Verdict::DeadLetter, Outcome::Uncertain));
    assert_eq!(consumer.dead_letters()[0].property("IDEM_OUTCOME"), Some("uncertain"));
    assert_eq!(provider.payments(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_message_of_a_batch_has_a_doubt_and_a_check_of_its_own() {
    let provider = Provider::answering([Happened::Yes]);
    let route = batch_handler("payouts", pay_all).check(was_paid).key(|payout: &Payout| payout.id.clone());
    let consumer = consumer(&provider, route);
    let first = consumer.deliver(payout("7")).await;
    assert_eq!(first.outcome, Outcome::Failed);
    let retry = consumer.retries().remove(0);
    let decisions = consumer.deliver_all([payout("8"), retry, payout("9")]).await;
    let outcomes: Vec<_> = decisions.iter().map(|decision| decision.outcome).collect();
    assert_eq!(outcomes, [Outcome::Completed, Outcome::FoundDone, Outcome::Completed]);
    assert_eq!(*provider.paid.lock(), ["7", "8", "9"]);
    assert_eq!(*provider.asked.lock(), [("7".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_be_asked_no_run_follows() {
    let provider = Provider::answering([]);
    let route = handler("payouts", pay).key(|payout| payout.id.clone()).uncertain(UncertainRun::Hold);
    let consumer = consumer(&provider, route);
    let first = consumer.deliver(payout("7")).await;
    assert_eq!((first.verdict, first.outcome), (Verdict::DeadLetter, Outcome::Uncertain));
    let again = consumer.deliver(payout("7")).await;
    assert_eq!((again.verdict, again.outcome), (Verdict::DeadLetter, Outcome::Uncertain));
    assert_eq!(consumer.dead_letters().len(), 2);
    assert_eq!(provider.payments(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_runs_again_is_told() {
    let seen: Arc<Mutex<Vec<Option<u32>>>> = Arc::default();
    let noted = seen.clone();
    let route = handler("payouts", move |_: Payout, doubt: Option<Doubt>| {
        let told = doubt.map(|doubt| doubt.attempt);
        noted.lock().push(told);
        async move { assert!(told.is_some(), "as it is to be, the first time") }
    });
    let consumer = consumer(&Provider::answering([]), route.key(|payout| payout.id.clone()));
    assert_eq!(consumer.deliver(payout("7")).await.outcome, Outcome::Panicked);
    assert_eq!(retried(&consumer).await.outcome, Outcome::Completed);
    assert_eq!(*seen.lock(), [None, Some(1)]);
}

#[test]
fn a_check_that_is_missing_or_never_asked_is_refused() {
    let refused = |route: Route| {
        let builder = Consumer::builder("treasury").store(TestStore::new()).state(Provider::answering([]));
        builder.handlers([route.named("pay")]).test().unwrap_err().to_string()
    };
    let key = |payout: &Payout| payout.id.clone();
    let missing = refused(handler("payouts", pay).key(key).uncertain(UncertainRun::Check));
    assert!(
        missing.contains("`uncertain` of handler `pay` asks a check, and the handler has none"),
        "{missing}"
    );
    let unused = refused(checked().uncertain(UncertainRun::Hold));
    assert!(
        unused.contains("`uncertain` of handler `pay` asks no check, and the handler has one"),
        "{unused}"
    );
}

/// A handler that ends as the payout's id says, and what it was told of the run before.
fn ending(told: &Arc<Mutex<Vec<Option<DoubtCause>>>>) -> Route {
    let told = told.clone();
    let route = handler("payouts", move |payout: Payout, attempt: Attempt, doubt: Option<Doubt>| {
        told.lock().push(doubt.map(|doubt| doubt.cause));
        let is_first = attempt.number() == 1 && doubt.is_none();
        async move {
            match payout.id.as_str() {
                _ if !is_first => Ok(()),
                "panicked" => panic!("as it is to be"),
                "uncertain" => Err(HandlerError::from(Uncertain::because("no answer"))),
                _ => std::future::pending().await,
            }
        }
    });
    route.key(|payout: &Payout| payout.id.clone()).timeout(Duration::from_mins(5))
}

#[tokio::test(start_paused = true)]
async fn each_end_without_an_answer_can_be_made_to_happen() {
    for cause in [
        DoubtCause::TimedOut,
        DoubtCause::Panicked,
        DoubtCause::Uncertain,
        DoubtCause::LeaseLost,
        DoubtCause::Shutdown,
        DoubtCause::Vanished,
    ] {
        let (store, told) = (TestStore::new(), Arc::default());
        let member = || {
            let builder = Consumer::builder("treasury").store(store.clone());
            builder.handlers([ending(&told)]).test().unwrap()
        };
        let first = member();
        let deliver = first.deliver(payout(cause.as_str()));
        match cause {
            DoubtCause::LeaseLost => {
                store.take_leases();
                assert_eq!(deliver.await.outcome, Outcome::LeaseLost);
            }
            DoubtCause::Shutdown => {
                let (decision, ()) = tokio::join!(deliver, async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    first.shut_down();
                });
                assert_eq!(decision.outcome, Outcome::Shutdown);
            }
            DoubtCause::Vanished => {
                tokio::select! {
                    _ = deliver => panic!("nobody answers"),
                    () = tokio::time::sleep(Duration::from_secs(1)) => store.go_away(),
                }
                tokio::time::sleep(Duration::from_mins(1)).await;
                store.come_back();
            }
            _ => drop(deliver.await),
        }
        let second = member();
        assert_eq!(second.deliver(payout(cause.as_str())).await.outcome, Outcome::Completed, "{cause:?}");
        assert_eq!(*told.lock(), [None, Some(cause)], "{cause:?}");
    }
}
