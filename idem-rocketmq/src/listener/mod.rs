//! Between the client's listener calls and the engine.
//!
//! The client calls a [`Bridge`] with up to 32 messages on a thread that may block. The call answers success only
//! when every message in it is settled; where order is kept, it suspends the queue while a message waits for its next
//! attempt. When the process goes away under a call, its messages are left to the broker.

mod broker;
mod call;
mod crowd;
pub(crate) mod dispatch;
mod over;
mod recall;
mod report;
mod run;
mod settle;
mod span;
mod threads;
mod waiting;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use cheetah_string::CheetahString;
use idem_core::engine::Engine;
use parking_lot::{Condvar, Mutex};
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::message_queue::MessageQueue;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::broker::Broker;
pub(crate) use self::crowd::CROWD;
use self::dispatch::Dispatch;
use self::threads::Threads;
pub(crate) use self::threads::{FEW, THREADS};
use crate::client::{Answer, LARGEST_BODY, Listener};

pub(crate) use self::settle::no_handler;
pub(crate) use self::span::OnSpan;

/// The listener of one consumer.
pub(crate) struct Bridge {
    pub(crate) group: CheetahString,
    pub(crate) dispatch: Dispatch,
    pub(crate) engine: Engine,
    /// The most that a body may be when it is decompressed, in bytes.
    pub(crate) largest_body: usize,
    /// By which the group's own retries come, with namespace.
    pub(crate) retry_topic: String,
    /// Where handlers run: the runtime that the consumer was started on, entered or in its tasks.
    pub(crate) user: Handle,
    /// Set when the handlers' runtime went away under a message.
    pub(crate) user_is_gone: CancellationToken,
    client: OnceLock<Weak<dyn Broker>>,
    calls: Arc<Calls>,
    recall: recall::Recall,
}

/// The listener calls under way.
#[derive(Default)]
struct Calls {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Calls that work on messages; one that has left its messages to the broker is not among them.
    working: usize,
    /// How many calls have ended.
    ended: u64,
    threads: Threads,
    is_closed: bool,
    /// Calls wait before they begin.
    is_paused: bool,
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
            recall: recall::Recall::default(),
        }
    }

    /// Tells the bridge which client to send retries and dead letters with. Messages that are decided before
    /// wait for it.
    pub(crate) fn connect(self: &Arc<Self>, client: &Arc<dyn Broker>) {
        let _ = self.client.set(Arc::downgrade(client));
        crowd::watch(self);
        over::watch(self);
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
        let is_timed_out = self.calls.changed.wait_while_for(&mut state, |state| state.working > 0, bound);
        !is_timed_out.timed_out()
    }

    fn begin(&self) -> bool {
        let mut state = self.calls.state.lock();
        // What was pulled before the pause, or by a request that was with the broker already, waits here.
        self.calls.changed.wait_while(&mut state, |state| state.is_paused && !state.is_closed);
        if state.is_closed {
            return false;
        }
        state.working += 1;
        let is_crowded = state.working > CROWD;
        let is_full = state.threads == Threads::Few && state.working >= FEW as usize;
        if let (true, Some(client)) = (is_full, self.client.get()) {
            state.threads = Threads::Looking;
            idem_core::runtime::handle().spawn(threads::look(self.calls.clone(), client.clone()));
        }
        drop(state);
        if is_crowded {
            self.relieve();
        }
        true
    }

    /// How many calls work on messages.
    fn working(&self) -> usize {
        self.calls.state.lock().working
    }

    fn end(&self) {
        {
            let mut state = self.calls.state.lock();
            state.working -= 1;
            state.ended += 1;
        }
        self.calls.changed.notify_all();
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
    fn consume(&self, messages: &[&MessageExt], queue: &MessageQueue) -> Answer {
        if !self.begin() {
            return Answer::Leave;
        }
        let ended = End(self);
        let _entered = idem_core::runtime::handle().enter();
        let answer = pollster::block_on(self.call(messages, queue));
        drop(ended);
        answer
    }
}

/// Ends a call also when it panics: the panic then is a bug of idem's, and must not keep a shutdown waiting.
struct End<'a>(&'a Bridge);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
