//! Connections to a database, and calls over them.
//!
//! Architecture Invariant: everything here runs on idem's own runtime, so that the connections go on while a handler
//! blocks its threads, and outlive the caller's runtime.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::{Connection as _, Pool};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::dialect::{Connection, Reply, StoreDialect};
use super::errors::{meaning, store_error, timed_out};
use super::meaning::SqlErrorMeaning;
use super::pooled::PooledConnection;
use crate::store::StoreError;

/// How often a call is repeated after the database has rolled it back for another one's sake.
const MOST_CONFLICTS: u32 = 10;
/// How often a call is repeated on another connection.
const MOST_BROKEN: u32 = 2;

/// Work on one connection.
pub(in crate::store) trait ConnectionWork<D: StoreDialect>: Send + Sync {
    type Output: Send;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl Reply<Self::Output>;
}

/// The way to a database.
pub(in crate::store) struct SqlLink<D: StoreDialect> {
    pub(in crate::store) dialect: D,
    /// For errors: where the database is.
    pub(in crate::store) name: String,
    source: ConnectionSource<D>,
    permits: Semaphore,
    connections: u32,
    response_timeout: Duration,
    interruptions: AtomicU64,
}

/// Where connections come from.
pub(in crate::store) enum ConnectionSource<D: StoreDialect> {
    /// idem's own ones. No `Pool`, because that asks the server of every connection that comes back whether it is
    /// alive, and a call would be two round trips.
    Own { options: Options<D>, idle: Mutex<Vec<Connection<D>>> },
    /// The user's pool.
    Pool(Pool<D::Db>),
}

pub(in crate::store) type Options<D> = <Connection<D> as sqlx::Connection>::Options;

enum HeldConnection<D: StoreDialect> {
    Own(Connection<D>),
    Pooled(PooledConnection<D>),
}

impl<D: StoreDialect> HeldConnection<D> {
    fn connection(&mut self) -> &mut Connection<D> {
        match self {
            Self::Own(connection) => connection,
            Self::Pooled(connection) => connection.get(),
        }
    }
}

/// Whether a connection has failed otherwise than by the server's word, or leads to a server of no use.
fn is_useless_after<D: StoreDialect>(error: &sqlx::Error) -> bool {
    error.as_database_error().is_none()
        || matches!(
            meaning::<D>(error),
            SqlErrorMeaning::Broken | SqlErrorMeaning::ReadOnly | SqlErrorMeaning::Ended
        )
}

impl<D: StoreDialect> ConnectionSource<D> {
    pub(in crate::store) fn own(options: Options<D>) -> Self {
        Self::Own { options, idle: Mutex::default() }
    }
}

impl<D: StoreDialect> SqlLink<D> {
    pub(in crate::store) fn new(
        dialect: D,
        name: String,
        source: ConnectionSource<D>,
        connections: u32,
        response_timeout: Duration,
    ) -> Self {
        let permits = Semaphore::new(connections.max(1) as usize);
        let interruptions = AtomicU64::new(0);
        Self { dialect, name, source, permits, connections, response_timeout, interruptions }
    }

    pub(in crate::store) fn source(&self) -> &ConnectionSource<D> {
        &self.source
    }

    pub(in crate::store) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// How many connections there are at most.
    pub(in crate::store) fn connections(&self) -> u32 {
        self.connections
    }

    /// How often a connection has broken or stayed silent.
    pub(in crate::store) fn interruptions(&self) -> u64 {
        self.interruptions.load(Ordering::Acquire)
    }

    /// Says that the server was not heard from: it may have lost something meanwhile.
    pub(in crate::store) fn interrupted(&self) {
        self.interruptions.fetch_add(1, Ordering::AcqRel);
    }

    /// As [`interrupted`](Self::interrupted), where an error means that.
    pub(in crate::store) fn note(&self, meaning: SqlErrorMeaning) {
        if matches!(meaning, SqlErrorMeaning::Broken | SqlErrorMeaning::ReadOnly | SqlErrorMeaning::Ended) {
            self.interrupted();
        }
    }

