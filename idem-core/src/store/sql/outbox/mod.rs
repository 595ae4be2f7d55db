//! Outboxes in SQL databases: markers of producers' local transactions, in the same database as their work.
//!
//! The differences between the databases are in [`SqlSyntax`] and in the migrations; the rest is the same for all.

mod builder;
mod message;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub(in crate::store) use self::builder::{outbox_builder, server_settings, sql_outbox};
pub(in crate::store) use self::message::MessageRow;
use super::SqlStoreCore;
use super::plain::{
    Blobs, Execute, IDS, Messages, Numbers, PlainDialect, StatementValue, statements, with_ids,
};
use crate::clock::{OF_A_PAUSE, within};
use crate::key::IdempotencyKey;
use crate::outbox::{BeginOutcome, Fate, Outbox, OutboxMessage, TransactionId};
use crate::record::Token;
use crate::store::remote::on_runtime;
use crate::store::{StoreError, probe};

/// How markers are stored that others see; the SQL files have the same numbers.
const COMMITTED: i64 = 1;
const SENT: i64 = 2;

/// For so long brokers keep messages as they come, and so ask for their transactions.
const BROKERS_ASK: Duration = Duration::from_hours(72);

/// How long a marker stays, unless said otherwise: as long as a consumer remembers its completions.
const RETENTION: Duration = Duration::from_hours(4 * 24);

statements! { OutboxStatements in "sql": insert finish decide state due postpone sent spent delete own owner }

/// How many messages are read at one time.
const DUE: i64 = 32;

/// The times of an outbox.
#[derive(Debug, Clone)]
pub(in crate::store) struct OutboxTimes {
    /// After the commit, a message without confirmation is sent again.
    pub(in crate::store) resend_after: Duration,
    /// How long a marker stays that is decided and needed for nothing but questions.
    pub(in crate::store) retention: Duration,
    pub(in crate::store) sweep_every: Duration,
}

impl Default for OutboxTimes {
    fn default() -> Self {
        Self {
            resend_after: Duration::from_mins(2),
            retention: RETENTION,
            sweep_every: Duration::from_secs(10),
        }
    }
}

impl OutboxTimes {
    /// Refuses what would send without end, or forget too early.
    pub(in crate::store) fn check(&self) -> Result<(), StoreError> {
        let Self { resend_after, retention, sweep_every } = self;
        let times = [("resend_after", resend_after), ("retention", retention), ("sweep_every", sweep_every)];
        for (what, time) in times {
            within(what, *time, OF_A_PAUSE)
                .map_err(|error| StoreError::config(format!("the outbox's {error}")))?;
        }
        if retention < resend_after {
            return Err(StoreError::config(format!(
                "the outbox's `retention` of {retention:?} is shorter than its `resend_after` of {resend_after:?}: raise it \
                 beyond the time for which brokers may ask, which is 72 h as they come"
            )));
        }
        Ok(())
    }
}

/// The state behind an outbox's public type.
pub(in crate::store) struct OutboxCore<D: PlainDialect> {
    core: Arc<SqlStoreCore<D>>,
    statements: OutboxStatements,
    times: OutboxTimes,
}

impl<D: PlainDialect> OutboxCore<D> {
    pub(in crate::store) fn new(core: Arc<SqlStoreCore<D>>, times: OutboxTimes) -> Self {
        if times.retention < BROKERS_ASK {
            tracing::warn!(
                retention = ?times.retention,
                "the outbox forgets transactions for which a broker may still ask, if it keeps messages for 72 h"
            );
        }
        let statements = OutboxStatements::new(&core.names, &D::SYNTAX);
        Self { core, statements, times }
    }

    /// For `Debug`.
    pub(in crate::store) fn shown(&self) -> (&str, String) {
        self.core.shown()
    }

    async fn state(&self, id: TransactionId) -> Result<Option<i64>, StoreError> {
        let states =
            Numbers { statement: &self.statements.state, values: &[StatementValue::bytes(id.to_bytes())] };
        Ok(self.core.link.call(&states).await?.pop())
    }

    async fn decide(&self, id: TransactionId) -> Result<Fate, StoreError> {
        let values = [StatementValue::bytes(id.to_bytes()), StatementValue::time(self.times.retention)];
        self.core.link.call(&Execute { statement: &self.statements.decide, values: &values }).await?;
        match self.state(id).await? {
            Some(COMMITTED | SENT) => Ok(Fate::Committed),
            Some(_) => Ok(Fate::RolledBack),
            None => Err(StoreError::unavailable(format!("{} has lost a marker just written", D::TITLE))),
        }
    }

    async fn sent(&self, ids: Vec<TransactionId>) -> Result<(), StoreError> {
        for some in ids.chunks(IDS) {
            let values = with_ids(
                vec![StatementValue::time(self.times.retention)],
                some.iter().map(|id| StatementValue::bytes(id.to_bytes())),
            );
            self.core.link.call(&Execute { statement: &self.statements.sent, values: &values }).await?;
        }
        Ok(())
    }

    async fn due(&self) -> Result<Vec<OutboxMessage>, StoreError> {
        let due = Messages { statement: &self.statements.due, values: &[StatementValue::Number(DUE)] };
        let rows = self.core.link.call(&due).await?;
        rows.into_iter().map(|row| row.message().ok_or_else(|| strange::<D>(&self.core.link.name))).collect()
    }

    async fn postpone(&self, id: TransactionId) -> Result<(), StoreError> {
        let values = [StatementValue::time(self.times.resend_after), StatementValue::bytes(id.to_bytes())];
        let postpone = Execute { statement: &self.statements.postpone, values: &values };
        self.core.link.call(&postpone).await.map(drop)
    }

