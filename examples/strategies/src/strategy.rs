//! The common part of all strategies.

use std::sync::Arc;

use idem_rocketmq::consumer::Builder;
use idem_rocketmq::handler::BoxFuture;
use idem_rocketmq::store::Store;

use crate::Error;
use crate::storm::{Paid, Storm, Trouble};

/// A strategy in its own topic and consumer group.
pub(crate) struct Strategy {
    pub(crate) name: String,
    pub(crate) topic: &'static str,
    pub(crate) group: String,
    pub(crate) promise: Promise,
    /// Where it needs something beside it.
    pub(crate) weak_at: &'static str,
    /// Consumers that are to be started.
    pub(crate) consumers: Vec<Builder<Arc<dyn Store>>>,
    /// How many consumers that is.
    pub(crate) members: usize,
    pub(crate) sending: Sending,
}

impl Strategy {
    pub(crate) fn promises(mut self, promise: Promise) -> Self {
        self.promise = promise;
        self
    }

    pub(crate) fn weak_at(mut self, weak_at: &'static str) -> Self {
        self.weak_at = weak_at;
        self
    }

    pub(crate) fn sent_by(mut self, announce: Announce) -> Self {
        self.sending = Sending::Half(announce);
        self
    }
}

/// How the storm is sent.
pub(crate) enum Sending {
    /// As it is.
    Plain,
    /// Each message as a transaction.
    Half(Announce),
}

/// Does the local work of a payment, and sends its message if that succeeded.
pub(crate) type Announce = Box<dyn Fn(Paid) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// The number that a strategy must count.
#[derive(Clone, Copy)]
pub(crate) enum Promise {
    /// Whatever comes.
    Nothing,
    /// Each order once, and once more where a run failed after its work.
    OnceOrRepeated,
    /// Each order once.
    Once,
    /// Each order once in each member.
    OnceInEach,
    /// Each order once that was paid: the others' local work fails.
    OnceIfPaid,
    /// Each order once whose local work was committed; a second one does not begin.
    OnceIfCommitted,
}

/// The same in numbers.
pub(crate) struct Expected {
    /// Lines in the books.
    pub(crate) lines: usize,
    /// Those of them that are one too many.
    pub(crate) repeated: usize,
    /// Messages that are settled at the end.
    pub(crate) messages: usize,
}

impl Promise {
    pub(crate) fn of(self, storm: &Storm, members: usize) -> Expected {
        let (orders, messages) = (storm.orders, storm.count());
        let (lines, repeated, messages) = match self {
            Self::Nothing => (orders, messages - orders + storm.troubled(Trouble::After), messages),
            Self::OnceOrRepeated => (orders, storm.troubled_orders(Trouble::After), messages),
            Self::Once => (orders, 0, messages),
            Self::OnceInEach => (orders * members, 0, messages * members),
            Self::OnceIfPaid => (
                orders - storm.troubled_orders(Trouble::Before),
                0,
                messages - storm.troubled(Trouble::Before),
            ),
            Self::OnceIfCommitted => {
                let failed = [Trouble::Before, Trouble::After].map(|trouble| storm.troubled_orders(trouble));
                let committed = orders - failed.iter().sum::<usize>();
                (committed, 0, committed)
            }
        };
        Expected { lines, repeated, messages }
    }
}
