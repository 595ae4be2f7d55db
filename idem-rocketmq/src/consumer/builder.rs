//! The consumer's settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::{Settings, Store};

use super::plan::Plan;
use super::running::{self, RunningConsumer};
use super::setup::Setup;
use crate::Error;
use crate::client::{Cluster, ConsumeFrom, Credentials, DelayBy, Delivery, MessageTrace, Tls};
use crate::handler::{IntoRoute, Route};
use crate::listener::OnSpan;

/// The store of a consumer that has not been given one.
#[derive(Debug)]
pub struct NoStoreYet(());

/// A builder that was given a store, which [`Builder::run`], [`Builder::start`] and [`Builder::check`] need.
#[diagnostic::on_unimplemented(
    message = "the consumer has no store yet",
    label = "no store was given before this call",
    note = "give it one first: `.store(MemoryStore::new())` for tests and a single process, or `.store(RedisStore::connect(\"redis://..\").await?)`"
)]
pub trait HasStore: sealed::Sealed {
    #[doc(hidden)]
    fn shared(&self) -> &dyn Store;
    #[doc(hidden)]
    fn into_shared(self) -> Arc<dyn Store>;
}

impl HasStore for Arc<dyn Store> {
    fn shared(&self) -> &dyn Store {
        &**self
    }

    fn into_shared(self) -> Arc<dyn Store> {
        self
    }
}

mod sealed {
    use std::sync::Arc;

    use idem_core::Store;

    pub trait Sealed {}

    impl Sealed for Arc<dyn Store> {}
}

/// Says how a consumer works. Made by [`Consumer::builder`](super::Consumer::builder).
#[must_use = "a consumer does nothing until it is started with `run` or `start`"]
pub struct Builder<S = NoStoreYet> {
    store: S,
    pub(super) setup: Setup,
}

impl Builder {
    pub(super) fn new(group: String) -> Self {
        Self { store: NoStoreYet(()), setup: Setup::new(group) }
    }

    /// Where the records of what was done live.
    pub fn store<S: Store>(self, store: S) -> Builder<Arc<dyn Store>> {
        Builder { store: Arc::new(store), setup: self.setup }
    }

    /// A store that others share.
    pub fn shared_store(self, store: Arc<dyn Store>) -> Builder<Arc<dyn Store>> {
        Builder { store, setup: self.setup }
    }
}

impl<S> Builder<S> {
    /// Where the brokers are and how to come in, said once for all consumers and producers of a service. What was said of it
    /// before stays where `cluster` says nothing.
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// use idem_rocketmq::Cluster;
    ///
    /// let cluster = Cluster::at("127.0.0.1:9876");
    /// let consumer = Consumer::builder("campaign").cluster(cluster.clone());
    /// let producer = Producer::builder("shop").cluster(cluster);
    /// ```
    pub fn cluster(mut self, cluster: Cluster) -> Self {
        self.setup.cluster = cluster.or(self.setup.cluster);
        self
    }

    /// Adds a name server, `host:port`, or several with semicolons between them.
    pub fn name_server(mut self, address: impl Into<String>) -> Self {
        self.setup.cluster = self.setup.cluster.name_server(address);
        self
    }

