//! The common part of the SQL stores' harnesses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use idem_core::store::conformance::Harness;
use idem_core::store::{Purge, Store};
use idem_core::{Record, RecordKey, State, StoreError};

/// A name that no other test has, in this run or another one.
pub(crate) fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("idem_{:08x}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect()
}

/// As the query gives them.
pub(crate) type Row = (i64, i64, Vec<u8>, i64, i64, i64, Option<Vec<u8>>);

/// A row, as a conformance rule plants it.
///
/// The rules plant bytes. A record's bytes become its columns. Other bytes become a row with the
/// bytes' own version and state, as far as they have one, and keeps all of them in the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    version: i64,
    state: i64,
    token: Vec<u8>,
    fence: i64,
    attempts: i64,
    lease_end: i64,
    reply: Option<Vec<u8>>,
}

/// When a planted record expires: not before every test is over.
pub(crate) const LATE: i64 = i64::MAX / 2;

impl From<Row> for Columns {
    fn from((version, state, token, fence, attempts, lease_end, reply): Row) -> Self {
        Self { version, state, token, fence, attempts, lease_end, reply }
    }
}

impl Columns {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Record::decode(bytes).map_or_else(|_| Self::foreign(bytes), |record| Self::record(&record))
    }

    fn record(record: &Record) -> Self {
        let state = match record.state {
            State::InProgress => 1,
            State::Completed => 2,
            State::Released => 3,
        };
        Self {
            version: 1,
            state,
            token: record.token.to_bytes().to_vec(),
            fence: i64::try_from(record.fence.0).unwrap(),
            attempts: record.attempts.into(),
            lease_end: i64::try_from(record.lease_end.as_micros()).unwrap(),
            reply: record.reply.as_ref().map(|reply| reply.to_vec()),
        }
    }

    fn foreign(bytes: &[u8]) -> Self {
        let whole = bytes.len() >= 47;
        Self {
            version: if whole { bytes[0].into() } else { 0 },
            state: if whole && bytes[1] == b'P' { 1 } else { 9 },
            token: if whole { bytes[2..18].to_vec() } else { vec![0; 16] },
            fence: 1,
            attempts: 0,
            lease_end: 0,
            reply: Some(bytes.to_vec()),
        }
    }

    /// The statement that plants them; `literal` writes bytes as the database's SQL has them.
    pub(crate) fn insert(&self, key: &RecordKey, literal: fn(&[u8]) -> String) -> String {
        let reply = self.reply.as_deref().map_or_else(|| "NULL".to_owned(), literal);
        let Self { version, state, fence, attempts, lease_end, .. } = self;
        let (key, token, member) = (literal(&key.to_bytes()), literal(&self.token), literal(&[0; 8]));
        format!(
            "INSERT INTO {{table}} (key, version, state, token, fence, attempts, lease_end, expires_at, member, \
             reply) VALUES ({key}, {version}, {state}, {token}, {fence}, {attempts}, {lease_end}, {LATE}, {member}, {reply})"
        )
    }

    /// The query for them; `integer` is what makes a long integer of a column.
    pub(crate) fn select(key: &RecordKey, literal: fn(&[u8]) -> String, integer: &str) -> String {
        let key = literal(&key.to_bytes());
        format!(
            "SELECT version{integer}, state{integer}, token, fence, attempts{integer}, lease_end, reply FROM {{table}} \
             WHERE key = {key} AND fingerprint IS NULL AND expires_at = {LATE}"
        )
    }

    /// The bytes that were planted, unless somebody has changed the row.
    pub(crate) fn bytes(self) -> Option<Vec<u8>> {
        let bytes = self.reply.clone()?;
        (self == Self::of(&bytes)).then_some(bytes)
    }
}

/// A statement with the names of idem's tables in it, of which this one has the records.
pub(crate) fn tables(sql: &str, table: &str) -> String {
    ["meta", "members", "audit"].into_iter().fold(sql.replace("{table}", table), |sql, name| {
        sql.replace(&format!("{{{name}}}"), &format!("{table}_{name}"))
    })
}

/// A database of a test's own.
pub(crate) trait Database: Harness {
    /// A store on it, with this table, or idem's usual one.
    fn open<'a>(
        &'a self,
        table: Option<&'a str>,
        purge: Purge,
    ) -> BoxFuture<'a, Result<Arc<dyn Store>, StoreError>>;
    fn migrate<'a>(&'a self, table: Option<&'a str>) -> BoxFuture<'a, Result<(), StoreError>>;
    fn migrations(&self) -> String;
    /// Runs statements; `{table}` is the table of records; `{meta}`, `{members}` and `{audit}` are those beside it.
    fn run<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, ()>;
    /// The number that a query gives.
    fn count<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, i64>;
}

/// A database of a test's own on a server.
pub(crate) trait Server: Database {
    fn url(&self) -> &str;
    /// A store on the database, by this URL.
    fn connect_to(
        &self,
        url: String,
        response_timeout: Duration,
    ) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>>;
    /// The same URL with another user, `name:password`, or another database.
    fn url_with(&self, user: Option<&str>, database: Option<&str>) -> String {
        let (scheme, rest) = self.url().split_once("://").unwrap();
        let (own, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (address, path) = rest.split_once('/').unwrap();
        format!("{scheme}://{}@{address}/{}", user.unwrap_or(own), database.unwrap_or(path))
    }
}

/// Waits for a query's number.
pub(crate) async fn becomes(database: &dyn Database, sql: &str, expected: i64) {
    let start = Instant::now();
    loop {
        let found = database.count(sql).await;
        if found == expected {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{sql} gives {found} and not {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
