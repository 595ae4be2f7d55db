//! Keys, routes, waits and the log that the tests share.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

use idem_rocketmq::Backoff;
use idem_rocketmq::embedded::{Outgoing, StoredMessage};
use idem_rocketmq::prelude::*;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// Long enough for a machine that builds something else meanwhile, and for a client whose heartbeat was lost: the next one
/// comes 30 s later.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// Between two looks: a look at a broker costs something, too.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until `seen` says so, or fails after `deadline` with `what` was waited for.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, deadline: Duration, seen: impl Fn() -> F) {
    let waiting = async {
        while !seen().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(deadline, waiting).await.is_ok(), "not within {deadline:?}: {what}");
}

/// As [`until`], for a number that is to become exactly `wanted`; says what it is where it does not.
pub(crate) async fn until_equal(
    what: &str,
    wanted: usize,
    deadline: Duration,
    seen: impl AsyncFn() -> usize,
) {
    let begun = std::time::Instant::now();
    loop {
        let now = seen().await;
        if now == wanted {
            return;
        }
        assert!(begun.elapsed() < deadline, "not within {deadline:?}: {what}: {now} instead of {wanted}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The payload of most tests.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: String,
}

pub(crate) fn order(topic: &str, id: impl std::fmt::Display) -> Outgoing {
    Outgoing::new(topic, format!(r#"{{"id":"{id}"}}"#))
}

pub(crate) fn orders(topic: &str, count: usize) -> Vec<Outgoing> {
    (0..count).map(|number| order(topic, number)).collect()
}

/// A property that idem has written to a copy.
pub(crate) fn note<'m>(message: &'m StoredMessage, name: &str) -> &'m str {
    message.property(name).unwrap_or("none")
}

/// Why idem has sent a copy: the outcome, the failed attempts and the reason.
pub(crate) fn why(message: &StoredMessage) -> (&str, &str, &str) {
    (note(message, "IDEM_OUTCOME"), note(message, "IDEM_ATTEMPTS"), note(message, "IDEM_REASON"))
}

/// How often a handler ran, by key. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs(Arc<Mutex<BTreeMap<String, usize>>>);

impl Runs {
    pub(crate) fn add(&self, key: &str) {
        *self.0.lock().unwrap().entry(key.to_owned()).or_default() += 1;
    }

    pub(crate) fn of(&self, key: &str) -> usize {
        self.0.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> usize {
        self.0.lock().unwrap().values().sum()
    }

    pub(crate) fn keys(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The keys that ran more than once.
    pub(crate) fn repeated(&self) -> Vec<String> {
        let runs = self.0.lock().unwrap();
        runs.iter().filter(|(_, times)| **times > 1).map(|(key, _)| key.clone()).collect()
    }

    pub(crate) async fn until_total(&self, wanted: usize, deadline: Duration) {
        until_equal("runs of the handler", wanted, deadline, async || self.total()).await;
    }
}

/// A handler of orders that counts its runs and is done at once.
pub(crate) fn counting(topic: &str, runs: &Runs) -> Route {
    let runs = runs.clone();
    handler(topic, move |order: Order| {
        runs.add(&order.id);
        async {}
    })
    .key(|order| order.id.clone())
    .named("count")
}

/// A handler of orders that takes its time.
pub(crate) fn sleeping(topic: &str, begun: &Runs, ended: &Runs, time: Duration) -> Route {
    let (begun, ended) = (begun.clone(), ended.clone());
    handler(topic, move |order: Order| {
        begun.add(&order.id);
        let ended = ended.clone();
        async move {
            tokio::time::sleep(time).await;
            ended.add(&order.id);
        }
    })
    .key(|order| order.id.clone())
    .named("sleep")
}

/// A retry comes after a second: brokers have no shorter delay.
pub(crate) fn secondly() -> Backoff {
    Backoff::fixed(Duration::from_secs(1))
}

/// An event of idem's.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: Instant,
    pub(crate) level: tracing::Level,
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// Those of the spans that it is in.
    pub(crate) span: BTreeMap<&'static str, String>,
}

impl Event {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.field(name) == Some(value)
    }
}

/// A word that no log line may hold; see [`leaks`].
pub(crate) const MARKER: &str = "h6Qz0secretW9";

#[derive(Default)]
struct Seen {
    events: Mutex<Vec<Event>>,
    leaks: Mutex<Vec<String>>,
}

static SEEN: LazyLock<Seen> = LazyLock::new(Seen::default);
static SNAPSHOTS: OnceLock<Snapshotter> = OnceLock::new();

/// Records events and metrics of the whole process. The tests share them, each under groups of its own.
pub(crate) fn seeing() {
    SNAPSHOTS.get_or_init(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Record)).unwrap();
        let recorder = DebuggingRecorder::new();
        let snapshots = recorder.snapshotter();
        recorder.install().unwrap();
        snapshots
    });
}

