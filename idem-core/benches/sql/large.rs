//! Claims among few records and among many.

use std::time::{Duration, Instant};

use idem_core::store::{ClaimRequest, Purge};
use idem_core::{MySqlStore, Store, Token};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{LEASE, RETENTION, fresh_schema, hex, hex_prefix, micros, quantile, record_key};

const FEW: usize = 10_000;
const MANY: usize = 10_000_000;
const BATCH: usize = 32;
const CLAIMS: usize = 1_000;
const BUDGET: f64 = 1.3;
/// Of ten records, one has expired.
const EXPIRED: usize = 10;

/// Kinds of keys; all have 32 characters.
#[derive(Clone, Copy)]
enum Keys {
    /// They grow, as numbers of orders and version 7 UUIDs do: neighbours in time are neighbours in the index.
    Growing,
    /// Any page of the index may be the next one.
    Random,
}

impl Keys {
    /// A key from its number, in a database's words.
    fn expression(self, number: &str) -> String {
        match self {
            Self::Growing => format!("lpad({number}, 32, '0')"),
            Self::Random => format!("md5({number})"),
        }
    }

    /// A key that is not there yet; each number once.
    fn fresh(self, number: usize) -> String {
        match self {
            Self::Growing => format!("{:032}", MANY + number),
            Self::Random => hex(&Token::random().to_bytes()),
        }
    }
}

pub(crate) async fn run(postgres_url: Option<&str>, mysql_url: Option<&str>) -> anyhow::Result<()> {
    println!("{CLAIMS} claims of {BATCH} fresh keys among {FEW} and among {MANY} completed records, in turn");
    println!("{:<44} {:>10} {:>10} {:>8}", "", "among few", "among many", "ratio");
    for (keys, title) in [(Keys::Growing, "growing keys"), (Keys::Random, "random keys")] {
        if let Some(url) = postgres_url {
            postgres(url, keys, &format!("PostgreSQL, {title}")).await?;
        }
        if let Some(url) = mysql_url {
            mariadb(url, keys, &format!("MariaDB, {title}")).await?;
        }
    }
    Ok(())
}

async fn postgres(url: &str, keys: Keys, title: &str) -> anyhow::Result<()> {
    let filled = async |name: &str, count: usize| {
        let (mut session, builder) = fresh_schema(url, name).await?;
        let (prefix, lives, key) = (hex_prefix(32), micros(RETENTION), keys.expression("i::text"));
        let fill = format!(
            "INSERT INTO {name}.idem_records (key, version, state, token, fence, attempts, lease_end, expires_at, member)
             SELECT decode('{prefix}', 'hex') || convert_to({key}, 'UTF8'), 1, 2, decode(md5(i::text), 'hex'),
                 now, 0, now, CASE WHEN i % {EXPIRED} = 0 THEN now - 1 ELSE now + {lives} END, int8send(i)
             FROM generate_series(1, {count}) AS s (i),
                 (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) AS clock
             ORDER BY 1"
        );
        session.execute(sqlx::raw_sql(AssertSqlSafe(fill))).await?;
        session.execute(sqlx::raw_sql(AssertSqlSafe(format!("VACUUM ANALYZE {name}.idem_records")))).await?;
        session.execute("CHECKPOINT").await?;
        anyhow::Ok(builder)
    };
    let few = filled("idem_bench_few", FEW).await?.purge(Purge::off()).connect().await?;
    let many = filled("idem_bench_many", MANY).await?;
    let still = many.clone().purge(Purge::off()).connect().await?;
    compare(title, keys, 0, &few, &still).await?;
    compare(&format!("{title}, purging"), keys, 1, &few, &many.connect().await?).await
}

