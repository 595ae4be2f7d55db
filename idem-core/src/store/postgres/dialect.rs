//! PostgreSQL's statements.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::QueryAs;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _, SqlStr, query, query_as, query_scalar,
};

use super::{check, errors};
use crate::doubt::MessageId;
use crate::store::sql::{
    BatchEntry, DurabilityRisk, KeyRow, KnownCode, Names, PurgedRange, RecordRow, StoreDialect, doubt, ended,
    last, micros,
};
use crate::store::{Attempts, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, StoreError};

const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_records.sql")];
const OUTBOX_MIGRATIONS: [&str; 1] = [include_str!("migrations/outbox/0001_outbox.sql")];
/// The lock that all migrations of one database wait for: any number will do, if nobody else takes it.
const LOCK: i64 = 0x6964_656d_7363_6865;

/// The session's transactions are read-only, but for this one. Said each time, because a handler may reset all settings; and
/// committed before, because a setting is rolled back with its transaction.
const BEGIN: &str = "BEGIN; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; COMMIT; BEGIN READ WRITE";
pub(super) const FINISH: &str = include_str!("sql/finish.sql");
pub(super) const FRESHEN: &str = include_str!("sql/freshen.sql");
/// A row that waits for nobody is written within this time, mostly; a transaction that was waited for has lived for longer, as
/// it is more round trips than one.
pub(super) const PROMPT: Duration = Duration::from_micros(100);
/// A claim whose rows can be asked for more.
pub(super) const CLAIM_FOUND: &str = concat!(
    include_str!("sql/claim.sql"),
    ", found (key, done, version, state, token, fence, attempts, lease_end, now, fingerprint, reply, \
     member, doubt, last, message) AS (",
    include_str!("sql/claim_rows.sql"),
    ")\n",
);

/// The statements, with the tables' names in them. None depends on a batch's size, so that each is prepared once for a
/// connection; but those for one key have a plan that is worth keeping on a connection of handlers, too, where PostgreSQL
/// chooses.
pub(in crate::store) struct Postgres {
    names: Names,
    migrations: &'static [&'static str],
    statement_timeout: String,
    claim: SqlStr,
    claim_inside: SqlStr,
    claim_one_inside: SqlStr,
    renew: SqlStr,
    complete: SqlStr,
    release: SqlStr,
    finish: SqlStr,
    finish_one: SqlStr,
    read: SqlStr,
    remove: SqlStr,
    lead: SqlStr,
    purge: SqlStr,
    freshen: SqlStr,
}