/// The events of idem's that hold for `wanted`.
pub(crate) fn events(wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
    SEEN.events.lock().unwrap().iter().filter(|event| wanted(event)).cloned().collect()
}

/// Prints the last events about a group, for the report of a test that fails.
pub(crate) fn print_events(group: &str) {
    let now = Instant::now();
    let mentions = |fields: &BTreeMap<_, String>| fields.values().any(|value| value.contains(group));
    let events = events(|event| mentions(&event.fields) || mentions(&event.span));
    println!("the last of {} events about {group}:", events.len());
    for Event { at, level, fields, .. } in &events[events.len().saturating_sub(60)..] {
        println!("{:6.1?} ago {level} {fields:?}", now - *at);
    }
}

/// The outcome events of a group.
pub(crate) fn outcomes(group: &str) -> Vec<Event> {
    events(|event| event.is("group", group) && event.field("outcome").is_some())
}

/// The log lines that held the [`MARKER`].
pub(crate) fn leaks() -> Vec<String> {
    SEEN.leaks.lock().unwrap().clone()
}

/// A counter's value so far, or how often a histogram was recorded, over all labels that hold for `wanted`.
pub(crate) fn counted(name: &str, wanted: &[(&str, &str)]) -> u64 {
    static TOTALS: Mutex<BTreeMap<String, (metrics_util::CompositeKey, u64)>> = Mutex::new(BTreeMap::new());
    seeing();
    let mut totals = TOTALS.lock().unwrap();
    // A snapshot tells what came since the last one.
    for (key, _, _, value) in SNAPSHOTS.get().unwrap().snapshot().into_vec() {
        let count = match value {
            DebugValue::Counter(count) => count,
            DebugValue::Histogram(values) => values.len() as u64,
            DebugValue::Gauge(_) => continue,
        };
        totals.entry(format!("{key:?}")).or_insert((key, 0)).1 += count;
    }
    let holds = |key: &metrics_util::CompositeKey| {
        let labels: Vec<_> = key.key().labels().map(|label| (label.key(), label.value())).collect();
        key.key().name() == name && wanted.iter().all(|label| labels.contains(label))
    };
    totals.values().filter(|(key, _)| holds(key)).map(|(_, count)| count).sum()
}

/// Remembers idem's events, and looks for the marker in everybody's.
struct Record;

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Record {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("idem") || *metadata.level() <= tracing::Level::DEBUG
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        if let Some(leak) = fields.0.values().find(|value| value.contains(MARKER)) {
            SEEN.leaks.lock().unwrap().push(format!("{}: {leak}", metadata.target()));
        }
        if metadata.target().starts_with("idem") {
            let mut span = BTreeMap::new();
            for parent in context.event_scope(event).into_iter().flatten() {
                span.extend(parent.extensions().get::<Fields>().cloned().unwrap_or_default().0);
            }
            let event = Event { at: Instant::now(), level: *metadata.level(), fields: fields.0, span };
            SEEN.events.lock().unwrap().push(event);
        }
    }

    fn on_new_span(&self, span: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        span.record(&mut fields);
        if let Some(leak) = fields.0.values().find(|value| value.contains(MARKER)) {
            SEEN.leaks.lock().unwrap().push(format!("span of {}: {leak}", span.metadata().target()));
        }
        if let Some(new) = context.span(id) {
            new.extensions_mut().insert(fields);
        }
    }
}

#[derive(Clone, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
