//! The promises of the client, shown on the embedded broker.

mod deliver;
mod embedded;
mod retry;
mod slow;
mod stop;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::sleep;

use idem_rocketmq_client::{
    Client, ClientError, ClientSettings, Cluster, ConsumeStatus, CopyExtent, CopyPurpose, Delivery,
    Expression, LARGEST_BODY, Listener, Queue, Received, Retry,
};

use super::EmbeddedBroker;

/// Long enough for a loaded machine; what a test measures it measures itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// One broker for the tests that run at the same time.
async fn broker() -> Arc<EmbeddedBroker> {
    static SHARED: tokio::sync::Mutex<Weak<EmbeddedBroker>> = tokio::sync::Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(broker) = shared.upgrade() {
        return broker;
    }
    let broker = Arc::new(EmbeddedBroker::start().await.unwrap());
    *shared = Arc::downgrade(&broker);
    broker
}

fn delivery(message: &Received<'_>) -> Delivery {
    idem_rocketmq_client::delivery(message, &"group".into(), LARGEST_BODY)
}

fn settings(broker: &EmbeddedBroker, group: &str, topic: &str) -> ClientSettings {
    let mut settings = ClientSettings::new(group, Cluster::at(broker.name_server()));
    settings.subscriptions.push((topic.to_owned(), Expression::Tags("*".to_owned())));
    settings
}

type Behaviour = Box<dyn Fn(&[Received<'_>]) -> ConsumeStatus + Send + Sync>;

/// Remembers every message and answers as its behaviour says.
struct Recorder {
    messages: Mutex<Vec<Received<'static>>>,
    calls: Mutex<Vec<usize>>,
    behaviour: Behaviour,
}

impl Recorder {
    fn new(behaviour: impl Fn(&[Received<'_>]) -> ConsumeStatus + Send + Sync + 'static) -> Arc<Self> {
        let (messages, calls) = (Mutex::default(), Mutex::default());
        Arc::new(Self { messages, calls, behaviour: Box::new(behaviour) })
    }

    fn acking() -> Arc<Self> {
        Self::new(|_| ConsumeStatus::Success)
    }

    fn count(&self) -> usize {
        self.messages.lock().len()
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.messages.lock().iter().map(delivery).collect()
    }

    async fn message(&self, index: usize) -> Received<'static> {
        until("the message comes", || self.count() > index).await;
        self.messages.lock()[index].clone()
    }
}

impl Listener for Recorder {
    fn consume(self: Arc<Self>, messages: &[Received<'_>], _: &Queue) -> ConsumeStatus {
        self.calls.lock().push(messages.len());
        self.messages.lock().extend(messages.iter().cloned().map(Received::into_owned));
        (self.behaviour)(messages)
    }
}

async fn start(settings: ClientSettings, listener: &Arc<Recorder>) -> Client {
    Client::start(settings, Arc::clone(listener) as Arc<dyn Listener>).await.unwrap()
}

trait CopyClient {
    async fn retry(&self, message: &Received<'_>, how: Retry) -> Result<(), ClientError>;

    async fn dead_letter(
        &self,
        message: &Received<'_>,
        properties: Vec<(String, String)>,
    ) -> Result<(), ClientError>;
}

impl CopyClient for Client {
    async fn retry(&self, message: &Received<'_>, how: Retry) -> Result<(), ClientError> {
        self.copy(message, CopyPurpose::Retry(how), CopyExtent::Full).await
    }

    async fn dead_letter(
        &self,
        message: &Received<'_>,
        properties: Vec<(String, String)>,
    ) -> Result<(), ClientError> {
        self.copy(message, CopyPurpose::DeadLetter(properties), CopyExtent::Full).await
    }
}

/// Waits for the condition and returns how long that took.
async fn until(what: &str, condition: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

/// Waits until the group has acked everything, as its stored offsets say.
async fn until_acked(broker: &EmbeddedBroker, group: &str, topic: &str) {
    let start = Instant::now();
    while broker.backlog(group, topic).await.unwrap() > 0 {
        assert!(start.elapsed() < PATIENCE, "{group} acks {topic}");
        sleep(Duration::from_millis(100)).await;
    }
}
