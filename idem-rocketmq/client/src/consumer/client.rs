//! A consumer on a thread and a runtime of its own.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::copy::{CopyExtent, CopyPurpose};
use super::listener::Listener;
use super::session::{self, ConsumerHandle, Queues};
use crate::error::ClientError;
use crate::opaque::Opaque;
use crate::received::Received;
use crate::settings::ClientSettings;
use crate::thread::ClientThread;

/// A running member of a consumer group, with a producer for retries and dead letters.
///
/// Dropping it stops it as [`Client::shutdown`] does, without waiting for the end.
pub struct Client {
    handle: Opaque<ConsumerHandle>,
    life: ClientThread,
}

impl Client {
    /// Joins the group and starts to call the listener.
    ///
    /// # Errors
    ///
    /// A name that RocketMQ forbids, no name server within reach, or a broker that refuses this client.
    pub fn start(
        settings: ClientSettings,
        listener: Arc<dyn Listener>,
    ) -> BoxFuture<'static, Result<Client, ClientError>> {
        Box::pin(async move {
            settings.check()?;
            let (ready, started) = oneshot::channel();
            let life = session::spawn(settings, listener, ready)?;
            let handle = started.await.map_err(|_| ClientError::Stopped)??;
            Ok(Client { handle: Opaque::new(handle), life })
        })
    }

    /// Stores a copy of the message, on the group's retry topic or its dead-letter queue.
    ///
    /// Resolves with `Ok` only when a broker confirmed that it has the copy in its commit log. A broker that
    /// stored it and only missed the time limit for its disk or its slave has it, and that counts; it is the
    /// same promise that the producer of the original got from its `SEND_OK`-like statuses.
    pub fn copy<'a>(
        &'a self,
        message: &'a Received<'_>,
        purpose: CopyPurpose,
        extent: CopyExtent,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(self.handle.get().send_copy(message.get(), purpose, extent))
    }

    /// Sends a message back by delay level, as the client does by itself; a level of -1 makes it a dead letter.
    #[doc(hidden)]
    pub fn send_back(
        &self,
        message: &Received<'_>,
        level: i32,
    ) -> BoxFuture<'_, Result<Result<(), String>, ClientError>> {
        Box::pin(self.handle.get().send_back(message.get().clone(), level))
    }

    /// Lets so many listener calls be under way at once, up to the `listener_threads` that it was started with.
    pub fn take_threads(&self, threads: u32) -> BoxFuture<'_, ()> {
        Box::pin(self.handle.get().take_threads(threads))
    }

    /// The queues that this member has; none once it is stopped.
    pub fn queues(&self) -> BoxFuture<'_, Option<Queues>> {
        Box::pin(self.handle.get().queues())
    }

    /// Stops pulling; what was pulled already still reaches the listener.
    pub fn pause(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.handle.get().pause())
    }

    /// Pulls again after [`Client::pause`].
    pub fn resume(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.handle.get().resume())
    }

    /// Leaves the group and ends every task of the client; calling it again waits for the same end.
    ///
    /// Listener calls that are still blocked lose their say: whatever they answer later neither acks nor sends
    /// back. Their messages come again, to this group's next owner of the queue, with the same count.
    pub fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.begin_shutdown();
        self.life.ended()
    }

    fn begin_shutdown(&self) {
        self.handle.get().close();
        self.life.stop();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.begin_shutdown();
    }
}
