//! A run in a task of the user's runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use idem_core::panics::{self, Fault};
use tokio_util::sync::CancellationToken;

use crate::listener::Bridge;

/// A run in a task of the user's runtime. Where it is dropped, that runtime is going away: this is known before the run
/// gives back its permit, so that no other begins with it.
pub(super) struct UserTask {
    run: BoxFuture<'static, ()>,
    gone: Option<CancellationToken>,
    fault: Arc<Fault>,
}

impl UserTask {
    pub(super) fn new(run: BoxFuture<'static, ()>, bridge: &Bridge) -> Self {
        Self { run, gone: Some(bridge.user_is_gone.clone()), fault: bridge.engine.fault().clone() }
    }
}

impl Future for UserTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let done = panics::catch(|| self.run.poll_unpin(context)).unwrap_or_else(|_| {
            // The handler's own panics are caught around it.
            panics::report("run", "what follows a run has panicked; its message is left to the broker");
            self.fault.fail("the task of a run");
            Poll::Ready(())
        });
        if done.is_ready() {
            self.gone = None;
        }
        done
    }
}

impl Drop for UserTask {
    fn drop(&mut self) {
        if let Some(gone) = &self.gone {
            gone.cancel();
        }
    }
}
