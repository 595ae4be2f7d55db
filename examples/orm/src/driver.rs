//! diesel-async as idem's way to PostgreSQL. This file is all that another program needs, too.

use std::error::Error;

use diesel::pg::Pg;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{Binary, Nullable};
use diesel::{OptionalExtension as _, QueryableByName, sql_query};
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
    TransactionManager as _,
};
use idem_rocketmq::store::{DriverResult, PostgresDriver};

/// Transactions on connections of a pool of diesel's.
pub(crate) struct Diesel(pub(crate) Pool<AsyncPgConnection>);

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Binary)]
    value: Vec<u8>,
}

impl PostgresDriver for Diesel {
    type Transaction = Object<AsyncPgConnection>;
    type Connection = AsyncPgConnection;

    fn max_open(&self) -> usize {
        self.0.status().max_size
    }

    async fn begin(&self) -> DriverResult<Object<AsyncPgConnection>> {
        let mut pooled = self.0.get().await?;
        pooled.batch_execute(Self::READ_ONLY_OUTSIDE).await?;
        AnsiTransactionManager::begin_transaction(&mut *pooled).await?;
        Ok(pooled)
    }

    fn connection(pooled: &mut Object<AsyncPgConnection>) -> &mut AsyncPgConnection {
        pooled
    }

    async fn query(
        connection: &mut AsyncPgConnection,
        statement: &str,
        parameters: &[Option<&[u8]>],
    ) -> DriverResult<Option<Vec<u8>>> {
        let mut query = sql_query(statement).into_boxed::<Pg>();
        for parameter in parameters {
            query = query.bind::<Nullable<Binary>, _>(*parameter);
        }
        let row: Option<Row> = query.get_result(connection).await.optional()?;
        Ok(row.map(|row| row.value))
    }

    async fn commit(connection: &mut AsyncPgConnection) -> DriverResult<()> {
        Ok(AnsiTransactionManager::commit_transaction(connection).await?)
    }

    async fn rollback(connection: &mut AsyncPgConnection) -> DriverResult<()> {
        Ok(AnsiTransactionManager::rollback_transaction(connection).await?)
    }

    /// diesel has a kind for one of the two, and of the other only the server's words.
    fn is_conflict(error: &(dyn Error + 'static)) -> bool {
        match error.downcast_ref() {
            Some(DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _)) => true,
            Some(DieselError::DatabaseError(_, words)) => words.message() == "deadlock detected",
            _ => false,
        }
    }
}
