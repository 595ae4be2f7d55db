//! Panics in a listener call: of the user's code a message's failure, of idem's own the consumer's end.

use idem_core::Outcome;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::codec::{Bytes, Codec, DecodeError};
use crate::extract::{Delivery, Extract, ExtractError, State};
use crate::handler::Call;
use crate::settings::MissingKey;
use crate::testing::TestConsumer;

/// A payload whose `Drop` panics where it says so. Its first word is its key, if it is one.
struct Word(String);

impl Drop for Word {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || !self.0.ends_with("bomb"), "dropped on purpose");
    }
}

struct WordCodec;

impl Codec<Word> for WordCodec {
    fn decode(&self, body: &Bytes) -> Result<Word, DecodeError> {
        Text.decode(body).map(Word)
    }
}

fn words(work: impl Fn(Word) -> HandlerResult + Clone + Send + Sync + 'static) -> Route {
    let route = handler_with(TOPIC, WordCodec, move |word: Word| {
        let work = work.clone();
        async move { work(word) }
    });
    route.key(|Word(text): &Word| {
        assert!(!text.starts_with("panic"), "no key on purpose");
        IdempotencyKey::new(text.split(' ').next().unwrap_or_default())
    })
}

fn texts(texts: &[&str]) -> Vec<Received<'static>> {
    let numbered = texts.iter().enumerate();
    numbered.map(|(number, text)| message_of(number, (*text).to_owned().into(), &[])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_payload_whose_drop_panics_is_its_messages_affair() {
    let handled = Arc::new(Mutex::new(Vec::new()));
    let seen = handled.clone();
    let route = words(move |word| {
        seen.lock().push(word.0.clone());
        // A handler that drops it fails.
        drop(word);
        Ok(())
    });
    let (bridge, taking, _client) =
        connected(&CallNotingStore::default(), route.missing_key(MissingKey::DeadLetter));
    let call = |texts: &[Received<'static>]| tokio::task::block_in_place(|| consume_all(&bridge, texts));
    assert_eq!(call(&texts(&["1 good"])), ConsumeStatus::Success);
    // A known duplicate, one without a key, one whose key panics, a follower, and two that are run.
    let messages = texts(&["1 bomb", " bomb", "panic bomb", "2 good", "2 bomb", "3 bomb", "4 good"]);
    assert_eq!(call(&messages), ConsumeStatus::Success);
    assert_eq!(*handled.lock(), ["1 good", "2 good", "3 bomb", "4 good"]);
    assert_eq!(taking.0.load(Ordering::SeqCst), 3, "two dead letters and a retry");
    assert_eq!(bridge.engine.fault().place(), None);
}

/// A client that panics, as no client of idem's may.
struct PanickingBroker;

impl Broker for PanickingBroker {
    fn copy<'a>(
        &'a self,
        _: &'a Received<'_>,
        _: CopyPurpose,
        _: CopyExtent,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        panic!("on purpose")
    }

    fn take_threads(&self, _: u32) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn queues(&self) -> BoxFuture<'_, Option<Queues>> {
        Box::pin(async { None })
    }

    fn pause(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn resume(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_panic_of_idems_own_in_a_listener_call_ends_the_consumer() {
    let bridge = bridge(&CallNotingStore::default(), route(|_| Err("no".into())));
    let client: Arc<dyn Broker> = Arc::new(PanickingBroker);
    bridge.connect(&client);
    assert_eq!(tokio::task::block_in_place(|| consume(&bridge, 0..2)), ConsumeStatus::Leave);
    assert_eq!(bridge.engine.fault().place(), Some("a listener call"));
    assert!(bridge.drained(Duration::from_secs(5)), "nothing is under way");
}

/// A state and an extractor that panic.
#[derive(Debug)]
struct UncloneableState;

impl Clone for UncloneableState {
    fn clone(&self) -> Self {
        panic!("cloned on purpose")
    }
}

struct PanickingExtractor;

impl Extract<'_> for PanickingExtractor {
    async fn extract(_: &mut Call<'_>) -> Result<Self, ExtractError> {
        panic!("extracted on purpose")
    }
}

async fn panics(consumer: TestConsumer) {
    for attempt in 1..=2 {
        let delivery = Delivery::builder(TOPIC).body("7").build();
        let decision = consumer.deliver(delivery).await;
        let expected = if attempt == 1 { Outcome::Panicked } else { Outcome::Exhausted };
        assert_eq!((decision.outcome, decision.attempt), (expected, attempt));
    }
}

#[tokio::test]
async fn a_state_an_extractor_and_a_hook_that_panic_are_failed_attempts() {
    let consumer = |route: Route| {
        let builder = Consumer::builder("group").store(MemoryStore::new()).handlers([route.max_attempts(2)]);
        builder.on_span(|_, _| panic!("on purpose"))
    };
    let key = |number: &String| IdempotencyKey::new(number);
    let state = handler_with(TOPIC, Text, |_: String, _: State<UncloneableState>| async {}).key(key);
    panics(consumer(state).state(UncloneableState).test().unwrap()).await;
    let extracts = handler_with(TOPIC, Text, |_: String, _: PanickingExtractor| async {}).key(key);
    panics(consumer(extracts).test().unwrap()).await;
    // A hook is called where somebody is interested in the span. While there is one subscriber, tracing asks the thread that
    // comes to a span first, which may be another test's; with two it asks both subscribers.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::registry().with(tracing_subscriber::fmt::layer().with_test_writer());
    let _interested = tracing::subscriber::set_default(subscriber);
    panics(consumer(route(|_| Ok(()))).test().unwrap()).await;
}
