//! Everything that calls into `rocketmq-client-rust`.
//!
//! Two rules hold in this folder. Nothing that another part of the crate awaits is generic or an unboxed
//! future of the client, so that a user's build never compiles the client's code again. And the client never
//! runs on the user's runtime: each [`Client`] has a thread and a runtime of its own, so that a blocked or
//! finished user runtime cannot leave a consumer half alive.

mod access;
mod begin;
mod body;
mod checks;
mod chores;
mod copy;
mod delay;
mod ending;
mod error;
mod gate;
mod hook;
mod listener;
mod members;
mod message;
mod offsets;
mod order;
mod outgoing;
mod probe;
mod producer;
mod properties;
mod pulled;
mod reach;
mod runtime;
mod sending;
mod session;
mod settings;
mod start;
mod thread;
mod tls;
mod versions;
mod wire;

#[cfg(all(test, feature = "embedded"))]
mod tests;

pub(crate) use body::LARGEST as LARGEST_BODY;
#[cfg(feature = "embedded")]
pub(crate) use body::stored as stored_body;
pub(crate) use checks::{CheckBack, Checked};
pub(crate) use copy::{Extent, LONGEST_TIMER, PROPERTIES_BYTES, Purpose, Retry};
pub use delay::DelayBy;
pub(crate) use delay::Levels;
pub(crate) use error::ClientError;
pub(crate) use listener::{Answer, Listener};
pub(crate) use message::{begun, delivery};
pub(crate) use outgoing::{Delay, Wire};
pub(crate) use producer::{Half, ProducerClient, ProducerSettings};
pub(crate) use properties::{ATTEMPTS, DUE, KEY, OUTCOME, REASON};
pub(crate) use reach::check_syntax as check_addresses;
#[cfg(feature = "embedded")]
pub(crate) use runtime::own_runtime;
pub(crate) use sending::{Placed, SendFailure, place};
pub(crate) use session::Queues;
pub(crate) use settings::{ClientSettings, Expression, Mode, SPAN, check_credentials};
pub use settings::{ConsumeFrom, Credentials, MessageTrace};
#[cfg(feature = "embedded")]
pub(crate) use start::text;
pub use tls::Tls;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rocketmq_model::common::message::message_ext::MessageExt;
use tokio::sync::oneshot;

use session::Face;
use thread::Life;

/// A running member of a consumer group, with a producer for retries and dead letters.
///
/// Dropping it stops it as [`Client::shutdown`] does, without waiting for the end.
pub(crate) struct Client {
    face: Face,
    life: Life,
}

impl Client {
    /// Joins the group and starts to call the listener.
    ///
    /// # Errors
    ///
    /// A name that RocketMQ forbids, no name server within reach, or a broker that refuses this client.
    pub(crate) fn start(
        settings: ClientSettings,
        listener: Arc<dyn Listener>,
    ) -> BoxFuture<'static, Result<Client, ClientError>> {
        Box::pin(async move {
            settings.check()?;
            let (ready, started) = oneshot::channel();
            let life = session::spawn(settings, listener, ready)?;
            let face = started.await.map_err(|_| ClientError::Stopped)??;
            Ok(Client { face, life })
        })
    }

    /// Stores a copy of the message, on the group's retry topic or its dead-letter queue.
    ///
    /// Resolves with `Ok` only when a broker confirmed that it has the copy in its commit log. A broker that
    /// stored it and only missed the time limit for its disk or its slave has it, and that counts; it is the
    /// same promise that the producer of the original got from its `SEND_OK`-like statuses.
    pub(crate) fn copy<'a>(
        &'a self,
        message: &'a MessageExt,
        purpose: Purpose,
        extent: Extent,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(self.face.send_copy(message, purpose, extent))
    }

    /// Lets so many listener calls be under way at once, up to the `listener_threads` that it was started with.
    pub(crate) fn take_threads(&self, threads: u32) -> BoxFuture<'_, ()> {
        Box::pin(self.face.take_threads(threads))
    }

    /// The queues that this member has; none once it is stopped.
    pub(crate) fn queues(&self) -> BoxFuture<'_, Option<Queues>> {
        Box::pin(self.face.queues())
    }

    /// Stops pulling; what was pulled already still reaches the listener.
    pub(crate) fn pause(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.face.pause())
    }

    /// Pulls again after [`Client::pause`].
    pub(crate) fn resume(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.face.resume())
    }

    /// Leaves the group and ends every task of the client; calling it again waits for the same end.
    ///
    /// Listener calls that are still blocked lose their say: whatever they answer later neither acks nor sends
    /// back. Their messages come again, to this group's next owner of the queue, with the same count.
    pub(crate) fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.begin_shutdown();
        self.life.ended()
    }

    fn begin_shutdown(&self) {
        self.face.close();
        self.life.stop();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.begin_shutdown();
    }
}