impl Postgres {
    pub(super) fn new(names: &Names, response_timeout: std::time::Duration) -> Self {
        let claim_inside = format!("{CLAIM_FOUND}{}", include_str!("sql/claim_inside.sql"));
        Self {
            names: names.clone(),
            migrations: &MIGRATIONS,
            statement_timeout: response_timeout.as_millis().to_string(),
            claim: names
                .statement(concat!(include_str!("sql/claim.sql"), include_str!("sql/claim_rows.sql"))),
            claim_inside: names.statement(&claim_inside),
            claim_one_inside: names.statement(&of_one_key(&claim_inside, bigint)),
            renew: names.statement(include_str!("sql/renew.sql")),
            complete: names.statement(include_str!("sql/complete.sql")),
            release: names.statement(include_str!("sql/release.sql")),
            finish: names.statement(FINISH),
            finish_one: names.statement(&of_one_key(FINISH, bigint)),
            read: names.statement(include_str!("sql/read.sql")),
            remove: names.statement(include_str!("sql/remove.sql")),
            lead: names.statement(include_str!("sql/lead.sql")),
            purge: names.statement(include_str!("sql/purge.sql")),
            freshen: names.statement(FRESHEN),
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
}

/// Has statements wait for others' claims no longer than this, in this transaction alone or in all of the connection. What the
/// handler's statements wait for is kept beside, and is set again by the claim itself.
fn bound_waits(wait: Duration, is_local: bool) -> String {
    let wait = wait.as_millis();
    format!(
        "SELECT set_config('idem.lock_timeout', current_setting('lock_timeout'), {is_local}), \
         set_config('lock_timeout', '{wait}', {is_local})"
    )
}

/// A statement of a batch, for a batch of one, whose numbers are as they are said.
pub(super) fn of_one_key(statement: &str, number: impl Fn(usize) -> String) -> String {
    (1..=7).fold(statement.to_owned(), |text, place| {
        text.replace(&format!("${place}::bytea[]"), &format!("ARRAY[${place}::bytea]"))
            .replace(&format!("${place}::bigint[]"), &format!("ARRAY[{}]", number(place)))
    })
}

fn bigint(place: usize) -> String {
    format!("${place}::bigint")
}

/// A column of a batch.
fn column<'a, R, T>(batch: &'a [BatchEntry<R>], value: impl Fn(&'a BatchEntry<R>) -> T) -> Vec<T> {
    batch.iter().map(value).collect()
}

type ClaimQuery<'q> = QueryAs<'q, sqlx::Postgres, RecordRow, PgArguments>;

fn claim_by<'q>(statement: &SqlStr, batch: &'q [BatchEntry<ClaimRequest>]) -> ClaimQuery<'q> {
    query_as(statement.clone())
        .bind(keys(batch))
        .bind(column(batch, |entry| entry.request.token.to_bytes()))
        .bind(column(batch, |entry| micros(entry.request.lease)))
        .bind(column(batch, |entry| micros(entry.request.retention)))
        .bind(column(batch, |entry| entry.request.fingerprint.map(crate::Fingerprint::to_bytes)))
        .bind(column(batch, |entry| entry.request.member.to_bytes()))
        .bind(column(batch, |entry| entry.request.message.map(MessageId::to_vec)))
}

fn keys<R>(batch: &[BatchEntry<R>]) -> Vec<&[u8]> {
    column(batch, |entry| entry.key.as_slice())
}

impl StoreDialect for Postgres {
    type Db = sqlx::Postgres;
    const NAME: &'static str = "postgres";
    const TITLE: &'static str = "PostgreSQL";

    /// The plans are made once and fit tables of every size, also one that was empty when the connection began; a statement
    /// for which nobody waits any more ends, and not before; and no statement is rolled back for what it has not read.
    async fn prepare(&self, on: &mut PgConnection) -> sqlx::Result<()> {
        let settings = format!(
            "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
             SET enable_mergejoin = off; SET jit = off; SET default_transaction_isolation = 'read committed'; SET lock_timeout = 0; \
             SET statement_timeout = {}",
            self.statement_timeout
        );
        on.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await?;
        Ok(())
    }

    async fn check(&self, on: &mut PgConnection, at: &str) -> sqlx::Result<Result<(), StoreError>> {
        check::server(on, at).await
    }

    async fn durability_risks(&self, on: &mut PgConnection) -> sqlx::Result<Vec<DurabilityRisk>> {
        check::durability_risks(on).await
    }

    async fn claim(
        &self,
        on: &mut PgConnection,
        batch: &[BatchEntry<ClaimRequest>],
    ) -> sqlx::Result<Vec<RecordRow>> {
        claim_by(&self.claim, batch).fetch_all(on).await
    }

    async fn claim_inside(
        &self,
        on: &mut PgConnection,
        batch: &[BatchEntry<ClaimRequest>],
    ) -> sqlx::Result<Vec<RecordRow>> {
        let [entry] = batch else { return claim_by(&self.claim_inside, batch).fetch_all(on).await };
        query_as(self.claim_one_inside.clone())
            .bind(entry.key.as_slice())
            .bind(entry.request.token.to_bytes())
            .bind(micros(entry.request.lease))
            .bind(micros(entry.request.retention))
            .bind(entry.request.fingerprint.map(crate::Fingerprint::to_bytes))
            .bind(entry.request.member.to_bytes())
            .bind(entry.request.message.map(MessageId::to_vec))
            .fetch_all(on)
            .await
    }

