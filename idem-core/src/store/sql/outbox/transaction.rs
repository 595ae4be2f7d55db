//! Local transactions with their markers.

use std::any::Any;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::error::ErrorKind;

use super::dialect::{OutboxDialect, Value};
use super::{Desk, message};
use crate::key::RecordKey;
use crate::outbox::{Begun, LocalTransaction, OutboxMessage, TransactionId};
use crate::store::remote::on_runtime;
use crate::store::sql::transactions::Open;
use crate::store::{StoreError, Transaction as _};

pub(super) async fn begin<D: OutboxDialect>(
    desk: Arc<Desk<D>>,
    message: OutboxMessage,
    key: RecordKey,
) -> Result<Begun, StoreError> {
    let bound = desk.core.link.response_timeout();
    let begun = insert(Arc::clone(&desk), message, key);
    // It waits for another transaction under the same key, and for an answer.
    desk.core.link.within(bound.saturating_mul(2), begun).await
}

async fn insert<D: OutboxDialect>(
    desk: Arc<Desk<D>>,
    message: OutboxMessage,
    key: RecordKey,
) -> Result<Begun, StoreError> {
    let mut open = Open::begin(Arc::clone(&desk.core)).await?;
    let mut values = message::values(&message, &key);
    values.push(Value::time(desk.times.retention));
    let inserted = async {
        D::execute(open.session(), &desk.statements.insert, &values).await?;
        desk.core.link.dialect.claimed(open.session()).await
    };
    let error = match inserted.await {
        Ok(()) => return Ok(Begun::Open(Box::new(Marked { desk, id: message.id, open }))),
        Err(error) => error,
    };
    let is_taken = error.as_database_error().is_some_and(|error| error.kind() == ErrorKind::UniqueViolation);
    let error = open.error(error);
    Box::new(open).rollback().await;
    if !is_taken {
        return Err(error);
    }
    Ok(match desk.state(message.id).await? {
        Some(_) => Begun::RolledBack,
        None => Begun::KeyCommitted,
    })
}

struct Marked<D: OutboxDialect> {
    desk: Arc<Desk<D>>,
    id: TransactionId,
    open: Open<D>,
}

impl<D: OutboxDialect> Marked<D> {
    async fn finish_and_commit(mut self) -> Result<(), StoreError> {
        let values = [Value::time(self.desk.times.resend_after), Value::id(self.id)];
        let finished = D::execute(self.open.session(), &self.desk.statements.finish, &values).await;
        // The local work may have ended the transaction, or swallowed the failure of a statement, after which PostgreSQL
        // rolls back what it is told to commit.
        let lost = match finished {
            Ok(1) => return Box::new(self.open).commit().await,
            Ok(_) => StoreError::statement("the local work has ended the transaction that it ran in"),
            Err(error) => self.open.error(error),
        };
        Box::new(self.open).rollback().await;
        Err(lost)
    }
}

impl<D: OutboxDialect> LocalTransaction for Marked<D> {
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
