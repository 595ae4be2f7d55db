//! idem's own runtime.
//!
//! Renewals, settlement and the stores' connections live here, so that a handler which blocks every worker
//! thread of the user's runtime does not let leases lapse.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

const WORKERS: usize = 2;

/// The process-wide runtime, started at first use and never stopped.
pub(crate) fn handle() -> &'static Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .thread_name("idem")
                .enable_all()
                .build()
                .expect("the operating system refused idem's threads")
        })
        .handle()
}
