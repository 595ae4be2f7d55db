//! Local transactions with their markers.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sqlx::error::ErrorKind;

use super::super::plain::{PlainDialect, StatementValue, with_ids};
use super::{OutboxCore, message};
use crate::key::RecordKey;
use crate::outbox::{BeginOutcome, LocalTransaction, OutboxMessage, TransactionId};
use crate::store::remote::on_runtime;
use crate::store::sql::transactions::SqlTransaction;
use crate::store::{StoreError, Transaction as _, probe};

pub(super) async fn begin<D: PlainDialect>(
    desk: Arc<OutboxCore<D>>,
    message: OutboxMessage,
    key: RecordKey,
) -> Result<BeginOutcome, StoreError> {
    let bound = desk.core.link.response_timeout();
    let begun = insert(Arc::clone(&desk), message, key);
    // It waits for another transaction under the same key, and for an answer.
    desk.core.link.within(bound.saturating_mul(2), begun).await
}

async fn insert<D: PlainDialect>(
    desk: Arc<OutboxCore<D>>,
    message: OutboxMessage,
    key: RecordKey,
) -> Result<BeginOutcome, StoreError> {
    let mut open = SqlTransaction::begin(Arc::clone(&desk.core)).await?;
    let mut values = message::values(&message, &key);
    values.push(StatementValue::time(desk.times.retention));
    let inserted = async {
        D::execute(open.session(), &desk.statements.insert, &values).await?;
        desk.core.link.dialect.claimed(open.session()).await
    };
    let error = match inserted.await {
        Ok(()) => return Ok(BeginOutcome::Open(Box::new(MarkedTransaction { desk, id: message.id, open }))),
        Err(error) => error,
    };
    let is_taken = error.as_database_error().is_some_and(|error| error.kind() == ErrorKind::UniqueViolation);
    let error = open.error(&error);
    Box::new(open).rollback().await;
    if !is_taken {
        return Err(error);
    }
    Ok(match desk.state(message.id).await? {
        Some(_) => BeginOutcome::RolledBack,
        None => BeginOutcome::KeyCommitted,
    })
}

/// Does with a marker of its own what is done with others, and takes it all back.
pub(super) async fn probe<D: PlainDialect>(desk: &OutboxCore<D>) -> Result<(), StoreError> {
    let mut open = SqlTransaction::begin(Arc::clone(&desk.core)).await?;
    let id = TransactionId::random();
    let (topic, body) = ("idem.probe".to_owned(), Bytes::new());
    let (tag, lookup_keys, order_by, properties) = (None, None, None, Vec::new());
    let message = OutboxMessage { id, topic, tag, lookup_keys, order_by, properties, body };
    let mut marker = message::values(&message, &probe::key()?);
    marker.push(StatementValue::time(desk.times.retention));
    let later = || vec![StatementValue::time(desk.times.resend_after), StatementValue::bytes(id.to_bytes())];
    let (retention, ids) =
        (StatementValue::time(desk.times.retention), std::iter::once(StatementValue::bytes(id.to_bytes())));
    let statements = &desk.statements;
    let steps = [
        (&statements.insert, marker),
        (&statements.finish, later()),
        (&statements.postpone, later()),
        (&statements.sent, with_ids(vec![retention], ids.clone())),
        (&statements.delete, with_ids(Vec::new(), ids)),
    ];
    for (statement, values) in steps {
        let done = D::execute(open.session(), statement, &values).await;
        done.map_err(|error| open.error(&error))?;
    }
    Box::new(open).rollback().await;
    Ok(())
}

fn has_ended() -> StoreError {
    StoreError::statement("the local work has ended the transaction that it ran in")
}

struct MarkedTransaction<D: PlainDialect> {
    desk: Arc<OutboxCore<D>>,
    id: TransactionId,
    open: SqlTransaction<D>,
}

impl<D: PlainDialect> MarkedTransaction<D> {
    async fn finish_and_commit(mut self) -> Result<(), StoreError> {
        let values =
            [StatementValue::time(self.desk.times.resend_after), StatementValue::bytes(self.id.to_bytes())];
        let finished = D::execute(self.open.session(), &self.desk.statements.finish, &values).await;
        // The local work may have ended the transaction, or swallowed the failure of a statement, after which PostgreSQL
        // answers a commit with a rollback.
        let lost = match finished {
            Ok(1) => return Box::new(self.open).commit().await,
            Ok(_) => has_ended(),
            Err(error) if SqlTransaction::<D>::has_ended(&error) => has_ended(),
            Err(error) => self.open.error(&error),
        };
        Box::new(self.open).rollback().await;
        Err(lost)
    }
}

impl<D: PlainDialect> LocalTransaction for MarkedTransaction<D> {
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        self.open.connection()
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        let desk = Arc::clone(&self.desk);
        // Where the time is over nobody knows whether the server has committed, and the connection is closed.
        let commit = async move { desk.core.link.in_time(self.finish_and_commit()).await };
        Box::pin(async move { on_runtime(commit).await? })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::new(self.open).rollback()
    }
}
