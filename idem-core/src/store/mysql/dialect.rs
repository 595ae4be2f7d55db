//! The statements of MySQL and MariaDB.

use std::sync::OnceLock;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::mysql::{MySqlConnection, MySqlDatabaseError};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _, SqlStr, query, query_as, query_scalar,
};

use super::check::{self, Flavour};
use super::errors;
use super::json::{json, quoted_or_null};
use super::upsert::{MySqlQuery, Upsert, by_keys, fetch};
use crate::doubt::MessageId;
use crate::record::Token;
use crate::store::sql::{
    BatchEntry, BatchRequest, DurabilityRisk, IN_PROGRESS, KeyRow, KnownCode, Names, PurgedRange, RELEASED,
    RecordRow, Shapes, StoreDialect, doubt, ended, last, micros,
};
use crate::store::{Attempts, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, StoreError};

const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_records.sql")];
const OUTBOX_MIGRATIONS: [&str; 1] = [include_str!("migrations/outbox/0001_outbox.sql")];

/// The statements, with the tables' names in them.
pub(in crate::store) struct MySql {
    names: Names,
    migrations: &'static [&'static str],
    response_timeout: Duration,
    /// Known when the server was first spoken to.
    flavour: OnceLock<Flavour>,
    claim: Upsert,
    freshen: SqlStr,
    complete: Upsert,
    renew: SqlStr,
    renewed: Shapes,
    release: SqlStr,
    read: Shapes,
    stand: Shapes,
    finish: SqlStr,
    remove: SqlStr,
    lead: SqlStr,
    purge_end: SqlStr,
    purge_expired: SqlStr,
    purge_lock: Shapes,
    purge: Shapes,
}

/// The clock of the moment, in µs: the statement's beginning, and how long ago that is by now, whatever the session's time zone.
/// With `--sysdate-is-now` it is the beginning alone, from before the statement waited.
const NOW: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) \
    + GREATEST(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)), 0)";

impl MySql {
    pub(super) fn new(names: &Names, response_timeout: Duration, flavour: Option<Flavour>) -> Self {
        let write = |upsert: &str, returning: &str| Upsert::new(names, upsert, returning);
        Self {
            names: names.clone(),
            migrations: &MIGRATIONS,
            response_timeout,
            flavour: flavour.map_or_else(OnceLock::new, OnceLock::from),
            claim: write(
                &include_str!("sql/claim.sql").replace("/*now*/", NOW),
                &include_str!("sql/claim_returning.sql").replace("/*now*/", NOW),
            ),
            freshen: names.statement(&include_str!("sql/freshen.sql").replace("/*now*/", NOW)),
            complete: write(include_str!("sql/complete.sql"), include_str!("sql/complete_returning.sql")),
            renew: names.statement(include_str!("sql/renew.sql")),
            renewed: Shapes::new(names, include_str!("sql/renewed.sql")),
            release: names.statement(include_str!("sql/release.sql")),
            read: Shapes::new(names, include_str!("sql/read.sql")),
            stand: Shapes::new(names, include_str!("sql/stand.sql")),
            finish: names.statement(include_str!("sql/finish.sql")),
            remove: names.statement(include_str!("sql/remove.sql")),
            lead: names.statement(include_str!("sql/lead.sql")),
            purge_end: names.statement(include_str!("sql/purge_end.sql")),
            purge_expired: names.statement(include_str!("sql/purge_expired.sql")),
            purge_lock: Shapes::new(names, include_str!("sql/purge_lock.sql")),
            purge: Shapes::new(names, include_str!("sql/purge.sql")),
        }
    }

    /// The same for an outbox's tables.
    pub(in crate::store) fn of_outbox(self) -> Self {
        Self { migrations: &OUTBOX_MIGRATIONS, ..self }
    }

    /// All migrations, as one script.
    pub(in crate::store) fn script(&self) -> String {
        self.migrations.iter().map(|migration| self.names.text(migration)).collect::<Vec<_>>().join("\n")
    }

    /// MariaDB's own statements are not tried before the server is known to be one.
    fn flavour(&self) -> Flavour {
        self.flavour.get().copied().unwrap_or(Flavour::MySql)
    }

