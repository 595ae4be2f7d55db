//! The producer's settings.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use idem_core::HandlerError;
use idem_core::outbox::{Outbox, TypedOutbox};

use super::check::{MAX_MESSAGE_SIZE, MessageFault};
use super::check_back::CheckBacks;
use super::outbox::{Confirmations, Markers, NoOutbox};
use super::transaction::TransactionState;
use super::{Producer, ProducerCore};
use crate::Error;
use crate::client::Delivery;
use crate::client::names::{self, ConfiguredNames};
use crate::client::{ClientError, Cluster, Credentials, DelayBy, ProducerClient, ProducerSettings, Tls};
use crate::cluster;
use crate::error::Kind;

/// Says how a producer works. Made by [`Producer::builder`].
///
/// `O` is the type of its [`outbox`](Self::outbox), if it has one.
#[must_use = "a producer does nothing until it is started"]
pub struct ProducerBuilder<O = NoOutbox> {
    setup: ProducerSetup,
    outbox: PhantomData<fn() -> O>,
}

/// The builder's words.
pub(super) struct ProducerSetup {
    pub(super) group: String,
    cluster: Cluster,
    pub(super) send_timeout: Duration,
    pub(super) transaction_timeout: Duration,
    pub(super) max_message_size: usize,
    check_backs: CheckBacks,
    outbox: Option<Arc<dyn Outbox>>,
}

impl ProducerBuilder {
    pub(super) fn new(group: String) -> Self {
        let setup = ProducerSetup {
            group,
            cluster: Cluster::default(),
            send_timeout: Duration::from_secs(30),
            transaction_timeout: Duration::from_secs(30),
            max_message_size: MAX_MESSAGE_SIZE,
            check_backs: CheckBacks::default(),
            outbox: None,
        };
        Self { setup, outbox: PhantomData }
    }

    /// The outbox in the database that local work is done in, for [`Producer::transaction_on`].
    ///
    /// idem then answers by itself what brokers ask about such transactions, whatever their topic; topics with other
    /// transactions need their [`check_back`](Self::check_back) all the same. Each member of the producer group needs an
    /// outbox on the same tables.
    #[allow(clippy::needless_pass_by_value, reason = "it is given away")]
    pub fn outbox<O: TypedOutbox>(self, outbox: O) -> ProducerBuilder<O> {
        let setup = ProducerSetup { outbox: Some(outbox.outbox()), ..self.setup };
        ProducerBuilder { setup, outbox: PhantomData }
    }
}

impl<O> ProducerBuilder<O> {
    /// Where the brokers are and how to come in, said once for all consumers and producers of a service; see [`Cluster`].
    /// Earlier settings stay where `cluster` says nothing.
    pub fn cluster(mut self, cluster: Cluster) -> Self {
        self.setup.cluster = cluster.or(self.setup.cluster);
        self
    }

    /// Adds a name server, `host:port`, or several with semicolons between them.
    pub fn name_server(mut self, address: impl Into<String>) -> Self {
        self.setup.cluster = self.setup.cluster.name_server(address);
        self
    }

