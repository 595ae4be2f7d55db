//! idem's scripts, and the batches that they run over.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::Instant;

use super::route::Route;
use crate::clock::LONGEST;

/// A script's text, and the hash by which a server that has it runs it.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("lua/common.lua"), include_str!($file))));
    };
}

script!(CLAIM, "lua/claim.lua");
script!(RENEW, "lua/renew.lua");
script!(COMPLETE, "lua/complete.lua");
script!(RELEASE, "lua/release.lua");
script!(REMOVE, "lua/remove.lua");
script!(ENROL, "lua/enrol.lua");

/// The keys of a batch with their arguments, all bytes in one place.
pub(super) struct ScriptBatch {
    bytes: Vec<u8>,
    entries: Vec<ScriptEntry>,
}

struct ScriptEntry {
    key: Range<usize>,
    own: Range<usize>,
    terms: RecordTerms,
}

impl ScriptBatch {
    pub(super) fn with_capacity(keys: usize) -> Self {
        /// A key of a usual length with its prefix, and a record.
        const USUAL: usize = 160;
        Self { bytes: Vec::with_capacity(keys * USUAL), entries: Vec::with_capacity(keys) }
    }

    /// Adds a key; what the functions write are its bytes and its own argument, which is left out where it is empty.
    pub(super) fn push(
        &mut self,
        terms: RecordTerms,
        key: impl FnOnce(&mut Vec<u8>),
        own: impl FnOnce(&mut Vec<u8>),
    ) {
        let begin = self.bytes.len();
        key(&mut self.bytes);
        let middle = self.bytes.len();
        own(&mut self.bytes);
        self.entries.push(ScriptEntry { key: begin..middle, own: middle..self.bytes.len(), terms });
    }

    fn key(&self, entry: &ScriptEntry) -> &[u8] {
        &self.bytes[entry.key.clone()]
    }
}

/// The arguments that most entries of a batch have in common.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct RecordTerms {
    /// In µs.
    lease: Option<u64>,
    /// How long the record lives, in ms.
    life: Option<u64>,
}

impl RecordTerms {
    /// Of a record that is in progress.
    pub(super) fn of_lease(lease: Duration, retention: Duration) -> Self {
        Self { lease: Some(micros(lease)), life: Some(millis(lease.saturating_add(retention))) }
    }

    /// Of one that is completed or released.
    pub(super) fn of_rest(retention: Duration) -> Self {
        Self { lease: None, life: Some(millis(retention)) }
    }
}

/// A script adds it to the clock, and the sum must stay exact in a double.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.min(LONGEST).as_micros()).unwrap_or(u64::MAX)
}

/// Rounded up: a record must not live shorter than it was asked to, and Redis takes no life of zero.
fn millis(duration: Duration) -> u64 {
    micros(duration).div_ceil(1_000).max(1)
}

/// Runs the script over the batch: in one step for entries on the same terms on a server, or in the
/// same slot of a cluster. The steps are sent together, in the batch's order. Every entry has its answer at its place. The outer error is that of a batch which failed everywhere.
pub(super) async fn run(
    route: &Route,
    script: &Script,
    batch: &ScriptBatch,
) -> RedisResult<Vec<RedisResult<Bytes>>> {
    let groups = split(route, batch);
    let deadline = route.deadline();
    let runs = groups.iter().map(async |((group, _), places)| {
        let entries: Vec<&ScriptEntry> = places.iter().map(|&place| &batch.entries[place]).collect();
        ScriptStep { route, group: *group, script, batch, deadline }.run(&entries).await
    });
    let mut answers: Vec<RedisResult<Bytes>> = batch.entries.iter().map(|_| Ok(Bytes::new())).collect();
    for ((_, places), parts) in groups.iter().zip(join_all(runs).await) {
        places.iter().zip(parts).for_each(|(&place, part)| answers[place] = part);
    }
    match answers.first() {
        Some(Err(error)) if answers.iter().all(Result::is_err) => Err(error.clone()),
        _ => Ok(answers),
    }
}

