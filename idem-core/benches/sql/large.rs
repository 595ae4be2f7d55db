//! Claims among few records and among many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use idem_core::store::{ClaimRequest, Purge};
use idem_core::{MySqlStore, Store, Token};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{LEASE, RETENTION, fresh_schema, hex, hex_prefix, micros, quantile, record_key};

const FEW: usize = 10_000;
const MANY: usize = 10_000_000;
const BATCH: usize = 32;
const CLAIMS: usize = 400;
const BUDGET: f64 = 1.3;
/// Of ten records, one has expired.
const EXPIRED: usize = 10;

pub(crate) async fn run(postgres_url: Option<&str>, mysql_url: Option<&str>) -> anyhow::Result<()> {
    println!("{CLAIMS} claims of {BATCH} fresh keys among {FEW} and among {MANY} completed records, in turn");
    println!("{:<28} {:>10} {:>10} {:>8}", "", "among few", "among many", "ratio");
    if let Some(url) = postgres_url {
        postgres(url).await?;
    }
    if let Some(url) = mysql_url {
        mysql(url).await?;
    }
    Ok(())
}

async fn postgres(url: &str) -> anyhow::Result<()> {
    let mut stores = Vec::new();
    for (name, count) in [("idem_bench_few", FEW), ("idem_bench_many", MANY)] {
        let (mut session, builder) = fresh_schema(url, name).await?;
        let (prefix, lives) = (hex_prefix(32), micros(RETENTION));
        let fill = format!(
            "INSERT INTO {name}.idem_records (key, version, state, token, fence, attempts, lease_end, expires_at)
             SELECT decode('{prefix}', 'hex') || convert_to(md5(i::text), 'UTF8'), 1, 2, decode(md5(i::text), 'hex'),
                 now, 0, now, CASE WHEN i % {EXPIRED} = 0 THEN now - 1 ELSE now + {lives} END
             FROM generate_series(1, {count}) AS s (i),
                 (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) AS clock
             ORDER BY 1"
        );
        session.execute(sqlx::raw_sql(AssertSqlSafe(fill))).await?;
        session.execute(sqlx::raw_sql(AssertSqlSafe(format!("VACUUM ANALYZE {name}.idem_records")))).await?;
        session.execute("CHECKPOINT").await?;
        stores.push(builder);
    }
    let many = stores.pop().expect("two");
    let few: Arc<dyn Store> = Arc::new(stores.pop().expect("two").purge(Purge::off()).connect().await?);
    let still: Arc<dyn Store> = Arc::new(many.clone().purge(Purge::off()).connect().await?);
    compare("PostgreSQL", &few, &still).await?;
    let purging: Arc<dyn Store> = Arc::new(many.purge(Purge::default()).connect().await?);
    compare("PostgreSQL, purging", &few, &purging).await
}

async fn mysql(url: &str) -> anyhow::Result<()> {
    let mut session = MySqlConnection::connect(url).await?;
    let mut stores = Vec::new();
    for (name, count) in [("idem_bench_few", FEW), ("idem_bench_many", MANY)] {
        let again = format!("DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}");
        session.execute(sqlx::raw_sql(AssertSqlSafe(again))).await?;
        let builder = MySqlStore::builder(url).schema(name);
        builder.migrate().await?;
        let (prefix, lives) = (hex_prefix(32), micros(RETENTION));
        let fill = format!(
            "INSERT INTO {name}.idem_records (`key`, version, state, token, fence, attempts, lease_end, expires_at)
             SELECT CONCAT(UNHEX('{prefix}'), MD5(seq)), 1, 2, UNHEX(MD5(seq)), now, 0, now,
                 IF(seq % {EXPIRED} = 0, now - 1, now + {lives})
             FROM {name}.seq_1_to_{count},
                 (SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS now) AS clock
             ORDER BY 1"
        );
        session.execute(sqlx::raw_sql(AssertSqlSafe(fill))).await?;
        stores.push(builder);
    }
    let many = stores.pop().expect("two");
    let few: Arc<dyn Store> = Arc::new(stores.pop().expect("two").purge(Purge::off()).connect().await?);
    let still: Arc<dyn Store> = Arc::new(many.clone().purge(Purge::off()).connect().await?);
    compare("MariaDB", &few, &still).await?;
    let purging: Arc<dyn Store> = Arc::new(many.purge(Purge::default()).connect().await?);
    compare("MariaDB, purging", &few, &purging).await
}

async fn compare(what: &str, few: &Arc<dyn Store>, many: &Arc<dyn Store>) -> anyhow::Result<()> {
    let (mut among_few, mut among_many) = (Vec::new(), Vec::new());
    // The first ones warm connections up.
    for number in 0..CLAIMS + 20 {
        let took = [claim(few).await?, claim(many).await?];
        if number >= 20 {
            among_few.push(took[0]);
            among_many.push(took[1]);
        }
    }
    for (name, percent) in [("median", 50), ("99th percentile", 99)] {
        let (few, many) = (quantile(among_few.clone(), percent), quantile(among_many.clone(), percent));
        let kept = if many / few <= BUDGET { "kept" } else { "MISSED" };
        let row = format!("{what}, {name}");
        println!(
            "{row:<36} {few:>7.2} ms {many:>7.2} ms {:>6.2} (budget: at most {BUDGET:.2}, {kept})",
            many / few
        );
    }
    Ok(())
}

/// How many milliseconds a claim takes.
async fn claim(store: &Arc<dyn Store>) -> anyhow::Result<f64> {
    let request = || {
        let (token, key) = (Token::random(), hex(&Token::random().to_bytes()));
        ClaimRequest { key: record_key(&key), token, lease: LEASE, retention: RETENTION, fingerprint: None }
    };
    let batch: Vec<_> = (0..BATCH).map(|_| request()).collect();
    let begun = Instant::now();
    let answers = store.claim(&batch).await?;
    let took: Duration = begun.elapsed();
    anyhow::ensure!(answers.iter().all(Result::is_ok), "{answers:?}");
    Ok(took.as_secs_f64() * 1_000.0)
}
