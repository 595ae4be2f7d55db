//! The RocketMQ client, as `idem-rocketmq` takes it.
//!
//! This crate is no public API: depend on `idem-rocketmq`, which gives out of it what users need.
//!
//! Two rules hold here. No function that others await is generic or gives out an unboxed future of the client, so that
//! nobody else compiles the client's code again. And the client never runs on the user's runtime: each [`Client`] has a
//! thread and a runtime of its own, so that a blocked or finished user runtime cannot leave a consumer half alive.

// The client's types are so deep that proving them `Send` needs more than the default of 128. They stay inside of
// this crate, so that no other one needs such a line.
#![recursion_limit = "256"]
// Invariant: no sum of times overflows, whatever a user says; see `idem_core::clock::Later` and clippy.toml.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
#![allow(
    missing_docs,
    reason = "what users see of this crate has its documentation; the rest is for idem-rocketmq alone"
)]

mod access;
mod begin;
mod body;
mod checks;
mod chores;
mod cluster;
mod copy;
mod credentials;
mod delay;
mod delivery;
mod embedded;
mod ending;
mod error;
mod gate;
mod hook;
mod listener;
mod members;
mod message;
pub mod names;
mod offsets;
mod opaque;
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

pub use body::LARGEST as LARGEST_BODY;
pub use body::stored as stored_body;
pub use checks::{CheckBack, Checked};
pub use cluster::Cluster;
pub use copy::{Extent, LONGEST_TIMER, PROPERTIES_BYTES, Purpose, Retry};
pub use credentials::{Credentials, check_credentials};
pub use delay::DelayBy;
pub use delay::Levels;
pub use delivery::{Delivery, DeliveryBuilder};
pub use embedded::{Adoption, is_embedded, keep_locks};
pub use error::ClientError;
pub use listener::{Answer, Listener};
pub use message::{begun, delivery, received};
pub use outgoing::{Delay, Wire};
pub use producer::{Half, ProducerClient, ProducerSettings};
pub use properties::{ATTEMPTS, DUE, KEY, OUTCOME, REASON};
pub use reach::check_syntax as check_addresses;
pub use runtime::own_runtime;
pub use sending::{Placed, SendFailure, place};
pub use session::Queues;
pub use settings::{ClientSettings, Expression, LISTENER_THREADS, Mode, SPAN};
pub use settings::{ConsumeFrom, MessageTrace};
pub use start::text;
pub use tls::Tls;

pub use rocketmq_client_rust::LocalTransactionState;
/// A message as the client has it.
pub use rocketmq_model::common::message::message_ext::MessageExt as Received;
/// The queue that a message came from.
pub use rocketmq_model::common::message::message_queue::MessageQueue as Queue;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rocketmq_model::common::message::message_ext::MessageExt;
use tokio::sync::oneshot;

use opaque::Opaque;
use session::Face;
use thread::Life;

/// A running member of a consumer group, with a producer for retries and dead letters.
///
/// Dropping it stops it as [`Client::shutdown`] does, without waiting for the end.
pub struct Client {
    face: Opaque<Face>,
    life: Life,
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
            let face = started.await.map_err(|_| ClientError::Stopped)??;
            Ok(Client { face: Opaque::new(face), life })
        })
    }

    /// Stores a copy of the message, on the group's retry topic or its dead-letter queue.
    ///
    /// Resolves with `Ok` only when a broker confirmed that it has the copy in its commit log. A broker that
    /// stored it and only missed the time limit for its disk or its slave has it, and that counts; it is the
    /// same promise that the producer of the original got from its `SEND_OK`-like statuses.
    pub fn copy<'a>(
        &'a self,
        message: &'a MessageExt,
        purpose: Purpose,
        extent: Extent,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(self.face.get().send_copy(message, purpose, extent))
    }

    /// Sends a message back by delay level, as the client does by itself; a level of -1 makes it a dead letter.
    #[doc(hidden)]
    pub fn send_back(
        &self,
        message: MessageExt,
        level: i32,
    ) -> BoxFuture<'_, Result<Result<(), String>, ClientError>> {
        Box::pin(self.face.get().send_back(message, level))
    }

    /// Lets so many listener calls be under way at once, up to the `listener_threads` that it was started with.
    pub fn take_threads(&self, threads: u32) -> BoxFuture<'_, ()> {
        Box::pin(self.face.get().take_threads(threads))
    }

    /// The queues that this member has; none once it is stopped.
    pub fn queues(&self) -> BoxFuture<'_, Option<Queues>> {
        Box::pin(self.face.get().queues())
    }

    /// Stops pulling; what was pulled already still reaches the listener.
    pub fn pause(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.face.get().pause())
    }

    /// Pulls again after [`Client::pause`].
    pub fn resume(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.face.get().resume())
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
        self.face.get().close();
        self.life.stop();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.begin_shutdown();
    }
}