/// Sends the script's text, whether the server knows its hash or not.
pub(super) async fn run_text(route: &Route, script: &Script, batch: &ScriptBatch) -> RedisResult<()> {
    let (Some(entry), deadline) = (batch.entries.first(), route.deadline()) else { return Ok(()) };
    let group = route.group(batch.key(entry));
    let step = ScriptStep { route, group, script, batch, deadline };
    route.query(group, &step.command("EVAL", script.text, &[entry]), deadline).await.map(drop)
}

/// The places of the entries that one step takes, by their slot and terms; in the batch's order.
type ScriptGroups = Vec<((usize, RecordTerms), Vec<usize>)>;

fn split(route: &Route, batch: &ScriptBatch) -> ScriptGroups {
    let mut groups = ScriptGroups::new();
    let mut known: HashMap<(usize, RecordTerms), usize> = HashMap::new();
    for (place, entry) in batch.entries.iter().enumerate() {
        let name = (route.group(batch.key(entry)), entry.terms);
        // Mostly all of a batch are of one group.
        if let [(only, places)] = &mut groups[..]
            && *only == name
        {
            places.push(place);
            continue;
        }
        let group = *known.entry(name).or_insert_with(|| {
            groups.push((name, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(place);
    }
    groups
}

/// One script over keys of one group.
struct ScriptStep<'a> {
    route: &'a Route,
    group: usize,
    script: &'a Script,
    batch: &'a ScriptBatch,
    deadline: Instant,
}

impl ScriptStep<'_> {
    /// In one step; or one key after the other, where their slot is just moving to another node and its keys may be
    /// on different sides.
    async fn run(&self, entries: &[&ScriptEntry]) -> Vec<RedisResult<Bytes>> {
        match self.ask(entries).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error)
                if entries.len() > 1 && error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain) =>
            {
                let mut answers = Vec::with_capacity(entries.len());
                for entry in entries.chunks(1) {
                    let answer = self.ask(entry).await;
                    answers.push(answer.map(|mut answers| answers.pop().unwrap_or_default()));
                }
                answers
            }
            Err(error) => entries.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// By the script's hash; where the server does not have it yet, or lost it in a restart, with its text.
    async fn ask(&self, entries: &[&ScriptEntry]) -> RedisResult<Vec<Bytes>> {
        let by_hash = self.command("EVALSHA", &self.script.hash, entries);
        let value = match self.route.query(self.group, &by_hash, self.deadline).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let with_text = self.command("EVAL", self.script.text, entries);
                self.route.query(self.group, &with_text, self.deadline).await?
            }
            answer => answer?,
        };
        answers(value, entries.len())
    }

    fn command(&self, name: &str, script: &str, entries: &[&ScriptEntry]) -> Cmd {
        let bytes = self.batch.bytes.len() + script.len() + 64;
        let mut command = Cmd::with_capacity(2 * entries.len() + 5, bytes);
        command.arg(name).arg(script).arg(entries.len());
        for entry in entries {
            command.arg(self.batch.key(entry));
        }
        // All entries of a step are on the same terms.
        let terms = entries.first().map(|entry| entry.terms).unwrap_or_default();
        for shared in terms.lease.into_iter().chain(terms.life) {
            command.arg(shared);
        }
        for entry in entries.iter().filter(|entry| !entry.own.is_empty()) {
            command.arg(&self.batch.bytes[entry.own.clone()]);
        }
        command
    }
}

/// One answer for each key; a script says what is the same for all of them once.
fn answers(value: Value, expected: usize) -> RedisResult<Vec<Bytes>> {
    let unexpected = || RedisError::from((ErrorKind::UnexpectedReturnType, "no answer for each key"));
    match value {
        Value::BulkString(same) => Ok(vec![Bytes::from(same); expected]),
        Value::Array(each) if each.len() == expected => {
            let bytes = |value| {
                if let Value::BulkString(bytes) = value { Ok(bytes.into()) } else { Err(unexpected()) }
            };
            each.into_iter().map(bytes).collect()
        }
        _ => Err(unexpected()),
    }
}
