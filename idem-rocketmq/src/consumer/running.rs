//! A consumer from its start to its end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use idem_core::clock::Later as _;
use idem_core::engine::Engine;
use idem_core::panics;
use idem_core::{Policy, Store};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::named::Named;
use super::plan::Plan;
use super::setup::Setup;
use crate::Error;
use crate::admin::Admin;
use crate::client::Client;
use crate::error::Kind;
use crate::listener::{Bridge, Broker};

/// The time in which the client hears the calls that have just been answered.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// A consumer at work.
///
/// Dropping it stops the consumer: handlers are cancelled, their keys released, and what has not been settled is
/// left to the broker. The keys of handlers that have returned `Ok` are completed all the same, for as long as the process
/// lives. [`shutdown`](Self::shutdown) lets the handlers finish first.
#[must_use = "a consumer stops when it is dropped"]
pub struct RunningConsumer {
    inner: Arc<ConsumerCore>,
    ended: watch::Receiver<bool>,
}

struct ConsumerCore {
    group: String,
    bridge: Arc<Bridge>,
    client: Arc<dyn Broker>,
    drain: Duration,
    end: watch::Sender<bool>,
    /// Freed when the consumer has left the group.
    named: Mutex<Option<Named>>,
}

pub(super) fn start(
    setup: Setup,
    store: Arc<dyn Store>,
) -> BoxFuture<'static, Result<RunningConsumer, Error>> {
    async move {
        let plan = setup.resolve(&*store)?;
        plan.warn(&*store);
        let user = Handle::try_current().map_err(|_| Kind::NoRuntime)?;
        let group = plan.group().to_owned();
        // On idem's runtime, so that a start that is dropped halfway is still cleaned up there.
        let starting = idem_core::runtime::handle().spawn(connect(plan, store, user));
        let aborting = AbortOnDrop(starting.abort_handle());
        let started = starting.await;
        drop(aborting);
        started.unwrap_or_else(|ended| {
            if !ended.is_panic() {
                return Err(Kind::NoRuntime.into());
            }
            panics::report("start", "the start of a consumer has panicked");
            Err(Kind::Panicked { group, what: "its start" }.into())
        })
    }
    .boxed()
}

pub(super) fn run(setup: Setup, store: Arc<dyn Store>) -> BoxFuture<'static, Result<(), Error>> {
    async move {
        let mut signals = Signals::listen()?;
        let mut consumer = start(setup, store).await?;
        tokio::select! {
            () = signals.next() => {}
            () = consumer.ended() => return Err(consumer.inner.why().into()),
        }
        tracing::info!(group = consumer.inner.group, "shutting down: handlers under way may finish");
        tokio::select! {
            () = consumer.shut_down() => {}
            () = signals.next() => {
                tracing::warn!(group = consumer.inner.group, "a second signal: handlers are cancelled");
                consumer.inner.bridge.engine.stop();
                consumer.shut_down().await;
            }
        }
        Ok(())
    }
    .boxed()
}

async fn connect(plan: Plan, store: Arc<dyn Store>, user: Handle) -> Result<RunningConsumer, Error> {
    let named = Named::take(&plan)?;
    let engine = Engine::new(store);
    let settings = plan.client_settings();
    let (group, drain, largest_body) = (plan.group().to_owned(), plan.drain, plan.largest_body);
    let dispatch = plan.dispatch(&engine, Some(&user));
    let mut bridge = Bridge::new(group.as_str().into(), dispatch, engine, user);
    bridge.largest_body = largest_body;
    bridge.retry_topic = settings.retry_topic();
    let bridge = Arc::new(bridge);
    let client: Arc<dyn Broker> =
        Arc::new(Client::start(settings, bridge.clone()).await.map_err(Kind::Client)?);
    bridge.connect(&client);
    bridge.engine.enrol(&group, records_life(&bridge));
    tracing::info!(
        group,
        handlers = bridge.dispatch.handlers().len(),
        store = bridge.engine.store().name(),
        "consumer started"
    );
    let (end, ended) = watch::channel(false);
    let inner = Arc::new(ConsumerCore { group, bridge, client, drain, end, named: Mutex::new(named) });
    inner.clone().stop_without_the_user();
    Ok(RunningConsumer { inner, ended })
}

/// How long a record of this consumer's may be there after its last sign of life.
fn records_life(bridge: &Bridge) -> Duration {
    policies(bridge).map(|policy| policy.lease.later(policy.retention)).max().unwrap_or_default()
}

fn policies(bridge: &Bridge) -> impl Iterator<Item = &Policy> {
    bridge.dispatch.handlers().iter().map(|handler| handler.gate.policy())
}