    /// Adds a value that handlers take as `State<T>`. A second value of the same type replaces the first.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        self.setup.states.insert(state);
        self
    }

    /// Gives the placeholder `${name}` a value, in the topic, the tags, the filter and the scope of each handler: for names that
    /// differ between environments. `${name:default}` has a default. A placeholder without a value is an error at start-up;
    /// a second value of the same name replaces the first.
    ///
    /// ```
    /// use idem_rocketmq::prelude::*;
    /// # #[derive(Deserialize)] struct OrderPaid { order_id: String }
    ///
    /// #[idempotent(key = "order_id", topic = "${orders.topic}", tag = "${orders.tag:PAID}")]
    /// async fn add_gmv(order: OrderPaid) {
    ///     println!("{}", order.order_id);
    /// }
    ///
    /// # let topic = "shop-orders-staging";
    /// let consumer = Consumer::builder("campaign").value("orders.topic", topic).handlers(handlers![add_gmv]);
    /// # let store = consumer.name_server("127.0.0.1:9876").store(MemoryStore::new());
    /// # assert!(store.check().is_ok());
    /// ```
    pub fn value(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.setup.values.insert(name.into(), value.into());
        self
    }

    /// Settings of handlers that say nothing themselves.
    pub fn defaults(mut self, defaults: Settings) -> Self {
        self.setup.defaults = defaults.or(&self.setup.defaults);
        self
    }

    /// Adds handlers: `handlers![add_gmv, send_coupon]`, or routes made without the attribute.
    pub fn handlers<R: IntoRoute>(mut self, handlers: impl IntoIterator<Item = R>) -> Self {
        self.setup.routes.extend(handlers.into_iter().map(IntoRoute::into_route));
        self
    }

    /// How many messages each handler works on at once, where it says nothing itself. 64 by default.
    pub fn concurrency(mut self, messages: usize) -> Self {
        self.setup.defaults.concurrency = Some(messages);
        self
    }

    /// The RocketMQ namespace of group and topics. It is part of the records' namespace too.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.setup.cluster = self.setup.cluster.namespace(namespace);
        self
    }

    /// A name that keeps this deployment's records apart from another's in the same store, such as `staging`.
    /// The RocketMQ namespace by default.
    pub fn deployment(mut self, deployment: impl Into<String>) -> Self {
        self.setup.deployment = Some(deployment.into());
        self
    }

    /// The name of this instance among those on the same machine. A unique one by default.
    ///
    /// In broadcasting it must be given, be another one for each instance of the group on any machine, and stay the same
    /// when the instance is started again: its records and its place in the topics are kept under it.
    pub fn instance_name(mut self, name: impl Into<String>) -> Self {
        self.setup.cluster = self.setup.cluster.instance_name(name);
        self
    }

    /// Where a group that is new to a topic starts. At the first offset by default. A group that has a stored offset of any of
    /// the topic's queues goes on from there, whatever this says: queues that it has none of, such as those that the topic was
    /// given later, begin at their first message.
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// use std::time::{Duration, SystemTime};
    /// use idem_rocketmq::consumer::ConsumeFrom;
    ///
    /// let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    /// let consumer = Consumer::builder("campaign")
    ///     .name_server("127.0.0.1:9876")
    ///     .consume_from(ConsumeFrom::Timestamp(an_hour_ago));
    /// ```
    pub fn consume_from(mut self, from: ConsumeFrom) -> Self {
        self.setup.consume_from = from;
        self
    }

    /// The access key and secret key for brokers with access control. The user needs the action `Sub` on the group
    /// and its topics.
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// # fn main() -> Result<(), std::env::VarError> {
    /// use idem_rocketmq::cluster::Credentials;
    ///
    /// let credentials = Credentials::new(std::env::var("MQ_ACCESS_KEY")?, std::env::var("MQ_SECRET_KEY")?);
    /// let consumer = Consumer::builder("campaign").name_server("127.0.0.1:9876").credentials(credentials);
    /// # Ok(()) }
    /// ```
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.setup.cluster = self.setup.cluster.credentials(credentials);
        self
    }

    /// TLS to name servers and brokers, which both must speak it: with the system's root certificates, or with a
    /// private authority and a client certificate as [`Tls`] says.
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// use idem_rocketmq::cluster::Tls;
    ///
    /// let consumer = Consumer::builder("campaign").name_server("mq.example.com:9876").tls(Tls::new());
    /// ```
    pub fn tls(mut self, tls: Tls) -> Self {
        self.setup.cluster = self.setup.cluster.tls(tls);
        self
    }

    /// Whether the broker is told of each message that was consumed, for its console. Off by default; it costs a message
    /// for some ten. It cannot be had together with TLS, of which the RocketMQ client's trace knows too little.
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// use idem_rocketmq::consumer::MessageTrace;
    ///
    /// let consumer = Consumer::builder("campaign").name_server("127.0.0.1:9876").message_trace(MessageTrace::On);
    /// ```
    pub fn message_trace(mut self, trace: MessageTrace) -> Self {
        self.setup.trace = trace;
        self
    }

    /// Starts also where live members of the group subscribe to other topics, tags or filters, and warns of it.
    ///
    /// Without it that is an error at start-up: while members differ, RocketMQ loses messages that only some of them want.
    /// See [rolling deploys](crate::guide::rolling_deploys) for when this loses nothing.
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// let consumer = Consumer::builder("campaign").name_server("127.0.0.1:9876").allow_differing_subscriptions();
    /// ```
    pub fn allow_differing_subscriptions(mut self) -> Self {
        self.setup.may_differ = true;
        self
    }

    /// Called with the span of each run before the handler is in it, and with its message: to tell a tracing system where
    /// the message came from, as [`guide::tracing`](crate::guide::tracing) shows. Not called where no subscriber wants
    /// the span.
    pub fn on_span(mut self, hook: impl Fn(&tracing::Span, &Delivery) + Send + Sync + 'static) -> Self {
        self.setup.on_span = OnSpan::new(hook);
        self
    }

    /// How a retry's delay is asked from the broker. By timer message by default, and by delay level where the broker
    /// takes none.
    pub fn delay_by(mut self, by: DelayBy) -> Self {
        self.setup.cluster = self.setup.cluster.delay_by(by);
        self
    }

    /// The broker's delay levels, where its `messageDelayLevel` is not the usual `1s 5s 10s 30s 1m 2m .. 1h 2h`. They
    /// matter where retries wait by delay level.
    pub fn delay_levels(mut self, levels: impl Into<String>) -> Self {
        self.setup.cluster = self.setup.cluster.delay_levels(levels);
        self
    }

    /// The most that a body may grow to when it is decompressed, in bytes; a message whose body grows beyond it counts as one
    /// that does not decode. 16 MiB by default, which is four times what a broker takes from a producer by default: so a small
    /// message cannot fill the memory.
    pub fn largest_body(mut self, bytes: usize) -> Self {
        self.setup.largest_body = bytes;
        self
    }

    /// How long a shutdown lets handlers finish before it cancels them. 30 s by default.
    pub fn shutdown_timeout(mut self, drain: Duration) -> Self {
        self.setup.drain = drain;
        self
    }
}

