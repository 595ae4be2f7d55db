//! Between the client's listener calls and the engine.
//!
//! The client calls a [`Bridge`] with up to 32 messages on a thread that may block. The call answers success only
//! when every message in it is settled; where order is kept, it suspends the queue while a message waits for its next
//! attempt. When the process goes away under a call, its messages are left to the broker.

mod broker;
mod call;
pub(crate) mod dispatch;
mod run;
mod settle;
mod wait;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use cheetah_string::CheetahString;
use futures_util::FutureExt as _;
use futures_util::future::join;
use idem_core::engine::Engine;
use idem_core::{Decision, panics};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::broker::Broker;
use self::call::SuspendedQueues;
use self::dispatch::Dispatch;
pub(crate) use self::run::OnSpan;
use self::settle::Decisions;
pub(crate) use self::wait::{CROWD, FEW, THREADS};
use self::wait::{CallSignals, ListenerCalls};
use crate::client::{ConsumeStatus, LARGEST_BODY, Listener, Mode, Queue, Received};

/// The listener of one consumer.
pub(crate) struct Bridge {
    pub(crate) group: CheetahString,
    pub(crate) dispatch: Dispatch,
    pub(crate) engine: Engine,
    /// The most that a body may be when it is decompressed, in bytes.
    pub(crate) largest_body: usize,
    /// By which the group's own retries come, with namespace.
    pub(crate) retry_topic: String,
    /// Where handlers run: the runtime that the consumer was started on, entered or in its tsignals.
    pub(crate) user: Handle,
    /// Set when the handlers' runtime went away under a message.
    pub(crate) user_is_gone: CancellationToken,
    client: OnceLock<Weak<dyn Broker>>,
    calls: Arc<ListenerCalls>,
    suspended: SuspendedQueues,
}

impl Bridge {
    pub(crate) fn new(group: CheetahString, dispatch: Dispatch, engine: Engine, user: Handle) -> Self {
        let retry_topic = format!("%RETRY%{group}");
        Self {
            group,
            dispatch,
            engine,
            largest_body: LARGEST_BODY,
            retry_topic,
            user,
            user_is_gone: CancellationToken::new(),
            client: OnceLock::new(),
            calls: Arc::default(),
            suspended: SuspendedQueues::default(),
        }
    }

    /// Tells the bridge which client to send retries and dead letters with. Messages that are decided before
    /// wait for it.
    pub(crate) fn connect(self: &Arc<Self>, client: &Arc<dyn Broker>) {
        let _ = self.client.set(Arc::downgrade(client));
        wait::watch_crowd(self);
        run::watch(self);
        wait::watch_seats(self, client);
    }

    /// Starts no further run; later calls leave their messages to the broker. Whether this is the first time.
    pub(crate) fn close(&self) -> bool {
        let was_closed = std::mem::replace(&mut self.calls.state.lock().is_closed, true);
        self.calls.changed.notify_all();
        self.engine.close();
        !was_closed
    }

    /// Makes later calls wait until they may begin, or lets them.
    pub(crate) fn set_paused(&self, is_paused: bool) {
        self.calls.state.lock().is_paused = is_paused;
        self.calls.changed.notify_all();
    }

    /// Waits until no call works on messages any more, or `bound` is over. Blocks the thread.
    pub(crate) fn drained(&self, bound: Duration) -> bool {
        let mut state = self.calls.state.lock();
        let is_timed_out =
            self.calls.changed.wait_while_for(&mut state, |state| state.seats.working() > 0, bound);
        !is_timed_out.timed_out()
    }

    /// A task of idem's own, on its runtime. A panic there ends the consumer.
    fn spawn(&self, place: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let fault = self.engine.fault().clone();
        idem_core::runtime::handle().spawn(panics::loud(place, task, move || fault.fail(place)));
    }

    /// One call without a thread of the client's, for a consumer without a broker.
    ///
    /// Its queue is lost as soon as nothing is left that would be decided by itself: each message has its first decision, and the
    /// next attempt would come in place, or what has none is held.
    pub(crate) async fn deliver(&self, sources: &[Received<'_>], queue: &Queue) -> Vec<Decision> {
        let (signals, decisions) = (CallSignals::default(), Arc::new(Decisions::of(sources.len())));
        let losing = async {
            if decisions.settled().await || self.dispatch.mode == Mode::Broadcast {
                signals.lost.notify_one();
            }
        };
        join(self.call(sources, queue, &signals, Some(&decisions)).map(|_| decisions.end()), losing).await;
        // Deliveries by hand have no offsets of their own to be known by when they come again.
        self.suspended.forget(queue);
        decisions.get()
    }

    /// How many calls are on threads.
    fn working(&self) -> usize {
        self.calls.state.lock().seats.on_threads()
    }

    async fn client(&self) -> Option<Arc<dyn Broker>> {
        loop {
            match self.client.get() {
                Some(client) => return client.upgrade(),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

impl Listener for Bridge {
    fn consume(self: Arc<Self>, messages: &[Received<'_>], queue: &Queue) -> ConsumeStatus {
        let Some(ticket) = self.begin(messages, queue) else { return ConsumeStatus::Leave };
        let _entered = idem_core::runtime::handle().enter();
        let fault = ticket.bridge.engine.fault().clone();
        panics::catch(|| ticket.work(messages, queue)).unwrap_or_else(|_| {
            panics::report("listener", "a listener call has panicked; its messages are left to the broker");
            fault.fail("a listener call");
            ConsumeStatus::Leave
        })
    }

    fn client_failed(&self) {
        self.engine.fault().fail("the thread of the RocketMQ client");
    }
}
