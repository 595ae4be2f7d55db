//! An outbox that kills its process at a step of the protocol.

use std::any::Any;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_rocketmq::outbox::{
    BeginOutcome, Fate, LocalTransaction, Outbox, OutboxMessage, TransactionId, TypedOutbox,
};
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::StoreError;

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The process dies when it comes to the step of this name. Clones share it.
#[derive(Clone)]
pub(super) struct Deadly<O> {
    pub(super) outbox: O,
    pub(super) step: Arc<str>,
}

impl<O: TypedOutbox> TypedOutbox for Deadly<O> {
    type Connection = O::Connection;

    fn outbox(&self) -> Arc<dyn Outbox> {
        let death = Death { step: self.step.clone() };
        Arc::new(Mortal { outbox: self.outbox.outbox(), death, due: Mutex::default() })
    }
}

#[derive(Clone)]
struct Death {
    step: Arc<str>,
}

impl Death {
    fn at(&self, step: &str) {
        if *self.step == *step {
            eprintln!("dies: {step}");
            std::process::abort();
        }
    }
}

struct Mortal {
    outbox: Arc<dyn Outbox>,
    death: Death,
    /// Messages that were read to be sent again.
    due: Mutex<HashSet<TransactionId>>,
}

impl Outbox for Mortal {
    fn name(&self) -> &'static str {
        self.outbox.name()
    }

    fn own<'a>(&'a self, group: &'a str) -> Answer<'a, ()> {
        self.outbox.own(group)
    }

    fn begin<'a>(&'a self, message: &'a OutboxMessage, key: &'a IdempotencyKey) -> Answer<'a, BeginOutcome> {
        Box::pin(async move {
            self.death.at("prepared");
            let begun = self.outbox.begin(message, key).await?;
            let BeginOutcome::Open(transaction) = begun else { return Ok(begun) };
            self.death.at("begun");
            Ok(BeginOutcome::Open(Box::new(MortalTransaction { transaction, death: self.death.clone() })))
        })
    }

    fn decide(&self, id: TransactionId) -> Answer<'_, Fate> {
        Box::pin(async move {
            self.death.at("asked");
            let fate = self.outbox.decide(id).await?;
            self.death.at("decided");
            Ok(fate)
        })
    }

    fn sent<'a>(&'a self, ids: &'a [TransactionId]) -> Answer<'a, ()> {
        Box::pin(async move {
            let is_again = ids.iter().any(|id| self.due.lock().unwrap().contains(id));
            self.death.at(if is_again { "sent-again" } else { "told" });
            self.outbox.sent(ids).await?;
            self.death.at(if is_again { "noted-again" } else { "noted" });
            Ok(())
        })
    }

    fn lead(&self, holder: [u8; 16], lease: Duration) -> Answer<'_, bool> {
        self.outbox.lead(holder, lease)
    }

    fn due(&self) -> Answer<'_, Vec<OutboxMessage>> {
        Box::pin(async move {
            let due = self.outbox.due().await?;
            if !due.is_empty() {
                self.death.at("due");
            }
            self.due.lock().unwrap().extend(due.iter().map(|message| message.id));
            Ok(due)
        })
    }

    fn postpone(&self, id: TransactionId) -> Answer<'_, ()> {
        self.outbox.postpone(id)
    }

    fn purge(&self) -> Answer<'_, u64> {
        self.outbox.purge()
    }

    fn sweep_every(&self) -> Duration {
        self.outbox.sweep_every()
    }
}

struct MortalTransaction {
    transaction: Box<dyn LocalTransaction>,
    death: Death,
}

impl LocalTransaction for MortalTransaction {
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        self.transaction.connection()
    }

    fn commit(self: Box<Self>) -> Answer<'static, ()> {
        Box::pin(async move {
            self.death.at("worked");
            self.transaction.commit().await?;
            self.death.at("committed");
            Ok(())
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.transaction.rollback()
    }
}
