//! Transactions in which handlers work beside their records.
//!
//! Their connections are apart from those of the store's calls, so that a long handler keeps no lease from being renewed,
//! and that they have none of the settings that suit idem's statements alone. They live on the runtime that asks for the
//! transaction, the handler's own: over another's, each statement would wake up two threads more.

use std::any::Any;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use sqlx::Database;
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use super::SqlStoreCore;
use super::batch;
use super::dialect::{Connection, StoreDialect};
use super::entry::BatchEntry;
use super::errors::{meaning, said, store_error, timed_out};
use super::found::RowAnswer;
use super::link::ConnectionSource;
use super::meaning::SqlErrorMeaning;
use super::pooled::PooledConnection;
use crate::panics::loud;
use crate::runtime;
use crate::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, ConnectionType, SavepointEnd, StoreError,
    Transaction, Transactions,
};

/// How often a beginning is tried on another connection.
const MOST_BROKEN: u32 = 2;

type DialectManager<D> = <<D as StoreDialect>::Db as Database>::TransactionManager;

/// The connections of handlers.
pub(in crate::store) struct HandlerConnections<D: StoreDialect> {
    permits: Arc<Semaphore>,
    most: usize,
    /// Each with the runtime on which it lives; the last one was used last.
    idle: Mutex<Vec<(Id, Connection<D>)>>,
}

impl<D: StoreDialect> HandlerConnections<D> {
    pub(in crate::store) fn new(most: u32) -> Self {
        let most = most.max(1) as usize;
        Self { permits: Arc::new(Semaphore::new(most)), most, idle: Mutex::default() }
    }

    /// An idle connection of this runtime, for the holder of a permit. Where there is none, room is made for a fresh one: a
    /// runtime that has ended takes none of its connections along.
    fn take_idle(&self, runtime: Id) -> Option<Connection<D>> {
        let mut idle = self.idle.lock();
        if let Some(place) = idle.iter().rposition(|(home, _)| *home == runtime) {
            return Some(idle.remove(place).1);
        }
        let in_use = self.most - self.permits.available_permits();
        if idle.len() + in_use > self.most {
            idle.remove(0);
        }
        None
    }
}

/// The transactions of a SQL store.
pub(in crate::store) struct SqlTransactions<D: StoreDialect>(pub(in crate::store) Arc<SqlStoreCore<D>>);

impl<D: StoreDialect> Transactions for SqlTransactions<D> {
    fn connection(&self) -> ConnectionType {
        ConnectionType::of::<Connection<D>>()
    }

