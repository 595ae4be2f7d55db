//! How a call gives its thread back while its messages wait, and goes on elsewhere.

use std::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{self, Either};
use idem_core::panics;

use super::calls::ThreadStage;
use super::crowd::CROWD;
use super::seats::{CallReturn, CallSeat, CallSignals};
use super::thread::AsideThread;
use super::threads::{self, FEW};
use crate::client::{self, ConsumeStatus, Mode, Queue, Received};
use crate::listener::Bridge;

/// A call's place among those under way. Where it is dropped, the call's messages are left to the broker.
pub(in crate::listener) struct CallTicket {
    pub(in crate::listener) bridge: Arc<Bridge>,
    queue: Queue,
    first: i64,
    id: u64,
    signals: Arc<CallSignals>,
    aside_thread: Option<AsideThread>,
    place: CallPlace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CallPlace {
    Thread,
    Aside,
    Over,
}

impl Bridge {
    /// Takes a call in; returns `None` if the bridge is closed.
    pub(in crate::listener) fn begin(
        self: Arc<Self>,
        messages: &[Received<'_>],
        queue: &Queue,
    ) -> Option<CallTicket> {
        let offsets = || messages.iter().map(Received::queue_offset);
        let (first, last) = (offsets().min()?, offsets().max()?);
        let bytes = messages.iter().map(|message| message.body().len()).sum();
        let stamp = client::begun(&messages[0]);
        let calls = self.calls.clone();
        let mut state = calls.state.lock();
        // Messages that were pulled before the pause, or by a request that the broker had already, wait here.
        calls.changed.wait_while(&mut state, |state| state.is_paused && !state.is_closed);
        if state.is_closed {
            return None;
        }
        // While there are few, they are quick, and their messages are not worth a copy.
        let can_move = state.seats.on_threads() >= FEW as usize && self.dispatch.mode != Mode::Orderly;
        if can_move && state.aside_thread.is_none() {
            state.aside_thread = AsideThread::open();
        }
        let aside_thread = state.aside_thread.clone().filter(|_| can_move);
        let seat = CallSeat::new(queue.clone(), (first, last), (messages.len(), bytes), stamp);
        let signals = seat.signals();
        let id = state.seats.take(seat);
        let working = state.seats.on_threads();
        let is_full = state.threads == ThreadStage::Few && working >= FEW as usize;
        if let (true, Some(client)) = (is_full, self.client.get()) {
            state.threads = ThreadStage::Looking;
            self.spawn("threads", threads::look(self.calls.clone(), client.clone()));
        }
        drop(state);
        if working > CROWD {
            self.relieve();
        }
        let place = CallPlace::Thread;
        Some(CallTicket { bridge: self, queue: queue.clone(), first, id, signals, aside_thread, place })
    }
}

impl CallTicket {
    /// Settles the messages of a call, on this thread or, where it has to give it back, elsewhere.
    pub(in crate::listener) fn work(mut self, sources: &[Received<'_>], queue: &Queue) -> ConsumeStatus {
        let Some(aside_thread) = self.aside_thread.take() else {
            let answer = pollster::block_on(self.bridge.clone().call(sources, queue, &self.signals, None));
            return self.over(answer);
        };
        let call = {
            let (bridge, queue, signals) = (self.bridge.clone(), queue.clone(), self.signals.clone());
            let sources: Vec<_> = sources.iter().cloned().map(Received::into_owned).collect();
            async move { bridge.call(&sources, &queue, &signals, None).await }
        };
        let call = call.boxed();
        let worked = {
            let asked = pin::pin!(self.asked());
            match pollster::block_on(future::select(call, asked)) {
                Either::Left((answer, _)) => Either::Left(answer),
                Either::Right((is_lost, call)) => Either::Right((is_lost, call)),
            }
        };
        match worked {
            Either::Left(answer) => self.over(answer),
            Either::Right((is_lost, call)) => {
                self.place = CallPlace::Aside;
                let fault = self.bridge.engine.fault().clone();
                let rest = async move {
                    let answer = call.await;
                    self.over(answer);
                };
                let fail = move || fault.fail("a listener call");
                aside_thread.take(panics::loud("aside", rest, fail).map(|_| ()).boxed());
                if is_lost { ConsumeStatus::Lost } else { ConsumeStatus::Success }
            }
        }
    }

    /// Waits until the call has to give its thread back, and may. Whether its queue is lost.
    async fn asked(&self) -> bool {
        loop {
            self.signals.aside.notified().await;
            if let Some(is_lost) = self.bridge.calls.state.lock().seats.set_aside(self.id) {
                return is_lost;
            }
        }
    }

    /// The call is over. Blocks the thread until it may say so.
    fn over(mut self, answer: ConsumeStatus) -> ConsumeStatus {
        let calls = self.bridge.calls.clone();
        let mut state = calls.state.lock();
        if self.place == CallPlace::Aside {
            let is_left = answer != ConsumeStatus::Success;
            self.place = CallPlace::Over;
            let wakes = state.seats.over_aside((&self.queue, self.first, self.id), is_left);
            state.ended += 1;
            drop(state);
            calls.over(wakes);
            return answer;
        }
        let mut how = CallReturn::Now;
        if answer == ConsumeStatus::Success {
            calls.seats.wait_while(&mut state, |state| {
                how = state.seats.call_return(self.id);
                how == CallReturn::Later
            });
        }
        self.place = CallPlace::Over;
        let is_lost = state.seats.over(self.id);
        state.ended += 1;
        drop(state);
        calls.over(true);
        match how {
            _ if is_lost => ConsumeStatus::Lost,
            CallReturn::WithoutAck => ConsumeStatus::Leave,
            CallReturn::Now | CallReturn::Later => answer,
        }
    }
}

impl Drop for CallTicket {
    fn drop(&mut self) {
        let calls = self.bridge.calls.clone();
        let mut state = calls.state.lock();
        match self.place {
            CallPlace::Thread => drop(state.seats.over(self.id)),
            CallPlace::Aside => drop(state.seats.over_aside((&self.queue, self.first, self.id), true)),
            CallPlace::Over => return,
        }
        state.ended += 1;
        drop(state);
        calls.over(true);
    }
}