    /// Changes the records that are in progress under their tokens. Mostly all are, and then that is all; else all are read,
    /// by `others`.
    async fn update<R: BatchRequest<Found = KeyRow>>(
        &self,
        on: &mut MySqlConnection,
        statement: &SqlStr,
        others: &Shapes,
        batch: &[BatchEntry<R>],
        state: i64,
        own: impl Fn(&R) -> (Token, String),
    ) -> sqlx::Result<Vec<KeyRow>> {
        let input = json(batch, |request| own(request));
        // As the protocol counts here, a row that was the same before is one, too.
        let found = query(statement.clone()).bind(input).execute(&mut *on).await?.rows_affected();
        if usize::try_from(found).is_ok_and(|found| found == batch.len()) {
            let done = |entry: &BatchEntry<R>| KeyRow::done(entry.key.clone(), state, own(&entry.request).0);
            return Ok(batch.iter().map(done).collect());
        }
        fetch::<R>(on, by_keys(others, batch)).await
    }
}

impl StoreDialect for MySql {
    type Db = sqlx::MySql;
    const NAME: &'static str = "mysql";
    const TITLE: &'static str = "MySQL";

    /// Gaps between keys are not locked, so that inserts of different keys do not wait for each other; each statement
    /// is a transaction; and nothing that does not fit is cut.
    async fn prepare(&self, on: &mut MySqlConnection) -> sqlx::Result<()> {
        let lock_wait = self.response_timeout.as_secs().max(1);
        let settings = format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SET SESSION autocommit = 1, SESSION innodb_lock_wait_timeout = {lock_wait}, \
             SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
        );
        on.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await?;
        Ok(())
    }

    async fn check(&self, on: &mut MySqlConnection, at: &str) -> sqlx::Result<Result<(), StoreError>> {
        let checked = check::server(on, at).await?;
        Ok(checked.map(|flavour| {
            self.flavour.get_or_init(|| flavour);
        }))
    }

    async fn durability_risks(&self, on: &mut MySqlConnection) -> sqlx::Result<Vec<DurabilityRisk>> {
        check::durability_risks(on).await
    }

    async fn claim(
        &self,
        on: &mut MySqlConnection,
        batch: &[BatchEntry<ClaimRequest>],
    ) -> sqlx::Result<Vec<RecordRow>> {
        let bind = |bound: MySqlQuery, request: &ClaimRequest| {
            let lease = micros(request.lease);
            bound
                .bind(request.token.to_bytes().to_vec())
                .bind(request.fingerprint.map(|fingerprint| fingerprint.to_bytes().to_vec()))
                .bind(request.member.to_bytes().to_vec())
                .bind(request.message.map(MessageId::to_vec))
                .bind(lease)
                .bind(lease.saturating_add(micros(request.retention)))
        };
        self.claim.run(self.flavour(), on, batch, bind, &self.read).await
    }

    /// MySQL reads the rows by another statement, so that a round trip is part of it.
    fn prompt(&self) -> Duration {
        Duration::from_micros(if self.flavour() == Flavour::MariaDb { 100 } else { 1_000 })
    }

    async fn freshen(
        &self,
        on: &mut MySqlConnection,
        batch: &[BatchEntry<ClaimRequest>],
    ) -> sqlx::Result<()> {
        let input = json(batch, |request| (request.token, "0".to_owned()));
        query(self.freshen.clone()).bind(input).execute(on).await.map(drop)
    }

    async fn renew(
        &self,
        on: &mut MySqlConnection,
        batch: &[BatchEntry<RenewRequest>],
    ) -> sqlx::Result<Vec<KeyRow>> {
        let own = |request: &RenewRequest| {
            let (lease, retention) = (micros(request.lease), micros(request.retention));
            let mut rest = format!("{lease},{retention},");
            quoted_or_null(&mut rest, ended(request).as_deref());
            (request.token, rest)
        };
        let mut rows = self.update(on, &self.renew, &self.renewed, batch, IN_PROGRESS, own).await?;
        for row in &mut rows {
            let place = batch.binary_search_by(|entry| entry.key.cmp(&row.key));
            if place.is_ok_and(|place| batch[place].request.ends_doubt.is_none()) {
                row.is_made();
            }
        }
        Ok(rows)
    }

    async fn complete(
        &self,
        on: &mut MySqlConnection,
        batch: &[BatchEntry<CompleteRequest>],
    ) -> sqlx::Result<Vec<KeyRow>> {
        let bind = |bound: MySqlQuery, request: &CompleteRequest| {
            bound
                .bind(request.token.to_bytes().to_vec())
                .bind(i64::try_from(request.fence.0).unwrap_or(i64::MAX))
                .bind(request.fingerprint.map(|fingerprint| fingerprint.to_bytes().to_vec()))
                .bind(request.reply.as_ref().map(|reply| reply.to_vec()))
                .bind(request.member.to_bytes().to_vec())
                .bind(request.message.map(MessageId::to_vec))
                .bind(micros(request.retention))
        };
        self.complete.run(self.flavour(), on, batch, bind, &self.stand).await
    }

    async fn release(
        &self,
        on: &mut MySqlConnection,
        batch: &[BatchEntry<ReleaseRequest>],
    ) -> sqlx::Result<Vec<KeyRow>> {
        let own = |request: &ReleaseRequest| {
            let counted = match request.attempts {
                Attempts::Keep => 0,
                Attempts::Count => 1,
                Attempts::Reset => -1,
            };
            let mut rest = format!("{},{counted}", micros(request.retention));
            for bytes in [doubt(request), last(request)] {
                rest.push(',');
                quoted_or_null(&mut rest, bytes.as_deref());
            }
            (request.token, rest)
        };
        self.update(on, &self.release, &self.stand, batch, RELEASED, own).await
    }

    /// After a deadlock, which ends the whole transaction, what a handler does that has not seen it must not be committed
    /// statement by statement: it is part of the next transaction, which has no record and is rolled back.
    async fn prepare_handlers(&self, on: &mut MySqlConnection) -> sqlx::Result<()> {
        on.execute("SET SESSION autocommit = 0").await.map(drop)
    }

    async fn rest_handlers(&self, on: &mut MySqlConnection) -> sqlx::Result<()> {
        let settings = "SET SESSION autocommit = 1; SET SESSION TRANSACTION READ WRITE";
        on.execute(sqlx::raw_sql(settings)).await.map(drop)
    }

    /// The session's transactions are read-only, but for this one.
    fn begin(&self, wait: Duration) -> Option<SqlStr> {
        let begin = format!(
            "SET SESSION innodb_lock_wait_timeout = {}; SET SESSION TRANSACTION READ ONLY; \
             SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ WRITE",
            wait.as_secs().max(1)
        );
        Some(AssertSqlSafe(begin).into_sql_str())
    }

    async fn claimed(&self, on: &mut MySqlConnection) -> sqlx::Result<()> {
        on.execute("SET SESSION innodb_lock_wait_timeout = DEFAULT").await.map(drop)
    }

    async fn finish(
        &self,
        on: &mut MySqlConnection,
        batch: &[BatchEntry<CompleteRequest>],
    ) -> sqlx::Result<u64> {
        let input = json(batch, |request| {
            let mut rest = format!("{},", micros(request.retention));
            quoted_or_null(&mut rest, request.reply.as_deref());
            (request.token, rest)
        });
        Ok(query(self.finish.clone()).bind(input).execute(on).await?.rows_affected())
    }

    async fn read(&self, on: &mut MySqlConnection, key: &[u8]) -> sqlx::Result<Option<RecordRow>> {
        let (statement, _) = self.read.fit(&[key]);
        query_as(statement).bind(key).fetch_optional(on).await
    }

    async fn remove(&self, on: &mut MySqlConnection, key: &[u8], claim: Option<&[u8]>) -> sqlx::Result<bool> {
        Ok(query(self.remove.clone()).bind(key).bind(claim).bind(claim).execute(on).await?.rows_affected()
            > 0)
    }

    fn migrations(&self) -> &'static [&'static str] {
        self.migrations
    }

    async fn schema(&self, on: &mut MySqlConnection) -> sqlx::Result<Option<i64>> {
        let version = self.names.statement("SELECT `value` FROM `idem_records_meta` WHERE `name` = 'schema'");
        match query_scalar(version).fetch_optional(on).await {
            Err(error) if errors::is_no_table(&error) => Ok(None),
            version => version,
        }
    }

    /// These databases commit each change of a table by itself, so that a migration that was cut off is done again from
    /// its beginning. Its last step is the version.
    async fn migrate(&self, on: &mut MySqlConnection) -> sqlx::Result<()> {
        query("SELECT GET_LOCK('idem migrations', 600)").execute(&mut *on).await?;
        let version = self.schema(on).await?.unwrap_or(0);
        for migration in self.migrations.iter().skip(usize::try_from(version).unwrap_or(0)) {
            on.execute(sqlx::raw_sql(AssertSqlSafe(self.names.text(migration)))).await?;
        }
        query("DO RELEASE_LOCK('idem migrations')").execute(on).await?;
        Ok(())
    }

    async fn lead(
        &self,
        on: &mut MySqlConnection,
        holder: &[u8],
        lease: i64,
        position: Option<&[u8]>,
    ) -> sqlx::Result<Option<Vec<u8>>> {
        let lead = query(self.lead.clone()).bind(holder).bind(lease).bind(position).bind(holder);
        if lead.execute(&mut *on).await?.rows_affected() == 0 {
            return Ok(None);
        }
        let position = "SELECT COALESCE(`position`, '') FROM `idem_records_meta` WHERE `name` = 'purge'";
        query_scalar(self.names.statement(position)).fetch_optional(on).await
    }

    /// Expired records are read without a lock; then those that no transaction holds are locked and deleted by their keys: a
    /// delete over the range would wait for every record in it that a transaction holds.
    async fn purge(&self, on: &mut MySqlConnection, behind: &[u8], rows: i64) -> sqlx::Result<PurgedRange> {
        let end: Option<Vec<u8>> =
            query_scalar(self.purge_end.clone()).bind(behind).bind(rows - 1).fetch_optional(&mut *on).await?;
        let expired: Vec<Vec<u8>> = query_scalar(self.purge_expired.clone())
            .bind(behind)
            .bind(end.as_deref())
            .bind(end.as_deref())
            .fetch_all(&mut *on)
            .await?;
        if expired.is_empty() {
            return Ok(PurgedRange { end, deleted: 0 });
        }
        let mut transaction = on.begin().await?;
        let (statement, keys) = self.purge_lock.fit(&expired);
        let lock = keys.fold(query_scalar(statement), |bound, key| bound.bind(key.clone()));
        let locked: Vec<Vec<u8>> = lock.fetch_all(&mut *transaction).await?;
        let mut deleted = 0;
        if !locked.is_empty() {
            let (statement, keys) = self.purge.fit(&locked);
            let delete = keys.fold(query(statement), |bound, key| bound.bind(key.clone()));
            deleted = delete.execute(&mut *transaction).await?.rows_affected();
        }
        transaction.commit().await?;
        Ok(PurgedRange { end, deleted })
    }

    async fn identity(&self, on: &mut MySqlConnection) -> sqlx::Result<String> {
        // Both the time and how long the server has been up are those of the statement's start: what is between them is the
        // start's own time, to the second, and does not move when the clock is set.
        let (server, status) = match self.flavour() {
            Flavour::MySql => ("@@server_uuid", "performance_schema.global_status"),
            Flavour::MariaDb => ("@@hostname, @@port, @@server_id", "information_schema.GLOBAL_STATUS"),
        };
        let identity = format!(
            "SELECT CONCAT_WS(' ', {server}, UNIX_TIMESTAMP() - \
             (SELECT VARIABLE_VALUE FROM {status} WHERE VARIABLE_NAME = 'Uptime'), `value`)
            FROM `idem_records_meta` WHERE `name` = 'epoch'"
        );
        query_scalar(self.names.statement(&identity)).fetch_one(on).await
    }

    async fn new_epoch(&self, on: &mut MySqlConnection) -> sqlx::Result<()> {
        let epoch = self.names.statement(
            "UPDATE `idem_records_meta`
            SET `value` = GREATEST(`value` + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))
            WHERE `name` = 'epoch'",
        );
        query(epoch).execute(on).await.map(drop)
    }

    fn code(error: &dyn DatabaseError) -> String {
        error
            .try_downcast_ref::<MySqlDatabaseError>()
            .map_or_else(String::new, |error| error.number().to_string())
    }

    fn known(error: &dyn DatabaseError) -> KnownCode {
        errors::known(error)
    }
}