    fn max_open(&self) -> usize {
        self.0.handlers.most
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StoreError>> {
        Box::pin(
            async move { Ok(Box::new(SqlTransaction::begin(self.0.clone()).await?) as Box<dyn Transaction>) },
        )
    }

    fn is_conflict(&self, error: &(dyn StdError + 'static)) -> bool {
        error
            .downcast_ref::<sqlx::Error>()
            .is_some_and(|error| meaning::<D>(error) == SqlErrorMeaning::Conflict)
    }
}

/// An open transaction. Where it is dropped, its connection is closed, and the database rolls it back.
pub(super) struct SqlTransaction<D: StoreDialect> {
    core: Arc<SqlStoreCore<D>>,
    connection: HandlerConnection<D>,
    /// Whether the server has not answered in time.
    is_silent: bool,
    _permit: OwnedSemaphorePermit,
}

enum HandlerConnection<D: StoreDialect> {
    Own(Id, Connection<D>),
    Pooled(PooledConnection<D>),
}

impl<D: StoreDialect> HandlerConnection<D> {
    fn get(&mut self) -> &mut Connection<D> {
        match self {
            Self::Own(_, connection) => connection,
            Self::Pooled(connection) => connection.get(),
        }
    }
}

impl<D: StoreDialect> SqlStoreCore<D> {
    /// An idle connection of handlers, or a fresh one.
    async fn handlers_connection(&self, fresh: bool) -> sqlx::Result<HandlerConnection<D>> {
        match self.link.source() {
            ConnectionSource::Pool(pool) => {
                let mut connection = PooledConnection::new(pool.acquire().await?);
                self.link.dialect.prepare_handlers(connection.get()).await?;
                Ok(HandlerConnection::Pooled(connection))
            }
            ConnectionSource::Own { options, .. } => {
                let runtime = Handle::current().id();
                if let Some(connection) = self.handlers.take_idle(runtime).filter(|_| !fresh) {
                    return Ok(HandlerConnection::Own(runtime, connection));
                }
                let mut connection = <Connection<D> as sqlx::Connection>::connect_with(options).await?;
                self.link.dialect.adopt(&mut connection, self.link.response_timeout()).await?;
                Ok(HandlerConnection::Own(runtime, connection))
            }
        }
    }
}

impl<D: StoreDialect> SqlTransaction<D> {
    pub(super) async fn begin(core: Arc<SqlStoreCore<D>>) -> Result<Self, StoreError> {
        let asked = Instant::now();
        let bound = core.link.response_timeout();
        let permit = timeout(bound, core.handlers.permits.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(StoreError::unavailable(format!(
                "all {} connections to {} at {} that are for transactions are in use",
                core.handlers.most,
                D::TITLE,
                core.link.name
            )));
        };
        let left = bound.saturating_sub(asked.elapsed());
        let connection = core.link.within(left, Self::begin_on_one(&core)).await?;
        Ok(Self { core, connection, is_silent: false, _permit: permit })
    }

    async fn begin_on_one(core: &SqlStoreCore<D>) -> Result<HandlerConnection<D>, StoreError> {
        let mut broken = 0;
        loop {
            let begun = async {
                let mut held = core.handlers_connection(broken > 0).await?;
                let (dialect, bound) = (&core.link.dialect, core.link.response_timeout());
                let begin = match &held {
                    HandlerConnection::Own(..) => dialect.begin_adopted(bound),
                    HandlerConnection::Pooled(_) => dialect.begin(bound),
                };
                DialectManager::<D>::begin(held.get(), begin).await?;
                dialect.guard(held.get()).await?;
                Ok(held)
            };
            match begun.await {
                Ok(held) => return Ok(held),
                Err(error) if meaning::<D>(&error) == SqlErrorMeaning::Broken && broken < MOST_BROKEN => {
                    core.link.interrupted();
                    // A failure that breaks one connection mostly breaks the others too.
                    core.handlers.idle.lock().clear();
                    broken += 1;
                }
                Err(error) => return Err(store_error::<D>(&error, &core.link.name)),
            }
        }
    }

    pub(super) fn session(&mut self) -> &mut Connection<D> {
        self.connection.get()
    }

    /// The answers: `None` for a key that others change all the time.
    async fn claims(&mut self, requests: &[ClaimRequest]) -> sqlx::Result<Vec<RowAnswer<Claim>>> {
        let dialect = &self.core.link.dialect;
        batch::claim_inside(dialect, self.connection.get(), requests).await
    }

    /// Whether a statement failed because the transaction that it belongs to has ended.
    pub(super) fn has_ended(error: &sqlx::Error) -> bool {
        meaning::<D>(error) == SqlErrorMeaning::Ended
    }

    pub(super) fn error(&self, error: &sqlx::Error) -> StoreError {
        let meaning = meaning::<D>(error);
        self.core.link.note(meaning);
        if meaning == SqlErrorMeaning::Conflict {
            let text =
                format!("{} ended the transaction for another one's sake{}", D::TITLE, said::<D>(error));
            return StoreError::conflict(text);
        }
        store_error::<D>(error, &self.core.link.name)
    }

    /// Gives the connection back, after a transaction that ended in order.
    fn give_back(self) {
        let Self { core, connection, _permit: permit, .. } = self;
        match connection {
            HandlerConnection::Own(runtime, connection) => {
                core.handlers.idle.lock().push((runtime, connection));
            }
            HandlerConnection::Pooled(mut connection) => {
                // In a task: what has ended in order is not held up by a server that falls silent.
                let resting = async move {
                    let bound = core.link.response_timeout();
                    let rested = timeout(bound, core.link.dialect.rest_handlers(connection.get())).await;
                    if matches!(rested, Ok(Ok(()))) {
                        connection.give_back(bound);
                    }
                    drop(permit);
                };
                runtime::handle().spawn(loud("connection", resting, || {}));
            }
        }
    }
}

const TAKEN: Claim = Claim::InProgress { remaining: Duration::ZERO, fingerprint: None };

impl<D: StoreDialect> SqlTransaction<D> {
    /// The longest time of a claim: a wait for another one and an answer.
    pub(super) fn longest(&self) -> Duration {
        self.core.link.response_timeout().saturating_mul(2)
    }

    /// The longest time of any other statement of idem's.
    pub(super) fn bound(&self) -> Duration {
        self.core.link.response_timeout()
    }

    /// A server that has not answered in time is not asked again over this connection.
    fn heard<T>(&mut self, answer: Result<Result<T, StoreError>, Elapsed>) -> Result<T, StoreError> {
        answer.unwrap_or_else(|_| {
            self.is_silent = true;
            self.core.link.interrupted();
            Err(timed_out::<D>(&self.core.link.name))
        })
    }

    async fn try_claim(&mut self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        match self.claims(std::slice::from_ref(request)).await {
            Ok(mut answers) => answers.pop().flatten().unwrap_or(Ok(TAKEN)),
            Err(error) if meaning::<D>(&error) == SqlErrorMeaning::Locked => Ok(TAKEN),
            Err(error) => Err(self.error(&error)),
        }
    }

    async fn try_claim_all(&mut self, requests: &[ClaimRequest]) -> Answers<Claim> {
        match self.claims(requests).await {
            Ok(answers) => Ok(answers.into_iter().map(|answer| answer.unwrap_or(Ok(TAKEN))).collect()),
            Err(error) if meaning::<D>(&error) == SqlErrorMeaning::Locked => Err(StoreError::key_is_taken()),
            Err(error) => Err(self.error(&error)),
        }
    }

    async fn try_complete(&mut self, requests: &[CompleteRequest]) -> Result<Answer, StoreError> {
        let entries: Vec<_> = requests.iter().map(|request| BatchEntry::new(request.clone(), 0)).collect();
        let finished = match self.core.link.dialect.finish(self.connection.get(), &entries).await {
            // Somebody has ended the transaction, and what stands in the table is not to be completed.
            Err(error) if Self::has_ended(&error) => return Ok(Answer::Lost),
            finished => finished.map_err(|error| self.error(&error))?,
        };
        let are_all = usize::try_from(finished).is_ok_and(|finished| finished == requests.len());
        Ok(if are_all { Answer::Done } else { Answer::Lost })
    }

    /// Ends all but so many of a transaction and the savepoints in it, one inside of the other: a handler may have left some
    /// of its own open.
    async fn close(&mut self, but: usize, end: SavepointEnd) -> Result<(), StoreError> {
        while DialectManager::<D>::get_transaction_depth(self.connection.get()) > but {
            let ended = match end {
                SavepointEnd::Release => DialectManager::<D>::commit(self.connection.get()).await,
                SavepointEnd::Rollback => DialectManager::<D>::rollback(self.connection.get()).await,
            };
            ended.map_err(|error| self.error(&error))?;
        }
        Ok(())
    }

    async fn commit_all(&mut self) -> Result<(), StoreError> {
        let lifted = self.core.link.dialect.lift_guard(self.connection.get()).await;
        lifted.map_err(|error| self.error(&error))?;
        self.close(0, SavepointEnd::Release).await
    }

    async fn close_in_time(&mut self, but: usize, end: SavepointEnd) -> Result<(), StoreError> {
        let closed = timeout(self.bound(), self.close(but, end)).await;
        self.heard(closed)
    }
}

impl<D: StoreDialect> Transaction for SqlTransaction<D> {
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        self.connection.get()
    }

    fn claim<'a>(&'a mut self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Claim, StoreError>> {
        Box::pin(async move {
            let answer = timeout(self.longest(), self.try_claim(request)).await;
            self.heard(answer)
        })
    }

    fn claim_all<'a>(&'a mut self, requests: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        Box::pin(async move {
            let answers = timeout(self.longest(), self.try_claim_all(requests)).await;
            self.heard(answers)
        })
    }

    fn complete<'a>(&'a mut self, request: &'a CompleteRequest) -> BoxFuture<'a, Result<Answer, StoreError>> {
        self.complete_all(std::slice::from_ref(request))
    }

    fn complete_all<'a>(
        &'a mut self,
        requests: &'a [CompleteRequest],
    ) -> BoxFuture<'a, Result<Answer, StoreError>> {
        Box::pin(async move {
            let answer = timeout(self.bound(), self.try_complete(requests)).await;
            self.heard(answer)
        })
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let set = timeout(self.bound(), DialectManager::<D>::begin(self.connection.get(), None)).await;
            let set = set.map(|set| set.map_err(|error| self.error(&error)));
            self.heard(set)
        })
    }

    fn end_savepoint(&mut self, end: SavepointEnd) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.close_in_time(1, end))
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            let committed = timeout(self.bound(), self.commit_all()).await;
            self.heard(committed)?;
            self.give_back();
            Ok(())
        })
    }

    fn rollback(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if !self.is_silent && self.close_in_time(0, SavepointEnd::Rollback).await.is_ok() {
                self.give_back();
            }
        })
    }
}
