//! idem's own runtime.

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinError;

use crate::panics;

/// The runtime of renewals, settlement and the stores' connections, which no handler can block.
///
/// Process-wide, started at first use, with two threads.
pub fn handle() -> &'static Handle {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("idem")
            .enable_all()
            .build()
            .expect("the operating system must grant idem's two threads")
    });
    RUNTIME.handle()
}

/// Runs a call on a runtime: as a task, unless that is where it is called.
///
/// # Errors
/// The runtime has ended, or the call has panicked.
pub(crate) async fn on<T: Send + 'static>(
    runtime: &Handle,
    call: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    if Handle::try_current().is_ok_and(|current| current.id() == runtime.id()) {
        return Ok(call.await);
    }
    let called = runtime.spawn(call).await;
    if called.as_ref().is_err_and(JoinError::is_panic) {
        panics::report(
            "store",
            "a call to a store has panicked; what it was asked for counts as not answered",
        );
    }
    called
}