impl RunningConsumer {
    /// Lets no further message reach the handlers, until [`resume`](Self::resume).
    ///
    /// The work that has reached them is finished, and this does not wait for it. The consumer stays in its group and keeps its
    /// queues, whose messages wait for it; after a rebalance another member may get some of them. Calling it again
    /// changes nothing.
    ///
    /// ```no_run
    /// # use idem_rocketmq::RunningConsumer;
    /// # async fn migrate_the_database() {}
    /// # async fn f(consumer: &RunningConsumer) {
    /// consumer.pause().await;
    /// migrate_the_database().await;
    /// consumer.resume().await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// When this is dropped before its end, the consumer may go on pulling; its messages wait all the same.
    pub fn pause(&self) -> BoxFuture<'_, ()> {
        self.inner.bridge.set_paused(true);
        tracing::info!(group = self.inner.group, "consumer paused");
        self.inner.client.pause()
    }

    /// Goes on after [`pause`](Self::pause).
    ///
    /// # Cancel safety
    /// When this is dropped before its end, the consumer may not pull yet: call it again.
    pub fn resume(&self) -> BoxFuture<'_, ()> {
        self.inner.bridge.set_paused(false);
        tracing::info!(group = self.inner.group, "consumer resumed");
        self.inner.client.resume()
    }

    /// A person at this consumer's store, by the name that the trail of decisions is to have: see [`admin`](crate::admin).
    ///
    /// Decisions are remembered as long as this consumer's records are.
    pub fn admin(&self, who: impl Into<Arc<str>>) -> Admin {
        let retention = policies(&self.inner.bridge).map(|policy| policy.retention).max().unwrap_or_default();
        Admin::new(self.inner.bridge.engine.store().clone(), who).retention(retention)
    }

    /// Stops pulling, lets handlers finish for as long as the shutdown time, cancels the rest, and leaves the
    /// group. Messages that were not settled are left to the broker, which delivers them again.
    ///
    /// # Cancel safety
    /// Once polled, the shutdown goes on when this is dropped.
    pub async fn shutdown(mut self) {
        self.shut_down().await;
    }

    /// Waits until the consumer has stopped, for whatever reason.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn ended(&mut self) {
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    async fn shut_down(&mut self) {
        self.inner.clone().stop(self.inner.drain);
        self.ended().await;
    }
}

impl Drop for RunningConsumer {
    fn drop(&mut self) {
        self.inner.clone().stop(Duration::ZERO);
    }
}

impl ConsumerCore {
    /// Why it has stopped by itself.
    fn why(&self) -> Kind {
        let group = self.group.clone();
        match self.bridge.engine.fault().place() {
            Some(what) => Kind::Panicked { group, what },
            None => Kind::RuntimeGone { group },
        }
    }

    /// Stops once, in the background, on idem's runtime. A later call with a shorter drain shortens it.
    fn stop(self: Arc<Self>, drain: Duration) {
        if *self.end.borrow() {
            return;
        }
        if drain.is_zero() {
            self.bridge.engine.stop();
        }
        if self.bridge.close() {
            // Whoever waits for the end must not wait for ever.
            let (end, fault) = (End(self.clone()), self.bridge.engine.fault().clone());
            let stopping = self.stop_now(drain);
            idem_core::runtime::handle().spawn(async move {
                panics::loud("shutdown", stopping, move || fault.fail("the shutdown")).await;
                drop(end);
            });
        }
    }

    async fn stop_now(self: Arc<Self>, drain: Duration) {
        self.client.pause().await;
        let bridge = self.bridge.clone();
        // The calls are answered on the client's threads; waiting for them blocks one of tokio's spare ones.
        let draining = tokio::task::spawn_blocking(move || {
            if !bridge.drained(drain) {
                bridge.engine.stop();
                bridge.drained(LAST_ANSWERS);
            }
        });
        let _ = draining.await;
        self.bridge.engine.stop();
        self.client.shutdown().await;
        drop(self.named.lock().take());
        tracing::info!(group = self.group, "consumer stopped");
    }

    /// Stops the consumer when the runtime of its handlers is gone.
    fn stop_without_the_user(self: Arc<Self>) {
        let weak = Arc::downgrade(&self);
        let gone = self.bridge.user_is_gone.clone();
        let mut ended = self.end.subscribe();
        let until_dropped = gone.clone().drop_guard();
        self.bridge.user.spawn(async move {
            let _ = ended.wait_for(|ended| *ended).await;
            until_dropped.disarm();
        });
        let fault = self.bridge.engine.fault().clone();
        let mut ended = self.end.subscribe();
        let looking = async move {
            tokio::select! {
                () = gone.cancelled() => {}
                () = fault.failed() => {}
                _ = ended.wait_for(|ended| *ended) => return,
            }
            if let Some(inner) = weak.upgrade() {
                tracing::error!(group = inner.group, "{}: consuming stops", inner.why());
                inner.stop(Duration::ZERO);
            }
        };
        idem_core::runtime::handle().spawn(panics::loud("consumer", looking, || {}));
    }
}

/// Says that a consumer has ended, also where its shutdown has panicked.
struct End(Arc<ConsumerCore>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end.send_replace(true);
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// SIGINT and SIGTERM; Ctrl-C where there are no signals.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> Result<Self, Error> {
        use tokio::signal::unix::{SignalKind, signal};
        // On idem's runtime: the user's may be none, or one without the drivers that signals need.
        let _entered = idem_core::runtime::handle().enter();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Kind::Signal)?,
            terminate: signal(SignalKind::terminate()).map_err(Kind::Signal)?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn listen() -> Result<Self, Error> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

impl fmt::Debug for RunningConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningConsumer").field("group", &self.inner.group).finish_non_exhaustive()
    }
}
