//! What the bridge asks of the client, without the client's types.
//!
//! The client's types are so deep that the compiler gives up on proving them `Send` inside another future; behind
//! this trait it is proved once.

use std::time::Duration;

use futures_util::future::BoxFuture;
use rocketmq_model::common::message::message_ext::MessageExt;

use crate::client::{Client, ClientError, Queues, Retry};

/// Properties that a copy of a message carries beside its own.
pub(crate) type Properties = Vec<(String, String)>;

/// The group's member that messages come through.
pub(crate) trait Broker: Send + Sync {
    /// Stores a copy that comes again after `delay`. `Ok` when a broker has confirmed it.
    fn retry<'a>(
        &'a self,
        message: &'a MessageExt,
        delay: Duration,
        properties: Properties,
    ) -> BoxFuture<'a, Result<(), ClientError>>;

    /// Stores a copy in the dead-letter queue. `Ok` when a broker has confirmed it.
    fn dead_letter<'a>(
        &'a self,
        message: &'a MessageExt,
        properties: Properties,
    ) -> BoxFuture<'a, Result<(), ClientError>>;

    /// Lets so many listener calls be under way at once.
    fn take_threads(&self, threads: u32) -> BoxFuture<'_, ()>;

    /// The queues that this member has; none once it is stopped.
    fn queues(&self) -> BoxFuture<'_, Option<Queues>>;

    /// Stops pulling.
    fn pause(&self) -> BoxFuture<'_, ()>;

    /// Pulls again.
    fn resume(&self) -> BoxFuture<'_, ()>;

    /// Leaves the group.
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}

impl Broker for Client {
    fn retry<'a>(
        &'a self,
        message: &'a MessageExt,
        delay: Duration,
        properties: Properties,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        Client::retry(self, message, Retry { delay, properties })
    }

    fn dead_letter<'a>(
        &'a self,
        message: &'a MessageExt,
        properties: Properties,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        Client::dead_letter(self, message, properties)
    }

    fn take_threads(&self, threads: u32) -> BoxFuture<'_, ()> {
        Client::take_threads(self, threads)
    }

    fn queues(&self) -> BoxFuture<'_, Option<Queues>> {
        Client::queues(self)
    }

    fn pause(&self) -> BoxFuture<'_, ()> {
        Client::pause(self)
    }

    fn resume(&self) -> BoxFuture<'_, ()> {
        Client::resume(self)
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        Client::shutdown(self)
    }
}