async fn mariadb(url: &str, keys: Keys, title: &str) -> anyhow::Result<()> {
    let mut session = MySqlConnection::connect(url).await?;
    let mut filled = async |name: &str, count: usize| {
        let again = format!("DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}");
        session.execute(sqlx::raw_sql(AssertSqlSafe(again))).await?;
        let builder = MySqlStore::builder(url).schema(name);
        builder.migrate().await?;
        let (prefix, lives, key) = (hex_prefix(32), micros(RETENTION), keys.expression("seq"));
        let fill = format!(
            "INSERT INTO {name}.idem_records (`key`, version, state, token, fence, attempts, lease_end, expires_at, member)
             SELECT CONCAT(UNHEX('{prefix}'), {key}), 1, 2, UNHEX(MD5(seq)), now, 0, now,
                 IF(seq % {EXPIRED} = 0, now - 1, now + {lives}), UNHEX(LPAD(HEX(seq), 16, '0'))
             FROM {name}.seq_1_to_{count},
                 (SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS now) AS clock
             ORDER BY 1"
        );
        session.execute(sqlx::raw_sql(AssertSqlSafe(fill))).await?;
        written(&mut session).await?;
        anyhow::Ok(builder)
    };
    let few = filled("idem_bench_few", FEW).await?.purge(Purge::off()).connect().await?;
    let many = filled("idem_bench_many", MANY).await?;
    let still = many.clone().purge(Purge::off()).connect().await?;
    compare(title, keys, 0, &few, &still).await?;
    compare(&format!("{title}, purging"), keys, 1, &few, &many.connect().await?).await
}

/// Waits until the pages of the records are written, as a checkpoint does it.
async fn written(session: &mut MySqlConnection) -> anyhow::Result<()> {
    const LIMIT: &str = "SELECT CAST(@@GLOBAL.innodb_max_dirty_pages_pct AS DOUBLE)";
    const DIRTY: &str = "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status
                         WHERE variable_name = 'INNODB_BUFFER_POOL_PAGES_DIRTY'";
    let limit: f64 = sqlx::query_scalar(LIMIT).fetch_one(&mut *session).await?;
    session.execute("SET GLOBAL innodb_max_dirty_pages_pct = 0").await?;
    while sqlx::query_scalar::<_, i64>(DIRTY).fetch_one(&mut *session).await? > 50 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let reset = format!("SET GLOBAL innodb_max_dirty_pages_pct = {limit}");
    session.execute(AssertSqlSafe(reset)).await?;
    Ok(())
}

async fn compare(
    what: &str,
    keys: Keys,
    round: usize,
    few: &dyn Store,
    many: &dyn Store,
) -> anyhow::Result<()> {
    const WARM: usize = 20;
    let (mut among_few, mut among_many) = (Vec::new(), Vec::new());
    for number in 0..CLAIMS + WARM {
        let number = round * (CLAIMS + WARM) + number;
        let batch = || (0..BATCH).map(|place| keys.fresh(number * BATCH + place)).collect();
        let took = [claim(few, batch()).await?, claim(many, batch()).await?];
        if number % (CLAIMS + WARM) >= WARM {
            among_few.push(took[0]);
            among_many.push(took[1]);
        }
    }
    for (name, percent) in [("median", 50), ("99th percentile", 99)] {
        let (few, many) = (quantile(among_few.clone(), percent), quantile(among_many.clone(), percent));
        let kept = if many / few <= BUDGET { "kept" } else { "MISSED" };
        let row = format!("{what}, {name}");
        println!(
            "{row:<52} {few:>7.2} ms {many:>7.2} ms {:>6.2} (budget: at most {BUDGET:.2}, {kept})",
            many / few
        );
    }
    Ok(())
}

/// How many milliseconds a claim takes.
async fn claim(store: &dyn Store, keys: Vec<String>) -> anyhow::Result<f64> {
    let request = |key: String| {
        ClaimRequest::new(record_key(&key), Token::random(), LEASE, RETENTION, idem_core::MemberId::random())
    };
    let batch: Vec<_> = keys.into_iter().map(request).collect();
    let begun = Instant::now();
    let answers = store.claim(&batch).await?;
    let took: Duration = begun.elapsed();
    anyhow::ensure!(answers.iter().all(Result::is_ok), "{answers:?}");
    Ok(took.as_secs_f64() * 1_000.0)
}