    /// The RocketMQ namespace of group and topics.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.setup.cluster = self.setup.cluster.namespace(namespace);
        self
    }

    /// The name of this instance among those on the same machine. A unique one by default.
    pub fn instance_name(mut self, name: impl Into<String>) -> Self {
        self.setup.cluster = self.setup.cluster.instance_name(name);
        self
    }

    /// The access key and secret key for a broker with access control.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.setup.cluster = self.setup.cluster.credentials(credentials);
        self
    }

    /// TLS to name servers and brokers, as [`consumer::Builder::tls`](crate::consumer::Builder::tls) has it.
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// use idem_rocketmq::cluster::Tls;
    ///
    /// let producer = Producer::builder("shop").name_server("mq.example.com:9876").tls(Tls::new());
    /// ```
    pub fn tls(mut self, tls: Tls) -> Self {
        self.setup.cluster = self.setup.cluster.tls(tls);
        self
    }

    /// How a delay is asked from the broker, and so how precisely it is kept.
    ///
    /// By timer by default: to the second, up to three days. A broker that is older than 5.0, whose timer is switched off, or
    /// which takes no delay as long as this one, is asked by delay level: the wait is then that of the smallest sufficient level, with the usual
    /// ones 1 h for 31 minutes, and 2 h at most. Where no level is sufficient the send is refused. `DelayBy::Level`
    /// asks by level always.
    pub fn delay_by(mut self, by: DelayBy) -> Self {
        self.setup.cluster = self.setup.cluster.delay_by(by);
        self
    }

    /// The broker's delay levels, where its `messageDelayLevel` is not the usual `1s 5s 10s 30s 1m 2m .. 1h 2h`. They
    /// matter where delays are kept by level.
    pub fn delay_levels(mut self, levels: impl Into<String>) -> Self {
        self.setup.cluster = self.setup.cluster.delay_levels(levels);
        self
    }

    /// How long a send tries before it fails. 30 s by default, which outlasts the restart of a broker.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.setup.send_timeout = timeout;
        self
    }

    /// How long the local work of a transaction may take before it is cancelled. 30 s by default.
    ///
    /// Brokers ask for a transaction's state after 6 s, and again every 30 s, 15 times: the check-back must say
    /// [`Unknown`](TransactionState::Unknown) while the work may still be under way.
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.setup.transaction_timeout = timeout;
        self
    }

    /// The longest body that is sent, in bytes. 4 MiB by default, as brokers have it.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.setup.max_message_size = bytes;
        self
    }

    /// Who answers when a broker asks how a transaction of this topic ended, because nobody has told it: the
    /// process died, or its answer was lost. Every member of the group is asked, so each needs the same answer from
    /// the same database.
    ///
    /// An error, a panic, and an answer that takes longer than 30 s count as
    /// [`Unknown`](TransactionState::Unknown): the broker asks again, 15 times in all as it comes, and then drops
    /// the message. It runs on the runtime on which the producer was started.
    ///
    /// ```
    /// use idem_rocketmq::HandlerError;
    /// use idem_rocketmq::producer::TransactionState;
    /// use idem_rocketmq::prelude::*;
    ///
    /// # async fn order_exists(_: Option<&str>) -> Result<bool, std::io::Error> { Ok(true) }
    /// async fn is_paid(message: Delivery) -> Result<TransactionState, HandlerError> {
    ///     // Says `Commit` only of what has been committed. What is not there yet may still come.
    ///     Ok(match order_exists(message.keys()).await? {
    ///         true => TransactionState::Commit,
    ///         false => TransactionState::Unknown,
    ///     })
    /// }
    ///
    /// let builder = Producer::builder("shop").name_server("127.0.0.1:9876").check_back("orders", is_paid);
    /// ```
    pub fn check_back<F, Fut>(mut self, topic: impl Into<String>, check: F) -> Self
    where
        F: Fn(Delivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<TransactionState, HandlerError>> + Send + 'static,
    {
        self.setup.check_backs.add(topic.into(), Box::new(move |message| check(message).boxed()));
        self
    }

    /// Looks for every mistake that needs no server to be seen: to be called in a unit test.
    ///
    /// # Errors
    /// As [`start`](Self::start), but for what only a server can tell.
    pub fn check(&self) -> Result<(), Error> {
        self.setup.check()
    }

    /// Starts the producer. It has a thread and a runtime of its own, so it works from any executor.
    ///
    /// # Errors
    /// Something in the setup is wrong, no name server is in reach within 3 s, or one's certificate or this client's is not
    /// trusted; the error says which. A check-back needs a tokio runtime to run on. The outbox belongs to another producer
    /// group, or its database is out of reach.
    ///
    /// # Cancel safety
    /// Dropping the future stops what was started.
    pub fn start(self) -> BoxFuture<'static, Result<Producer<O>, Error>> {
        let starting = self.setup.start();
        Box::pin(async move { Ok(Producer::of(starting.await?)) })
    }
}

