//! The work beside the transactions: it notes confirmations, and sends again those that did not come.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::outbox::{NotSent, Outbox, OutboxMessage, Resend, Sweeper, TransactionId};
use idem_core::panics::tireless;
use idem_core::runtime;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{sleep, timeout};

use super::{Confirmations, Markers, open};
use crate::client::SendFailure;
use crate::producer::ProducerCore;

/// Confirmations that are noted at one time.
const NOTED: usize = 256;
/// Not to hammer a database that fails. What is not noted in the end is sent twice.
const AFTER_ERROR: Duration = Duration::from_secs(1);
const TRIES: u32 = 30;
/// For one message that is sent again, so that one whose broker is away does not hold the others for long.
const RESEND: Duration = Duration::from_secs(10);
/// The time that notes may take at the end.
const LEAVE: Duration = Duration::from_secs(5);

/// The tasks of a producer with an outbox. They end with it.
pub(in crate::producer) struct Worker {
    outbox: Arc<dyn Outbox>,
    confirmed: Mutex<Option<mpsc::UnboundedSender<TransactionId>>>,
    notes: Mutex<Option<JoinHandle<()>>>,
    sweep: AbortHandle,
}

impl Worker {
    pub(in crate::producer) fn start(
        markers: Markers,
        Confirmations { tell, told }: Confirmations,
        inner: Weak<ProducerCore>,
    ) -> Self {
        let outbox = markers.outbox;
        let (kept, told) = (Arc::clone(&outbox), Arc::new(tokio::sync::Mutex::new(told)));
        let notes = tireless("outbox notes", move || note(Arc::clone(&kept), Arc::clone(&told)));
        let notes = runtime::handle().spawn(notes);
        let swept = Arc::clone(&outbox);
        let sweep = tireless("outbox sweep", move || Sweeper::new(Arc::clone(&swept), inner.clone()).run());
        let sweep = runtime::handle().spawn(sweep).abort_handle();
        Self { outbox, confirmed: Mutex::new(Some(tell)), notes: Mutex::new(Some(notes)), sweep }
    }

    pub(super) fn outbox(&self) -> &Arc<dyn Outbox> {
        &self.outbox
    }

    /// The broker has the message of this transaction.
    pub(super) fn confirmed(&self, id: TransactionId) {
        if let Some(confirmed) = &*self.confirmed.lock() {
            let _ = confirmed.send(id);
        }
    }

    pub(in crate::producer) fn stop(&self) {
        self.sweep.abort();
    }

    /// Waits until what is confirmed has been noted, for a bounded time.
    pub(in crate::producer) async fn ended(&self) {
        drop(self.confirmed.lock().take());
        let notes = self.notes.lock().take();
        if let Some(notes) = notes {
            let _ = timeout(LEAVE, notes).await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Notes what is confirmed: whatever came while one note was written goes with the next.
async fn note(
    outbox: Arc<dyn Outbox>,
    told: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<TransactionId>>>,
) {
    let mut told = told.lock().await;
    let mut ids = Vec::with_capacity(NOTED);
    while told.recv_many(&mut ids, NOTED).await > 0 {
        for _ in 0..TRIES {
            let Err(error) = outbox.sent(&ids).await else { break };
            tracing::debug!(outbox = outbox.name(), %error, "confirmations could not be noted yet");
            sleep(AFTER_ERROR).await;
        }
        ids.clear();
    }
}

impl Resend for ProducerCore {
    fn resend(&self, message: OutboxMessage) -> BoxFuture<'_, Result<(), NotSent>> {
        Box::pin(async move {
            let topic = message.topic.clone();
            let sent = self.client.send(open::wire(message), RESEND.min(self.settings.send_timeout)).await;
            match sent {
                Ok(_) => {
                    self.count(&topic, "sent_again", 1);
                    Ok(())
                }
                Err(SendFailure::Refused { .. }) => Err(NotSent::Refused),
                Err(_) => Err(NotSent::Unreachable),
            }
        })
    }
}