    /// Does the work, within the time that a call may take.
    ///
    /// It is repeated where the database rolled it back because of a deadlock, and where the connection turns out to be
    /// broken, which is safe for every work of a store.
    pub(in crate::store) async fn call<W: ConnectionWork<D>>(
        &self,
        work: &W,
    ) -> Result<W::Output, StoreError> {
        self.call_within(self.response_timeout, work).await
    }

    /// As [`call`](Self::call), with a time of its own.
    pub(in crate::store) async fn call_within<W: ConnectionWork<D>>(
        &self,
        time: Duration,
        work: &W,
    ) -> Result<W::Output, StoreError> {
        // Boxed, because what calls this would be as large as all of its steps.
        self.within(time, Box::pin(self.repeat(work))).await
    }

    /// Waits for the server, and no longer than this. Every wait for a database goes through here.
    ///
    /// Where the time is over, the wait is dropped with the connection that it holds: one whose answer is outstanding is never
    /// given back.
    pub(in crate::store) async fn within<T>(
        &self,
        time: Duration,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        timeout(time, answer).await.unwrap_or_else(|_| {
            self.interrupted();
            Err(timed_out::<D>(&self.name))
        })
    }

    /// As [`within`](Self::within), for a call of several steps.
    pub(in crate::store) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.within(self.response_timeout, answer).await
    }

    async fn repeat<W: ConnectionWork<D>>(&self, work: &W) -> Result<W::Output, StoreError> {
        let (mut conflicts, mut broken) = (0, 0);
        loop {
            let error = match self.attempt(work).await {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            let meaning = meaning::<D>(&error);
            self.note(meaning);
            match meaning {
                SqlErrorMeaning::Conflict if conflicts < MOST_CONFLICTS => {
                    conflicts += 1;
                    sleep(Duration::from_millis(rand::random_range(0..=2 * u64::from(conflicts)))).await;
                }
                // A read-only server may have been the primary until a failover, and the name lead to another one by now.
                SqlErrorMeaning::Broken | SqlErrorMeaning::ReadOnly | SqlErrorMeaning::Ended
                    if broken < MOST_BROKEN =>
                {
                    broken += 1;
                    self.forget_idle();
                }
                _ => return Err(store_error::<D>(&error, &self.name)),
            }
        }
    }

    async fn attempt<W: ConnectionWork<D>>(&self, work: &W) -> sqlx::Result<W::Output> {
        let _permit = self.permits.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut held = self.acquire().await?;
        let result = work.run(&self.dialect, held.connection()).await;
        match &result {
            Err(error) if is_useless_after::<D>(error) => drop(held),
            _ => self.give_back(held),
        }
        result
    }

    async fn acquire(&self) -> sqlx::Result<HeldConnection<D>> {
        match &self.source {
            ConnectionSource::Own { options, idle } => {
                let kept = idle.lock().pop();
                match kept {
                    Some(connection) => Ok(HeldConnection::Own(connection)),
                    None => self.connect(options).await.map(HeldConnection::Own),
                }
            }
            ConnectionSource::Pool(pool) => {
                Ok(HeldConnection::Pooled(PooledConnection::new(pool.acquire().await?)))
            }
        }
    }

    async fn connect(&self, options: &Options<D>) -> sqlx::Result<Connection<D>> {
        let mut connection = Connection::<D>::connect_with(options).await?;
        self.dialect.prepare(&mut connection).await?;
        Ok(connection)
    }

    fn give_back(&self, held: HeldConnection<D>) {
        match (&self.source, held) {
            (ConnectionSource::Own { idle, .. }, HeldConnection::Own(connection)) => {
                idle.lock().push(connection);
            }
            (_, HeldConnection::Pooled(connection)) => connection.give_back(self.response_timeout),
            (ConnectionSource::Pool(_), HeldConnection::Own(_)) => {}
        }
    }

    /// A failure that breaks one connection mostly breaks the others too.
    fn forget_idle(&self) {
        if let ConnectionSource::Own { idle, .. } = &self.source {
            idle.lock().clear();
        }
    }
}