/// A store is asked for by these methods and not by their `impl`, so that a forgotten one is said with its fix.
impl<S> Builder<S> {
    /// Looks for mistakes that need no server to be seen: to be called in a unit test.
    ///
    /// # Errors
    /// As [`start`](Self::start), but for what only a server, or another consumer of the process, can tell.
    pub fn check(&self) -> Result<(), Error>
    where
        S: HasStore,
    {
        self.setup.resolve(self.store.shared()).map(drop)
    }

    /// Starts consuming, with this tokio runtime for the handlers and threads of idem's own for nearly everything else.
    ///
    /// # Errors
    /// Something in the setup is wrong, no name server is in reach within 3 s, or a server refuses this consumer: its
    /// certificate or this client's is not trusted, the credentials are wrong, a right is missing, or the group does not exist or
    /// may not read a topic. Or live members of the group [want other messages](crate::guide::rolling_deploys), or
    /// [consume in another way](crate::guide::consuming). The error says which.
    ///
    /// Where an orderly member of the group was killed, and this one does not consume in order, the start waits for the end of
    /// its locks, about a minute at most.
    ///
    /// # Cancel safety
    /// Dropping the future stops what was started.
    pub fn start(self) -> BoxFuture<'static, Result<RunningConsumer, Error>>
    where
        S: HasStore,
    {
        running::start(self.setup, self.store.into_shared())
    }

    /// Starts consuming, and ends on SIGINT or SIGTERM, when the handlers under way have finished or the shutdown's time is over.
    ///
    /// # Errors
    /// As [`start`](Self::start). Later, where the runtime of the handlers goes away, or a part of idem panics that the consumer
    /// cannot go on without.
    ///
    /// # Cancel safety
    /// Dropping the future stops the consumer without waiting for its handlers.
    pub fn run(self) -> BoxFuture<'static, Result<(), Error>>
    where
        S: HasStore,
    {
        running::run(self.setup, self.store.into_shared())
    }
}

impl<S: HasStore> Builder<S> {
    /// The plan of a consumer without a broker, which needs neither addresses nor credentials.
    pub(crate) fn plan_without_broker(self) -> Result<(Plan, Arc<dyn Store>), Error> {
        let (mut setup, store) = (self.setup, self.store.into_shared());
        setup.cluster.name_servers = vec!["127.0.0.1:9876".to_owned()];
        setup.cluster.credentials = None;
        Ok((setup.resolve(&*store)?, store))
    }
}

impl<S> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("group", &self.setup.group)
            .field("cluster", &self.setup.cluster)
            .field("handlers", &self.setup.routes.iter().map(Route::name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
