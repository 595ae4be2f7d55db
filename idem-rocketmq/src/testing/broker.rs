use cheetah_string::CheetahString;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

use crate::client::{self, ClientError, CopyExtent, CopyPurpose, Delivery, Queues, Received};
use crate::listener::Broker;

/// Stores every copy that it is asked for.
pub(super) struct TestBroker {
    group: CheetahString,
    stored: Mutex<StoredCopies>,
}

#[derive(Default)]
struct StoredCopies {
    retries: Vec<Delivery>,
    dead_letters: Vec<Delivery>,
}

impl TestBroker {
    pub(super) fn new(group: CheetahString) -> Self {
        Self { group, stored: Mutex::default() }
    }

    pub(super) fn retries(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.stored.lock().retries)
    }

    pub(super) fn dead_letters(&self) -> Vec<Delivery> {
        self.stored.lock().dead_letters.clone()
    }
}

impl Broker for TestBroker {
    fn copy<'a>(
        &'a self,
        message: &'a Received<'_>,
        purpose: CopyPurpose,
        extent: CopyExtent,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        let copy = client::copied(message, &self.group, &purpose, extent);
        let mut stored = self.stored.lock();
        match purpose {
            CopyPurpose::DeadLetter(_) => stored.dead_letters.push(copy),
            CopyPurpose::Retry(_) | CopyPurpose::Onward(_) => stored.retries.push(copy),
        }
        ready(Ok(())).boxed()
    }

    fn take_threads(&self, _: u32) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn queues(&self) -> BoxFuture<'_, Option<Queues>> {
        ready(None).boxed()
    }

    fn pause(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn resume(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        ready(()).boxed()
    }
}
