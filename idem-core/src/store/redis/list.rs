//! Listings: `SCAN`, with the node's own cursor; on a Cluster node by node.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, from_redis_value};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::RedisStoreInner;
use super::errors::{RedisErrorMeaning, store_error};
use super::link::{LinkCommand, RedisLink};
use crate::key::RecordKey;
use crate::record::{HEADER, Record, RecordError, State};
use crate::store::list::KeyFilter;
use crate::store::{ListedKey, ListedRecord, PageCursor, PageRequest, RecordFilter, RecordPage, StoreError};

/// How many keys one command looks at: a server does nothing else meanwhile.
const SCANNED: u32 = 500;

/// A place in a listing.
struct Place {
    node: usize,
    cursor: u64,
}

pub(super) async fn page(
    inner: &RedisStoreInner,
    filter: &RecordFilter,
    page: &PageRequest,
) -> Result<RecordPage, StoreError> {
    let at = &inner.route.name;
    let deadline = inner.route.deadline();
    let wrong = |error| store_error(error, at);
    // Nobody else may be there who asks where the nodes are now.
    let lost = async |error| {
        inner.route.look_again(&error, deadline).await;
        store_error(error, at)
    };
    if let KeyFilter::One(key) = &filter.keys {
        let found = one(inner, key, deadline).await.map_err(wrong)?;
        return Ok(RecordPage {
            records: found.into_iter().filter(|found| filter.takes(found)).collect(),
            next: None,
        });
    }
    let nodes = inner.route.masters();
    let names: Vec<_> = nodes.iter().map(|node| node.target().name()).collect();
    let names = xxh3_64(names.join(" ").as_bytes());
    let mut place = begin(page.after.as_ref(), names).ok_or_else(|| {
        StoreError::unavailable(format!(
            "the nodes of Redis at {at} have changed since the listing began: begin it again, because their records have moved"
        ))
    })?;
    let pattern = pattern(inner, filter);
    let (mut records, mut left) = (Vec::new(), page.rows.max(1));
    while let Some(node) = nodes.get(place.node).filter(|_| left > 0) {
        let step = left.min(SCANNED);
        left = left.saturating_sub(step);
        let (cursor, keys) = match scan(node, place.cursor, &pattern, step, deadline).await {
            Ok(scanned) => scanned,
            Err(error) => return Err(lost(error).await),
        };
        match read(inner, node, filter, keys, deadline).await {
            Ok(found) => records.extend(found),
            Err(error) => return Err(lost(error).await),
        }
        place = match cursor {
            0 => Place { node: place.node.saturating_add(1), cursor: 0 },
            cursor => Place { cursor, ..place },
        };
    }
    let next = (place.node < nodes.len()).then(|| end(&place, names));
    Ok(RecordPage { records, next })
}

/// Where a page begins; `None` where its nodes are others than those of the page before.
fn begin(after: Option<&PageCursor>, names: u64) -> Option<Place> {
    let Some(after) = after else { return Some(Place { node: 0, cursor: 0 }) };
    let (known, rest) = after.as_bytes().split_first_chunk()?;
    let (node, cursor) = rest.split_first_chunk()?;
    let node = usize::try_from(u64::from_be_bytes(*node)).ok()?;
    let cursor = u64::from_be_bytes(cursor.try_into().ok()?);
    (u64::from_be_bytes(*known) == names).then_some(Place { node, cursor })
}

fn end(place: &Place, names: u64) -> PageCursor {
    let node = u64::try_from(place.node).unwrap_or(u64::MAX);
    PageCursor::from_bytes([names, node, place.cursor].map(u64::to_be_bytes).concat())
}

/// The keys of the store, or of the one namespace.
fn pattern(inner: &RedisStoreInner, filter: &RecordFilter) -> Vec<u8> {
    let mut begin = inner.prefix.clone();
    if let KeyFilter::Exactly(namespace) = &filter.keys {
        begin.extend(RecordKey::prefix(namespace));
    }
    let mut pattern = Vec::with_capacity(begin.len().saturating_add(8));
    for byte in begin {
        if b"\\*?[]^".contains(&byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}

async fn scan(
    node: &RedisLink,
    cursor: u64,
    pattern: &[u8],
    count: u32,
    deadline: Instant,
) -> RedisResult<(u64, Vec<Vec<u8>>)> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count).arg("TYPE").arg("string");
    let answer = node.query(LinkCommand::Plain(&scan), deadline).await?;
    Ok(from_redis_value(answer)?)
}