    fn prompt(&self) -> Duration {
        PROMPT
    }

    async fn freshen(&self, on: &mut PgConnection, batch: &[BatchEntry<ClaimRequest>]) -> sqlx::Result<()> {
        let freshen = query(self.freshen.clone())
            .bind(keys(batch))
            .bind(column(batch, |entry| entry.request.token.to_bytes()));
        freshen.execute(on).await.map(drop)
    }

    async fn renew(
        &self,
        on: &mut PgConnection,
        batch: &[BatchEntry<RenewRequest>],
    ) -> sqlx::Result<Vec<KeyRow>> {
        query_as(self.renew.clone())
            .bind(keys(batch))
            .bind(column(batch, |entry| entry.request.token.to_bytes()))
            .bind(column(batch, |entry| micros(entry.request.lease)))
            .bind(column(batch, |entry| micros(entry.request.retention)))
            .bind(column(batch, |entry| ended(&entry.request)))
            .fetch_all(on)
            .await
    }

    async fn complete(
        &self,
        on: &mut PgConnection,
        batch: &[BatchEntry<CompleteRequest>],
    ) -> sqlx::Result<Vec<KeyRow>> {
        query_as(self.complete.clone())
            .bind(keys(batch))
            .bind(column(batch, |entry| entry.request.token.to_bytes()))
            .bind(column(batch, |entry| micros(entry.request.retention)))
            .bind(column(batch, |entry| i64::try_from(entry.request.fence.0).unwrap_or(i64::MAX)))
            .bind(column(batch, |entry| entry.request.fingerprint.map(crate::Fingerprint::to_bytes)))
            .bind(column(batch, |entry| entry.request.reply.as_deref()))
            .bind(column(batch, |entry| entry.request.member.to_bytes()))
            .bind(column(batch, |entry| entry.request.message.map(MessageId::to_vec)))
            .fetch_all(on)
            .await
    }

    async fn release(
        &self,
        on: &mut PgConnection,
        batch: &[BatchEntry<ReleaseRequest>],
    ) -> sqlx::Result<Vec<KeyRow>> {
        let attempts = |entry: &BatchEntry<ReleaseRequest>| match entry.request.attempts {
            Attempts::Keep => 0_i64,
            Attempts::Count => 1,
            Attempts::Reset => -1,
        };
        query_as(self.release.clone())
            .bind(keys(batch))
            .bind(column(batch, |entry| entry.request.token.to_bytes()))
            .bind(column(batch, |entry| micros(entry.request.retention)))
            .bind(column(batch, attempts))
            .bind(column(batch, |entry| doubt(&entry.request)))
            .bind(column(batch, |entry| last(&entry.request)))
            .fetch_all(on)
            .await
    }

    async fn adopt(&self, on: &mut PgConnection, wait: Duration) -> sqlx::Result<()> {
        let bound =
            format!("{}, current_setting('default_transaction_read_only')::bool", bound_waits(wait, false));
        let (.., is_read_only): (String, String, bool) = query_as(AssertSqlSafe(bound)).fetch_one(on).await?;
        // Handlers' transactions are begun as ones that write, which is not for idem to say where somebody has said no.
        if is_read_only {
            let text =
                "sessions are read-only: `default_transaction_read_only` is on for the user or the server";
            return Err(sqlx::Error::Protocol(text.to_owned()));
        }
        Ok(())
    }

    async fn rest_handlers(&self, on: &mut PgConnection) -> sqlx::Result<()> {
        on.execute("RESET default_transaction_read_only").await.map(drop)
    }

    fn begin_adopted(&self, _wait: Duration) -> Option<SqlStr> {
        Some(SqlStr::from_static(BEGIN))
    }

    fn begin(&self, wait: Duration) -> Option<SqlStr> {
        let begin = format!("{BEGIN}; {}", bound_waits(wait, true));
        Some(AssertSqlSafe(begin).into_sql_str())
    }