    async fn purge(&self) -> Result<u64, StoreError> {
        let most = [StatementValue::Number(i64::try_from(IDS).unwrap_or(i64::MAX))];
        let spent = Blobs { statement: &self.statements.spent, values: &most };
        let ids = self.core.link.call(&spent).await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let values = with_ids(Vec::new(), ids.into_iter().map(StatementValue::Bytes));
        self.core.link.call(&Execute { statement: &self.statements.delete, values: &values }).await
    }

    async fn own(&self, group: String) -> Result<(), StoreError> {
        let owner = || StatementValue::Bytes(Some(group.as_bytes().to_vec()));
        let own = Execute { statement: &self.statements.own, values: &[owner(), owner()] };
        if self.core.link.call(&own).await? == 1 {
            return Ok(());
        }
        let owners = Blobs { statement: &self.statements.owner, values: &[] };
        let owner = self.core.link.call(&owners).await?.pop().flatten().unwrap_or_default();
        Err(StoreError::config(format!(
            "the outbox `{}` in {} at {} belongs to the producer group `{}`: give the group `{group}` one of its own, with \
             `.table(\"..\")` of the outbox's builder",
            self.core.names.shown(),
            D::TITLE,
            self.core.link.name,
            String::from_utf8_lossy(&owner),
        )))
    }

    async fn lead(&self, holder: [u8; 16], lease: Duration) -> Result<bool, StoreError> {
        let lead = super::purge::PurgeLease { holder: &holder, lease, position: None };
        Ok(self.core.link.call(&lead).await?.is_some())
    }
}

/// Refuses a database in which the outbox cannot do what it does. A file has no rights, and its other writers would be waited
/// for.
pub(in crate::store) fn probe<D: PlainDialect>(desk: &Arc<OutboxCore<D>>) -> StepFuture<'static, ()> {
    if D::IS_FILE {
        return Box::pin(std::future::ready(Ok(())));
    }
    let desk = Arc::clone(desk);
    probe::patiently(move || {
        let desk = Arc::clone(&desk);
        Box::pin(async move {
            let probed = async {
                transaction::probe(&desk).await?;
                desk.lead(Token::random().to_bytes(), Duration::ZERO).await.map(drop)
            };
            desk.core.link.in_time(probed).await
        })
    })
}

fn strange<D: PlainDialect>(at: &str) -> StoreError {
    StoreError::statement(format!(
        "a message in the outbox in {} at {at} is not as idem writes them; somebody else has changed its row",
        D::TITLE
    ))
}

/// The steps run where the connections live.
pub(in crate::store) struct SqlOutbox<D: PlainDialect>(pub(in crate::store) Arc<OutboxCore<D>>);

impl<D: PlainDialect> SqlOutbox<D> {
    /// A step that waits for nobody but the server, and is over in time, however many statements it has.
    fn run<T: Send + 'static, F>(&self, step: impl FnOnce(Arc<OutboxCore<D>>) -> F) -> StepFuture<'_, T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (desk, step) = (Arc::clone(&self.0), step(Arc::clone(&self.0)));
        Box::pin(async move { on_runtime(async move { desk.core.link.in_time(step).await }).await? })
    }
}

/// A step that may wait for another transaction, and bounds that itself.
fn run_and_wait<'a, T: Send + 'static>(
    step: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> StepFuture<'a, T> {
    Box::pin(async move { on_runtime(step).await? })
}

type StepFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl<D: PlainDialect> Outbox for SqlOutbox<D> {
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn own<'a>(&'a self, group: &'a str) -> StepFuture<'a, ()> {
        let group = group.to_owned();
        self.run(|desk| async move { desk.own(group).await })
    }

    fn begin<'a>(
        &'a self,
        message: &'a OutboxMessage,
        key: &'a IdempotencyKey,
    ) -> StepFuture<'a, BeginOutcome> {
        let (message, key) = (message.clone(), message.record_key(key));
        run_and_wait(transaction::begin(Arc::clone(&self.0), message, key))
    }

    fn decide(&self, id: TransactionId) -> StepFuture<'_, Fate> {
        let desk = Arc::clone(&self.0);
        run_and_wait(async move { desk.decide(id).await })
    }

    fn sent<'a>(&'a self, ids: &'a [TransactionId]) -> StepFuture<'a, ()> {
        let ids = ids.to_vec();
        self.run(|desk| async move { desk.sent(ids).await })
    }

    fn lead(&self, holder: [u8; 16], lease: Duration) -> StepFuture<'_, bool> {
        self.run(move |desk| async move { desk.lead(holder, lease).await })
    }

    fn due(&self) -> StepFuture<'_, Vec<OutboxMessage>> {
        self.run(|desk| async move { desk.due().await })
    }

    fn postpone(&self, id: TransactionId) -> StepFuture<'_, ()> {
        self.run(move |desk| async move { desk.postpone(id).await })
    }

    fn purge(&self) -> StepFuture<'_, u64> {
        self.run(|desk| async move { desk.purge().await })
    }

    fn sweep_every(&self) -> Duration {
        self.0.times.sweep_every
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that the outbox's page says.
    #[test]
    fn an_outbox_keeps_the_times_of_its_page() {
        let OutboxTimes { resend_after, retention, sweep_every } = OutboxTimes::default();
        assert_eq!(resend_after, Duration::from_mins(2));
        assert_eq!(retention, Duration::from_hours(4 * 24));
        assert_eq!(sweep_every, Duration::from_secs(10));
        // As long as a consumer of idem remembers, and longer than a broker asks.
        assert_eq!(retention, crate::Policy::default().retention);
        assert!(retention > BROKERS_ASK);
    }
}
