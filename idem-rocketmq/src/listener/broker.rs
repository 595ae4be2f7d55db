//! The bridge's requests to the client, without the client's types.
//!
//! The client's types are so deep that the compiler gives up on proving them `Send` inside another future; behind
//! this trait it is proved once.

use futures_util::future::BoxFuture;

use crate::client::{Client, ClientError, CopyExtent, CopyPurpose, Queues, Received};

/// The group's member that messages come through.
pub(crate) trait Broker: Send + Sync {
    /// Stores a copy of a message. `Ok` when a broker has confirmed it.
    fn copy<'a>(
        &'a self,
        message: &'a Received<'_>,
        purpose: CopyPurpose,
        extent: CopyExtent,
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
    fn copy<'a>(
        &'a self,
        message: &'a Received<'_>,
        purpose: CopyPurpose,
        extent: CopyExtent,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        Client::copy(self, message, purpose, extent)
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
