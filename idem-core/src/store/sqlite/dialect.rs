//! SQLite's statements.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use sqlx::error::DatabaseError;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, FromRow, SqlStr, query, query_as, query_scalar};

use super::errors;
use crate::doubt::MessageId;
use crate::store::sql::{
    BatchEntry, BatchRequest, DurabilityRisk, KeyRow, KnownCode, Names, PurgedRange, RecordRow, Shapes,
    SqlErrorMeaning, StoreDialect, doubt, ended, last, meaning, micros,
};
use crate::store::{Attempts, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, StoreError};

const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_records.sql")];
const OUTBOX_MIGRATIONS: [&str; 1] = [include_str!("migrations/outbox/0001_outbox.sql")];

/// The statements, with the tables' names in them.
pub(in crate::store) struct Sqlite {
    names: Names,
    migrations: &'static [&'static str],
    claim: Shapes,
    renew: Shapes,
    complete: Shapes,
    release: Shapes,
    finish: Shapes,
    read: Shapes,
    stand: Shapes,
    remove: SqlStr,
    lead: SqlStr,
    end: SqlStr,
    purge: SqlStr,
}

impl Sqlite {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            names: names.clone(),
            migrations: &MIGRATIONS,
            claim: Shapes::new(names, include_str!("sql/claim.sql")),
            renew: Shapes::new(names, include_str!("sql/renew.sql")),
            complete: Shapes::new(names, include_str!("sql/complete.sql")),
            release: Shapes::new(names, include_str!("sql/release.sql")),
            finish: Shapes::new(names, include_str!("sql/finish.sql")),
            read: Shapes::new(names, include_str!("sql/read.sql")),
            stand: Shapes::new(names, include_str!("sql/stand.sql")),
            remove: names.statement(include_str!("sql/remove.sql")),
            lead: names.statement(include_str!("sql/lead.sql")),
            end: names.statement(include_str!("sql/purge_end.sql")),
            purge: names.statement(include_str!("sql/purge.sql")),
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

type SqliteQuery = Query<'static, sqlx::Sqlite, SqliteArguments>;

/// A statement over a batch: first the clock, then what `bind` says of each entry.
fn statement<R>(
    shapes: &Shapes,
    batch: &[BatchEntry<R>],
    bind: impl Fn(SqliteQuery, &BatchEntry<R>) -> SqliteQuery,
) -> SqliteQuery {
    let (statement, entries) = shapes.fit(batch);
    entries.fold(query(statement).bind(now()), |bound, entry| bind(bound.bind(entry.key.clone()), entry))
}

/// The rows that a statement returns, which are those that it wrote, and then those of the other keys as they are.
///
/// There is no server between idem and the data, so a second statement costs little; and a row that is left as it is is
/// not written, which spares duplicates a synced write.
async fn rows<R: BatchRequest>(
    on: &mut SqliteConnection,
    write: SqliteQuery,
    others: &Shapes,
    batch: &[BatchEntry<R>],
) -> sqlx::Result<Vec<R::Found>>
where
    R::Found: for<'r> FromRow<'r, SqliteRow> + Unpin,
{
    let mut rows = fetch::<R>(on, write).await?;
    let left: Vec<_> = {
        let mut written: Vec<_> = rows.iter().map(|row| R::stored_key(row).to_vec()).collect();
        written.sort_unstable();
        batch
            .iter()
            .filter(|entry| written.binary_search(&entry.key).is_err())
            .map(|entry| &entry.key)
            .collect()
    };
    if !left.is_empty() {
        let (statement, keys) = others.fit(&left);
        let read = keys.fold(query(statement).bind(now()), |bound, key| bound.bind((*key).clone()));
        rows.extend(fetch::<R>(on, read).await?);
    }
    Ok(rows)
}

async fn fetch<R: BatchRequest>(on: &mut SqliteConnection, bound: SqliteQuery) -> sqlx::Result<Vec<R::Found>>
where
    R::Found: for<'r> FromRow<'r, SqliteRow> + Unpin,
{
    let rows: Vec<SqliteRow> = bound.fetch_all(on).await?;
    rows.iter().map(R::Found::from_row).collect()
}

/// Writes something and takes it back. The beginning alone is no error on a file that may not be written.
async fn try_to_write(on: &mut SqliteConnection) -> sqlx::Result<()> {
    on.execute("BEGIN IMMEDIATE").await?;
    let written = on.execute("PRAGMA user_version = 0").await;
    on.execute("ROLLBACK").await?;
    written.map(drop)
}

/// Which start of the machine this is: with a pool that does not sync, a crash of it can take back what was confirmed. Linux
/// alone says it.
fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    })
}

