//! Connections to a database, and calls over them.
//!
//! Architecture Invariant: everything here runs on idem's own runtime, so that the connections go on while a handler
//! blocks its threads, and outlive the caller's runtime.

use std::time::Duration;

use parking_lot::Mutex;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Pool};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::dialect::{Connection, Dialect, Reply};
use super::errors::{Meaning, meaning, store_error, timed_out};
use crate::store::StoreError;

/// How often a call is repeated after the database has rolled it back for another one's sake.
const MOST_CONFLICTS: u32 = 10;
/// How often a call is repeated on another connection.
const MOST_BROKEN: u32 = 2;

/// What is done on one connection.
pub(in crate::store) trait Work<D: Dialect>: Send + Sync {
    type Output: Send;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl Reply<Self::Output>;
}

/// The way to a database.
pub(in crate::store) struct Link<D: Dialect> {
    pub(in crate::store) dialect: D,
    /// For errors: where the database is.
    pub(in crate::store) name: String,
    source: Source<D>,
    permits: Semaphore,
    connections: u32,
    response_timeout: Duration,
}

/// Where connections come from.
pub(in crate::store) enum Source<D: Dialect> {
    /// idem's own ones. No `Pool`, because that asks the server of every connection that comes back whether it is
    /// alive, and a call would be two round trips.
    Own { options: Options<D>, idle: Mutex<Vec<Connection<D>>> },
    /// The user's pool.
    Pool(Pool<D::Db>),
}

pub(in crate::store) type Options<D> = <Connection<D> as sqlx::Connection>::Options;

enum Held<D: Dialect> {
    Own(Connection<D>),
    Pooled(PoolConnection<D::Db>),
}

impl<D: Dialect> Held<D> {
    fn connection(&mut self) -> &mut Connection<D> {
        match self {
            Self::Own(connection) => connection,
            Self::Pooled(connection) => connection,
        }
    }

    /// One whose call is dropped half-way is not given back either: sqlx's pool notices by itself.
    fn discard(self) {
        if let Self::Pooled(mut connection) = self {
            connection.close_on_drop();
        }
    }
}

/// Whether a connection has failed otherwise than by the server's word, or leads to a server of no use.
fn is_useless_after<D: Dialect>(error: &sqlx::Error) -> bool {
    error.as_database_error().is_none() || matches!(meaning::<D>(error), Meaning::Broken | Meaning::ReadOnly)
}

impl<D: Dialect> Source<D> {
    pub(in crate::store) fn own(options: Options<D>) -> Self {
        Self::Own { options, idle: Mutex::default() }
    }
}

impl<D: Dialect> Link<D> {
    pub(in crate::store) fn new(
        dialect: D,
        name: String,
        source: Source<D>,
        connections: u32,
        response_timeout: Duration,
    ) -> Self {
        let permits = Semaphore::new(connections.max(1) as usize);
        Self { dialect, name, source, permits, connections, response_timeout }
    }

    pub(in crate::store) fn source(&self) -> &Source<D> {
        &self.source
    }

    pub(in crate::store) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// How many connections there are at most.
    pub(in crate::store) fn connections(&self) -> u32 {
        self.connections
    }

    /// Does the work, within the time that a call may take.
    ///
    /// It is repeated where the database rolled it back because of a deadlock, and where the connection turns out to be
    /// broken, which is safe for every work of a store.
    pub(in crate::store) async fn call<W: Work<D>>(&self, work: &W) -> Result<W::Output, StoreError> {
        self.call_within(self.response_timeout, work).await
    }

    /// As [`call`](Self::call), with a time of its own.
    pub(in crate::store) async fn call_within<W: Work<D>>(
        &self,
        time: Duration,
        work: &W,
    ) -> Result<W::Output, StoreError> {
        let deadline = Instant::now() + time;
        let (mut conflicts, mut broken) = (0, 0);
        loop {
            let Ok(tried) = timeout_at(deadline, self.attempt(work)).await else {
                return Err(timed_out::<D>(&self.name));
            };
            let error = match tried {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            match meaning::<D>(&error) {
                Meaning::Conflict if conflicts < MOST_CONFLICTS => {
                    conflicts += 1;
                    sleep(Duration::from_millis(rand::random_range(0..=2 * u64::from(conflicts)))).await;
                }
                // A read-only server may have been the primary until a failover, and the name lead to another one by now.
                Meaning::Broken | Meaning::ReadOnly if broken < MOST_BROKEN => {
                    broken += 1;
                    self.forget_idle();
                }
                _ => return Err(store_error::<D>(error, &self.name)),
            }
        }
    }

    async fn attempt<W: Work<D>>(&self, work: &W) -> sqlx::Result<W::Output> {
        let _permit = self.permits.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut held = self.acquire().await?;
        let result = work.run(&self.dialect, held.connection()).await;
        match &result {
            Err(error) if is_useless_after::<D>(error) => held.discard(),
            _ => self.give_back(held),
        }
        result
    }

    async fn acquire(&self) -> sqlx::Result<Held<D>> {
        match &self.source {
            Source::Own { options, idle } => {
                let kept = idle.lock().pop();
                match kept {
                    Some(connection) => Ok(Held::Own(connection)),
                    None => self.connect(options).await.map(Held::Own),
                }
            }
            Source::Pool(pool) => pool.acquire().await.map(Held::Pooled),
        }
    }

    async fn connect(&self, options: &Options<D>) -> sqlx::Result<Connection<D>> {
        let mut connection = Connection::<D>::connect_with(options).await?;
        self.dialect.prepare(&mut connection).await?;
        Ok(connection)
    }

    fn give_back(&self, held: Held<D>) {
        if let (Source::Own { idle, .. }, Held::Own(connection)) = (&self.source, held) {
            idle.lock().push(connection);
        }
    }

    /// What broke one connection has broken the others too, mostly.
    fn forget_idle(&self) {
        if let Source::Own { idle, .. } = &self.source {
            idle.lock().clear();
        }
    }
}
