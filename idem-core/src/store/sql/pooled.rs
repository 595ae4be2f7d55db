//! A connection of the user's pool.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use tokio::time::timeout;

use super::dialect::{Connection, StoreDialect};
use crate::panics::loud;
use crate::runtime;

/// One that is closed unless it is given back: with an answer outstanding it is of no use to anybody.
pub(super) struct PooledConnection<D: StoreDialect>(Option<PoolConnection<D::Db>>);

impl<D: StoreDialect> PooledConnection<D> {
    pub(super) fn new(mut connection: PoolConnection<D::Db>) -> Self {
        connection.close_on_drop();
        Self(Some(connection))
    }

    pub(super) fn get(&mut self) -> &mut Connection<D> {
        self.0.as_mut().expect("it is there until it is given back")
    }

    /// Gives it back. Nobody waits for that: a pool asks the server first whether it is alive, and one that falls silent must
    /// not hold up what it has answered.
    pub(super) fn give_back(mut self, longest: Duration) {
        if let Some(mut connection) = self.0.take() {
            let returning = async move { timeout(longest, connection.return_to_pool()).await };
            runtime::handle().spawn(loud("connection", returning, || {}));
        }
    }
}

impl<D: StoreDialect> Drop for PooledConnection<D> {
    fn drop(&mut self) {
        // sqlx closes it in a task, and there may be no runtime here.
        let _entered = runtime::handle().enter();
        drop(self.0.take());
    }
}
