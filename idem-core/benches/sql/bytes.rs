//! The cost of a key: bytes of its record on the disk, and of the log that the database writes for its claim and completion.

use idem_core::store::{Claim, ClaimRequest, CompleteRequest, Purge};
use idem_core::{MySqlStore, SqliteStore, Store, Token};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{LEASE, RETENTION, fresh_schema, hex, record_key};

const KEYS: usize = 16_000;
const SCHEMA: &str = "idem_bench_bytes";

/// Keys have 32 characters; their order is that of the numbers, or none.
#[derive(Clone, Copy)]
struct Way {
    title: &'static str,
    are_random: bool,
    batch: usize,
}

const WAYS: [Way; 3] = [
    Way { title: "growing keys, 32 at a time", are_random: false, batch: 32 },
    Way { title: "growing keys, one by one", are_random: false, batch: 1 },
    Way { title: "random keys, 32 at a time", are_random: true, batch: 32 },
];

pub(crate) async fn run(postgres_url: Option<&str>, mysql_url: Option<&str>) -> anyhow::Result<()> {
    println!("{KEYS} fresh keys of 32 characters, claimed and completed: bytes for each of them");
    println!("{:<44} {:>8} {:>8}", "", "record", "log");
    for way in WAYS {
        if let Some(url) = postgres_url {
            postgres(url, way).await?;
        }
        if let Some(url) = mysql_url {
            mariadb(url, way).await?;
        }
        sqlite(way).await?;
    }
    Ok(())
}

/// Its log is the write-ahead log, which has a page as a whole when it is the page's first change since a checkpoint.
async fn postgres(url: &str, way: Way) -> anyhow::Result<()> {
    let (mut session, builder) = fresh_schema(url, SCHEMA).await?;
    let store = builder.purge(Purge::off()).connect().await?;
    session.execute("CHECKPOINT").await?;
    let mut log = async || {
        let lsn = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
        sqlx::query_scalar::<_, i64>(lsn).fetch_one(&mut session).await
    };
    let before = log().await?;
    handle(&store, way).await?;
    let written = log().await? - before;
    let size = format!("SELECT pg_total_relation_size('{SCHEMA}.idem_records')");
    let size: i64 = sqlx::query_scalar(AssertSqlSafe(size)).fetch_one(&mut session).await?;
    report("PostgreSQL", way, size, written)
}

/// Its log is the redo log; a binary log, where there is one, comes on top.
async fn mariadb(url: &str, way: Way) -> anyhow::Result<()> {
    let mut session = MySqlConnection::connect(url).await?;
    let again = format!("DROP DATABASE IF EXISTS {SCHEMA}; CREATE DATABASE {SCHEMA}");
    session.execute(sqlx::raw_sql(AssertSqlSafe(again))).await?;
    let builder = MySqlStore::builder(url).schema(SCHEMA).purge(Purge::off());
    builder.migrate().await?;
    let store = builder.connect().await?;
    let mut log = async || {
        let lsn = "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status
                   WHERE variable_name = 'INNODB_LSN_CURRENT'";
        sqlx::query_scalar::<_, i64>(lsn).fetch_one(&mut session).await
    };
    let before = log().await?;
    handle(&store, way).await?;
    let written = log().await? - before;
    let size = format!(
        "SELECT CAST(file_size AS SIGNED) FROM information_schema.innodb_sys_tablespaces
         WHERE name = '{SCHEMA}/idem_records'"
    );
    let size: i64 = sqlx::query_scalar(AssertSqlSafe(size)).fetch_one(&mut session).await?;
    report("MariaDB", way, size, written)
}

/// Everything that it writes, to its log and then from there to the file.
async fn sqlite(way: Way) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(".")?;
    let path = dir.path().join("idem.db");
    let store = SqliteStore::builder(&path).purge(Purge::off()).open().await?;
    let before = written_by_this_process()?;
    handle(&store, way).await?;
    let written = written_by_this_process()? - before;
    report("SQLite", way, i64::try_from(std::fs::metadata(&path)?.len())?, written)
}

fn written_by_this_process() -> anyhow::Result<i64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(written.ok_or_else(|| anyhow::anyhow!("no `wchar` in /proc/self/io"))?.parse()?)
}

async fn handle(store: &dyn Store, way: Way) -> anyhow::Result<()> {
    for batch in 0..KEYS / way.batch {
        let claims: Vec<_> = (0..way.batch).map(|place| claim(way, batch * way.batch + place)).collect();
        let mut completions = Vec::with_capacity(way.batch);
        for (claim, answer) in claims.iter().zip(store.claim(&claims).await?) {
            let Claim::Claimed { fence, .. } = answer? else { anyhow::bail!("a fresh key is claimed") };
            let ClaimRequest { key, token, retention, fingerprint, .. } = claim.clone();
            completions.push(CompleteRequest {
                fingerprint,
                ..CompleteRequest::new(key, token, fence, retention, idem_core::MemberId::random())
            });
        }
        for answer in store.complete(&completions).await? {
            answer?;
        }
    }
    Ok(())
}

fn claim(way: Way, number: usize) -> ClaimRequest {
    let key = if way.are_random { hex(&Token::random().to_bytes()) } else { format!("{number:032}") };
    ClaimRequest::new(record_key(&key), Token::random(), LEASE, RETENTION, idem_core::MemberId::random())
}

fn report(database: &str, Way { title, .. }: Way, size: i64, log: i64) -> anyhow::Result<()> {
    let keys = i64::try_from(KEYS)?;
    let row = format!("{database}, {title}");
    println!("{row:<44} {:>8} {:>8}", size / keys, log / keys);
    Ok(())
}