    async fn claimed(&self, on: &mut PgConnection) -> sqlx::Result<()> {
        on.execute(include_str!("sql/claimed.sql")).await.map(drop)
    }

    async fn finish(
        &self,
        on: &mut PgConnection,
        batch: &[BatchEntry<CompleteRequest>],
    ) -> sqlx::Result<u64> {
        let finish = match batch {
            [entry] => query(self.finish_one.clone())
                .bind(entry.key.as_slice())
                .bind(entry.request.token.to_bytes())
                .bind(entry.request.reply.as_deref())
                .bind(micros(entry.request.retention)),
            batch => query(self.finish.clone())
                .bind(keys(batch))
                .bind(column(batch, |entry| entry.request.token.to_bytes()))
                .bind(column(batch, |entry| entry.request.reply.as_deref()))
                .bind(column(batch, |entry| micros(entry.request.retention))),
        };
        Ok(finish.execute(on).await?.rows_affected())
    }

    async fn read(&self, on: &mut PgConnection, key: &[u8]) -> sqlx::Result<Option<RecordRow>> {
        query_as(self.read.clone()).bind(key).fetch_optional(on).await
    }

    async fn remove(&self, on: &mut PgConnection, key: &[u8], claim: Option<&[u8]>) -> sqlx::Result<bool> {
        Ok(query(self.remove.clone()).bind(key).bind(claim).execute(on).await?.rows_affected() > 0)
    }

    fn migrations(&self) -> &'static [&'static str] {
        self.migrations
    }

    async fn schema(&self, on: &mut PgConnection) -> sqlx::Result<Option<i64>> {
        let table: Option<String> = query_scalar("SELECT to_regclass($1)::text")
            .bind(self.names.text(r#""idem_records_meta""#))
            .fetch_one(&mut *on)
            .await?;
        if table.is_none() {
            return Ok(None);
        }
        let version = self.names.statement(r#"SELECT value FROM "idem_records_meta" WHERE name = 'schema'"#);
        query_scalar(version).fetch_optional(on).await
    }

    async fn migrate(&self, on: &mut PgConnection) -> sqlx::Result<()> {
        let mut transaction = on.begin().await?;
        query("SET LOCAL statement_timeout = 0").execute(&mut *transaction).await?;
        query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
        let version = self.schema(&mut transaction).await?.unwrap_or(0);
        for migration in self.migrations.iter().skip(usize::try_from(version).unwrap_or(0)) {
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(self.names.text(migration)))).await?;
        }
        transaction.commit().await
    }

    async fn lead(
        &self,
        on: &mut PgConnection,
        holder: &[u8],
        lease: i64,
        position: Option<&[u8]>,
    ) -> sqlx::Result<Option<Vec<u8>>> {
        query_scalar(self.lead.clone()).bind(holder).bind(lease).bind(position).fetch_optional(on).await
    }

    async fn purge(&self, on: &mut PgConnection, behind: &[u8], rows: i64) -> sqlx::Result<PurgedRange> {
        let (end, deleted): (_, i64) =
            query_as(self.purge.clone()).bind(behind).bind(rows).fetch_one(on).await?;
        Ok(PurgedRange { end, deleted: u64::try_from(deleted).unwrap_or(0) })
    }

    async fn identity(&self, on: &mut PgConnection) -> sqlx::Result<String> {
        query_scalar(self.names.statement(include_str!("sql/identity.sql"))).fetch_one(on).await
    }

    async fn new_epoch(&self, on: &mut PgConnection) -> sqlx::Result<()> {
        let epoch = self.names.statement(
            r#"UPDATE "idem_records_meta"
            SET value = greatest(value + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
            WHERE name = 'epoch'"#,
        );
        query(epoch).execute(on).await.map(drop)
    }

    fn known(error: &dyn DatabaseError) -> KnownCode {
        errors::known(error)
    }
}