/// The host's clock: the file is used by the processes of one host.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl StoreDialect for Sqlite {
    type Db = sqlx::Sqlite;
    const NAME: &'static str = "sqlite";
    const TITLE: &'static str = "SQLite";
    const IS_FILE: bool = true;

    /// All of a session's settings are in its options.
    async fn prepare(&self, _on: &mut SqliteConnection) -> sqlx::Result<()> {
        Ok(())
    }

    /// The library is part of the program, so its version is right. Whether the file can be written does not show when it is
    /// opened, because SQLite then opens it to be read; a file that somebody else writes for a second can be.
    async fn check(&self, on: &mut SqliteConnection, _at: &str) -> sqlx::Result<Result<(), StoreError>> {
        let wait: i64 = query_scalar("PRAGMA busy_timeout").fetch_one(&mut *on).await?;
        on.execute("PRAGMA busy_timeout = 1000").await?;
        let written = try_to_write(on).await;
        on.execute(AssertSqlSafe(format!("PRAGMA busy_timeout = {wait}"))).await?;
        match written {
            Err(error) if meaning::<Self>(&error) == SqlErrorMeaning::ReadOnlyFile => Err(error),
            _ => Ok(Ok(())),
        }
    }

    /// Idem's own connections are durable; a pool of the program's is as it says.
    async fn durability_risks(&self, on: &mut SqliteConnection) -> sqlx::Result<Vec<DurabilityRisk>> {
        let synchronous: i64 = query_scalar("PRAGMA synchronous").fetch_one(&mut *on).await?;
        let journal: String = query_scalar("PRAGMA journal_mode").fetch_one(on).await?;
        let durability_risks = [
            DurabilityRisk::unless(
                "synchronous",
                &synchronous.to_string(),
                &["2", "3"],
                "a crash of the machine takes back the last commits, and what they were about is done again: set it to FULL",
            ),
            DurabilityRisk::unless(
                "journal_mode",
                &journal,
                &["wal", "delete", "truncate", "persist"],
                "a crash in the middle of a commit damages the file: set it to WAL",
            ),
        ];
        Ok(durability_risks.into_iter().flatten().collect())
    }

    /// The clock is read when nobody else can write: who waits for another's transaction has a later fence than that one.
    async fn claim(
        &self,
        on: &mut SqliteConnection,
        batch: &[BatchEntry<ClaimRequest>],
    ) -> sqlx::Result<Vec<RecordRow>> {
        let mut transaction = on.begin_with("BEGIN IMMEDIATE").await?;
        let rows = self.claim_inside(&mut transaction, batch).await?;
        transaction.commit().await?;
        Ok(rows)
    }

    async fn claim_inside(
        &self,
        on: &mut SqliteConnection,
        batch: &[BatchEntry<ClaimRequest>],
    ) -> sqlx::Result<Vec<RecordRow>> {
        let write = statement(&self.claim, batch, |bound, BatchEntry { request, .. }| {
            bound
                .bind(request.token.to_bytes().to_vec())
                .bind(micros(request.lease))
                .bind(micros(request.retention))
                .bind(request.fingerprint.map(|fingerprint| fingerprint.to_bytes().to_vec()))
                .bind(request.member.to_bytes().to_vec())
                .bind(request.message.map(MessageId::to_vec))
        });
        rows(on, write, &self.read, batch).await
    }

    async fn renew(
        &self,
        on: &mut SqliteConnection,
        batch: &[BatchEntry<RenewRequest>],
    ) -> sqlx::Result<Vec<KeyRow>> {
        let write = statement(&self.renew, batch, |bound, BatchEntry { request, .. }| {
            bound
                .bind(request.token.to_bytes().to_vec())
                .bind(micros(request.lease))
                .bind(micros(request.retention))
                .bind(ended(request))
        });
        rows(on, write, &self.stand, batch).await
    }

    async fn complete(
        &self,
        on: &mut SqliteConnection,
        batch: &[BatchEntry<CompleteRequest>],
    ) -> sqlx::Result<Vec<KeyRow>> {
        let write = statement(&self.complete, batch, |bound, BatchEntry { request, .. }| {
            bound
                .bind(request.token.to_bytes().to_vec())
                .bind(micros(request.retention))
                .bind(i64::try_from(request.fence.0).unwrap_or(i64::MAX))
                .bind(request.fingerprint.map(|fingerprint| fingerprint.to_bytes().to_vec()))
                .bind(request.reply.as_ref().map(|reply| reply.to_vec()))
                .bind(request.member.to_bytes().to_vec())
                .bind(request.message.map(MessageId::to_vec))
        });
        rows(on, write, &self.stand, batch).await
    }

    async fn release(
        &self,
        on: &mut SqliteConnection,
        batch: &[BatchEntry<ReleaseRequest>],
    ) -> sqlx::Result<Vec<KeyRow>> {
        let write = statement(&self.release, batch, |bound, BatchEntry { request, .. }| {
            bound
                .bind(request.token.to_bytes().to_vec())
                .bind(micros(request.retention))
                .bind(counted(request.attempts))
                .bind(doubt(request))
                .bind(last(request))
        });
        rows(on, write, &self.stand, batch).await
    }

    /// A claim writes in any case, and a transaction that reads first could not write behind another's write.
    fn begin(&self, _wait: Duration) -> Option<SqlStr> {
        Some(SqlStr::from_static("BEGIN IMMEDIATE"))
    }

    /// SQLite ends a transaction by itself where the disk is full or fails, and where a trigger or an `OR ROLLBACK` says so;
    /// what follows would commit statement by statement. A commit that is refused is a rollback.
    async fn guard(&self, on: &mut SqliteConnection) -> sqlx::Result<()> {
        on.lock_handle().await?.set_commit_hook(|| false);
        Ok(())
    }

    async fn lift_guard(&self, on: &mut SqliteConnection) -> sqlx::Result<()> {
        on.lock_handle().await?.remove_commit_hook();
        Ok(())
    }

    async fn rest_handlers(&self, on: &mut SqliteConnection) -> sqlx::Result<()> {
        self.lift_guard(on).await
    }

    async fn finish(
        &self,
        on: &mut SqliteConnection,
        batch: &[BatchEntry<CompleteRequest>],
    ) -> sqlx::Result<u64> {
        let finish = statement(&self.finish, batch, |bound, BatchEntry { request, .. }| {
            bound
                .bind(request.token.to_bytes().to_vec())
                .bind(micros(request.retention))
                .bind(request.reply.as_ref().map(|reply| reply.to_vec()))
        });
        Ok(finish.execute(on).await?.rows_affected())
    }

    async fn read(&self, on: &mut SqliteConnection, key: &[u8]) -> sqlx::Result<Option<RecordRow>> {
        let (statement, _) = self.read.fit(&[key]);
        query_as(statement).bind(now()).bind(key.to_vec()).fetch_optional(on).await
    }

    async fn remove(
        &self,
        on: &mut SqliteConnection,
        key: &[u8],
        claim: Option<&[u8]>,
    ) -> sqlx::Result<bool> {
        let removed = query(self.remove.clone())
            .bind(key.to_vec())
            .bind(now())
            .bind(claim.map(<[u8]>::to_vec))
            .execute(on)
            .await?;
        Ok(removed.rows_affected() > 0)
    }

    fn migrations(&self) -> &'static [&'static str] {
        self.migrations
    }

    async fn schema(&self, on: &mut SqliteConnection) -> sqlx::Result<Option<i64>> {
        let tables: i64 =
            query_scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?")
                .bind(self.names.bare_meta())
                .fetch_one(&mut *on)
                .await?;
        if tables == 0 {
            return Ok(None);
        }
        let version = self.names.statement(r#"SELECT value FROM "idem_records_meta" WHERE name = 'schema'"#);
        query_scalar(version).fetch_optional(on).await
    }

    async fn migrate(&self, on: &mut SqliteConnection) -> sqlx::Result<()> {
        let mut transaction = on.begin_with("BEGIN IMMEDIATE").await?;
        let version = self.schema(&mut transaction).await?.unwrap_or(0);
        for migration in self.migrations.iter().skip(usize::try_from(version).unwrap_or(0)) {
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(self.names.text(migration)))).await?;
        }
        transaction.commit().await
    }

    async fn lead(
        &self,
        on: &mut SqliteConnection,
        holder: &[u8],
        lease: i64,
        position: Option<&[u8]>,
    ) -> sqlx::Result<Option<Vec<u8>>> {
        query_scalar(self.lead.clone())
            .bind(now())
            .bind(holder.to_vec())
            .bind(lease)
            .bind(position.map(<[u8]>::to_vec))
            .fetch_optional(on)
            .await
    }

    /// The range's end is read first, so that nothing is locked for a range in which nothing has expired.
    async fn purge(&self, on: &mut SqliteConnection, behind: &[u8], rows: i64) -> sqlx::Result<PurgedRange> {
        let (end, expired): (Option<Vec<u8>>, i64) = query_as(self.end.clone())
            .bind(behind.to_vec())
            .bind(rows)
            .bind(now())
            .fetch_one(&mut *on)
            .await?;
        if expired == 0 {
            return Ok(PurgedRange { end, deleted: 0 });
        }
        let delete = query(self.purge.clone()).bind(behind.to_vec()).bind(end.clone()).bind(now());
        Ok(PurgedRange { end, deleted: delete.execute(on).await?.rows_affected() })
    }

    async fn identity(&self, on: &mut SqliteConnection) -> sqlx::Result<String> {
        let epoch = self
            .names
            .statement(r#"SELECT CAST(value AS TEXT) FROM "idem_records_meta" WHERE name = 'epoch'"#);
        let epoch: String = query_scalar(epoch).fetch_one(on).await?;
        Ok(format!("{} {epoch}", boot()))
    }

    async fn new_epoch(&self, on: &mut SqliteConnection) -> sqlx::Result<()> {
        let epoch = self
            .names
            .statement(r#"UPDATE "idem_records_meta" SET value = max(value + 1, ?) WHERE name = 'epoch'"#);
        query(epoch).bind(now()).execute(on).await.map(drop)
    }

    fn known(error: &dyn DatabaseError) -> KnownCode {
        errors::known(error)
    }
}

/// As the statement has it: 0 keeps the number, 1 counts one, -1 begins anew.
fn counted(attempts: Attempts) -> i64 {
    match attempts {
        Attempts::Keep => 0,
        Attempts::Count => 1,
        Attempts::Reset => -1,
    }
}
