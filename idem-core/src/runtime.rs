//! idem's own runtime.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Handle, Runtime};

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
