//! The thread and the runtime that one client lives on.

use std::thread;

use futures_util::future::BoxFuture;
use idem_core::panics;
use parking_lot::Mutex;
use rocketmq_runtime::RuntimeOwner;
use tokio::sync::{oneshot, watch};

use crate::error::ClientError;
use crate::runtime;

/// The client polls large futures.
const STACK_BYTES: usize = 8 << 20;

/// The end of a client: how it is asked for, and how it is waited for.
pub(super) struct ClientThread {
    stop: Mutex<Option<oneshot::Sender<()>>>,
    down: watch::Receiver<bool>,
}

/// Calls `live` on a thread of its own, with a runtime that has room for so many blocking calls. Its second argument
/// completes when the client is to stop, also by [`ClientThread`] being dropped.
pub(super) fn spawn(
    blocking_calls: u32,
    live: impl FnOnce(Result<RuntimeOwner, ClientError>, oneshot::Receiver<()>) + Send + 'static,
) -> Result<ClientThread, ClientError> {
    let (stop, stopped) = oneshot::channel();
    let (down_sender, down) = watch::channel(false);
    let builder = thread::Builder::new().name("idem-rocketmq".to_owned()).stack_size(STACK_BYTES);
    let thread = builder.spawn(move || {
        let owner = runtime::own_runtime("idem-rocketmq", blocking_calls);
        let owner = owner.map_err(|cause| ClientError::Runtime { cause });
        if panics::catch(move || live(owner, stopped)).is_err() {
            panics::report("client", "the thread of a RocketMQ client has panicked");
        }
        down_sender.send_replace(true);
    });
    thread.map_err(ClientError::Thread)?;
    Ok(ClientThread { stop: Mutex::new(Some(stop)), down })
}

impl ClientThread {
    pub(super) fn stop(&self) {
        if let Some(stop) = self.stop.lock().take() {
            let _ = stop.send(());
        }
    }

    pub(super) fn ended(&self) -> BoxFuture<'static, ()> {
        let mut down = self.down.clone();
        Box::pin(async move {
            // An error means that the sender is gone, which is the end as well.
            let _ = down.wait_for(|down| *down).await;
        })
    }
}