impl ProducerSetup {
    fn check(&self) -> Result<(), Error> {
        let reserved = ["DEFAULT_PRODUCER", "CLIENT_INNER_PRODUCER"].contains(&self.group.as_str());
        let fault = names::group_fault(&self.group).or(reserved.then_some("is reserved for RocketMQ itself"));
        if let Some(fault) = fault {
            return Err(Kind::ProducerGroup { group: self.group.clone(), fault }.into());
        }
        let given = ConfiguredNames {
            group: &self.group,
            namespace: self.cluster.namespace.as_deref(),
            deployment: None,
            instance: self.cluster.instance_name.as_deref(),
        };
        if let Some(fault) = given.fault(self.check_backs.topics()) {
            return Err(Kind::name(&self.group, fault).into());
        }
        cluster::check(&self.cluster, &self.group, |group| Kind::NoNameServerToSend { group })?;
        let times = [("send_timeout", self.send_timeout), ("transaction_timeout", self.transaction_timeout)];
        if let Some((what, _)) = times.into_iter().find(|(_, time)| time.is_zero()) {
            return Err(Kind::ZeroTime { group: self.group.clone(), what }.into());
        }
        match self.check_backs.topics().find_map(|topic| Some((topic, names::topic_fault(topic)?))) {
            Some((topic, fault)) => {
                Err(Kind::Client(ClientError::Topic { topic: topic.to_owned(), fault }).into())
            }
            None => Ok(()),
        }
    }

    fn start(self) -> BoxFuture<'static, Result<Arc<ProducerCore>, Error>> {
        Box::pin(async move {
            self.check()?;
            let settings = ProducerSettings {
                group: self.group.clone(),
                cluster: self.cluster.clone(),
                max_message_size: self.max_message_size,
                checked_topics: self.check_backs.topics().map(str::to_owned).collect(),
                all_may_check: self.outbox.is_some(),
            };
            let outbox = self.markers().await?;
            let markers = outbox.as_ref().map(|(markers, _)| markers.clone());
            let checks = self.check_backs.clone().on_this_runtime(&self.group, markers)?;
            let client = ProducerClient::start(settings, checks).await.map_err(Kind::Client)?;
            tracing::info!(group = self.group, "producer started");
            Ok(ProducerCore::start(self, client, outbox))
        })
    }

    async fn markers(&self) -> Result<Option<(Markers, Confirmations)>, Error> {
        let Some(outbox) = &self.outbox else { return Ok(None) };
        let namespace = self.cluster.namespace.iter().filter(|namespace| !namespace.is_empty());
        let owner: Vec<_> = namespace.chain([&self.group]).map(String::as_str).collect();
        let failed = |source| Kind::Outbox { group: self.group.clone(), source };
        outbox.own(&owner.join("%")).await.map_err(failed)?;
        Ok(Some(Markers::new(Arc::clone(outbox))))
    }

    pub(super) fn check_full_topic(&self, topic: &str) -> Result<(), MessageFault> {
        let fault = names::full_topic_fault(self.cluster.namespace.as_deref(), topic);
        fault.map_or(Ok(()), |fault| Err(MessageFault::Topic { topic: topic.to_owned(), fault }))
    }

    /// The longest delay that can be asked for.
    pub(super) fn longest_delay(&self) -> Duration {
        match self.cluster.asks_delays_by() {
            DelayBy::Timer => Duration::MAX,
            DelayBy::Level => self.cluster.levels().longest(),
        }
    }

    pub(super) fn has_check_back(&self, topic: &str) -> bool {
        self.check_backs.topics().any(|known| known == topic)
    }
}

impl<O> fmt::Debug for ProducerBuilder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerBuilder")
            .field("group", &self.setup.group)
            .field("cluster", &self.setup.cluster)
            .finish_non_exhaustive()
    }
}

/// For `Producer`, which is made of the setup.
pub(super) type Settings = Arc<ProducerSetup>;