/// The records under these keys that the filter takes. Only of values whose head may be taken the rest is read.
async fn read(
    inner: &RedisStoreInner,
    node: &RedisLink,
    filter: &RecordFilter,
    keys: Vec<Vec<u8>>,
    deadline: Instant,
) -> RedisResult<Vec<ListedRecord>> {
    let named = |stored: Vec<u8>| {
        let key = RecordKey::from_bytes(stored.strip_prefix(&inner.prefix[..])?)?;
        filter.takes_namespace(Some(key.namespace())).then_some((stored, key))
    };
    let mut named: Vec<_> = keys.into_iter().filter_map(named).collect();
    if filter.is_of_records() {
        let last = (HEADER - 1).to_string();
        let heads =
            ask(node, named.iter().map(|(stored, _)| command("GETRANGE", stored, &["0", &last])), deadline);
        let (heads, mut candidates) = (heads.await?, Vec::new());
        for (name, head) in named.into_iter().zip(heads) {
            candidates.extend(may_be_taken(filter, head)?.then_some(name));
        }
        named = candidates;
    }
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let gets = named.iter().map(|(stored, _)| command("GET", stored, &[]));
    let mut answers = ask(node, gets.chain([redis::cmd("TIME")]), deadline).await?;
    let now = time(answers.pop().unwrap_or(Value::Nil))?;
    let mut records = Vec::new();
    for ((stored, key), value) in named.into_iter().zip(answers) {
        let value = match value.extract_error() {
            // Its slot is just moving: whoever has it by now is asked.
            Err(error) if RedisErrorMeaning::of(&error) == RedisErrorMeaning::Moving => {
                inner.route.query(inner.route.group(&stored), &command("GET", &stored, &[]), deadline).await
            }
            value => value,
        };
        records.extend(listed(key, value, now)?.filter(|found| filter.takes(found)));
    }
    Ok(records)
}

async fn one(
    inner: &RedisStoreInner,
    key: &RecordKey,
    deadline: Instant,
) -> RedisResult<Option<ListedRecord>> {
    let mut stored = inner.prefix.clone();
    key.write_to(&mut stored);
    let group = inner.route.group(&stored);
    let value = inner.route.query(group, &command("GET", &stored, &[]), deadline).await;
    let now = time(inner.route.query(group, &redis::cmd("TIME"), deadline).await?)?;
    listed(key.clone(), value, now)
}

/// `None` where there is nothing any more.
fn listed(key: RecordKey, value: RedisResult<Value>, now: Duration) -> RedisResult<Option<ListedRecord>> {
    let record = match value {
        Ok(Value::BulkString(bytes)) => Record::decode(&bytes),
        Ok(_) => return Ok(None),
        Err(error) if is_of_another_type(&error) => Err(RecordError::Foreign),
        Err(error) => return Err(error),
    };
    let remaining = match &record {
        Ok(record) if record.state == State::InProgress => record.lease_end.saturating_sub(now),
        _ => Duration::ZERO,
    };
    Ok(Some(ListedRecord { key: ListedKey::Whole(key), record, remaining, now }))
}

/// Whether a record with that head can be one that the filter takes. One that is just moving to another node can.
fn may_be_taken(filter: &RecordFilter, head: Value) -> RedisResult<bool> {
    let head = match head.extract_error() {
        Ok(Value::BulkString(head)) => head,
        Ok(_) => return Ok(false),
        Err(error) => match RedisErrorMeaning::of(&error) {
            RedisErrorMeaning::Moving => return Ok(true),
            _ if is_of_another_type(&error) => return Ok(false),
            _ => return Err(error),
        },
    };
    let Some((state, in_doubt)) = Record::head(&head) else { return Ok(false) };
    Ok(filter.state.is_none_or(|wanted| wanted == state)
        && filter.doubt.is_none_or(|wanted| wanted == in_doubt))
}

/// Something else than a string is no record.
fn is_of_another_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

fn command(name: &str, key: &[u8], arguments: &[&str]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    for argument in arguments {
        command.arg(argument);
    }
    command
}

/// The answers to commands that are sent together, in their order. An error of one is its answer.
async fn ask(
    node: &RedisLink,
    commands: impl Iterator<Item = Cmd>,
    deadline: Instant,
) -> RedisResult<Vec<Value>> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    if pipeline.is_empty() {
        return Ok(Vec::new());
    }
    match node.query(LinkCommand::Pipeline(&pipeline), deadline).await? {
        Value::Array(answers) if answers.len() == pipeline.len() => Ok(answers),
        _ => Err(RedisError::from((redis::ErrorKind::UnexpectedReturnType, "no answers to a pipeline"))),
    }
}

/// The server's clock.
pub(super) fn time(answer: Value) -> RedisResult<Duration> {
    let (seconds, micros): (u64, u64) = from_redis_value(answer)?;
    Ok(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros)))
}

impl super::RedisStore {
    pub(super) fn page<'a>(
        &self,
        filter: &RecordFilter,
        request: &PageRequest,
    ) -> futures_util::future::BoxFuture<'a, Result<RecordPage, StoreError>> {
        let (inner, filter, request) = (Arc::clone(&self.0), filter.clone(), request.clone());
        Box::pin(async move {
            crate::store::remote::on_runtime(async move { page(&inner, &filter, &request).await }).await?
        })
    }
}
