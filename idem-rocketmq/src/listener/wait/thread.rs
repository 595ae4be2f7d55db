//! The thread on which calls go on that have given theirs back.

use std::thread;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use idem_core::panics;
use tokio::sync::mpsc;

/// One thread of idem's own, which only hands on the events that calls wait for. A handler never begins here.
#[derive(Clone)]
pub(in crate::listener) struct AsideThread(mpsc::UnboundedSender<BoxFuture<'static, ()>>);

impl AsideThread {
    /// Returns `None` if the machine gives no thread.
    pub(in crate::listener) fn open() -> Option<Self> {
        let (sender, mut calls) = mpsc::unbounded_channel::<BoxFuture<'static, ()>>();
        let live = async move {
            let mut under_way = FuturesUnordered::new();
            let mut is_open = true;
            while is_open || !under_way.is_empty() {
                tokio::select! {
                    call = calls.recv(), if is_open => match call {
                        Some(call) => under_way.push(call),
                        None => is_open = false,
                    },
                    Some(()) = under_way.next(), if !under_way.is_empty() => {}
                }
            }
        };
        let thread = thread::Builder::new().name("idem-aside".to_owned()).spawn(move || {
            let _entered = idem_core::runtime::handle().enter();
            pollster::block_on(panics::loud("aside", live, || {}));
        });
        thread.is_ok().then_some(Self(sender))
    }

    pub(super) fn take(&self, call: BoxFuture<'static, ()>) {
        // It is received for as long as there is a sender.
        let _ = self.0.send(call);
    }
}
