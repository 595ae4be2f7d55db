//! idem's scripts, and the batches that they run over.

use std::collections::HashMap;
use std::sync::LazyLock;

use futures_util::future::join_all;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};

use super::route::Route;

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

/// One key of a batch with its arguments.
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) arguments: Vec<Vec<u8>>,
}

/// Runs the script over the batch, in one step on a server and in one step for each slot on a cluster. Every
/// entry has its answer at its place. The outer error is that of a batch which failed everywhere.
pub(super) async fn run(
    route: &Route,
    script: &Script,
    batch: &[Entry],
) -> RedisResult<Vec<RedisResult<Vec<u8>>>> {
    let groups = split(route, batch);
    let runs = groups.iter().map(async |(group, places)| {
        let entries: Vec<&Entry> = places.iter().map(|&place| &batch[place]).collect();
        run_group(route, *group, script, &entries).await
    });
    let mut answers: Vec<RedisResult<Vec<u8>>> = batch.iter().map(|_| Ok(Vec::new())).collect();
    for ((_, places), parts) in groups.iter().zip(join_all(runs).await) {
        places.iter().zip(parts).for_each(|(&place, part)| answers[place] = part);
    }
    match answers.first() {
        Some(Err(error)) if answers.iter().all(Result::is_err) => Err(error.clone()),
        _ => Ok(answers),
    }
}

/// The places of the entries of each group, in the batch's order.
type Groups = Vec<(usize, Vec<usize>)>;

fn split(route: &Route, batch: &[Entry]) -> Groups {
    let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
    for (place, entry) in batch.iter().enumerate() {
        groups.entry(route.group(&entry.key)).or_default().push(place);
    }
    groups.into_iter().collect()
}

/// In one step; or one key after the other, where their slot is just moving to another node and its keys may be
/// on different sides.
async fn run_group(
    route: &Route,
    group: usize,
    script: &Script,
    batch: &[&Entry],
) -> Vec<RedisResult<Vec<u8>>> {
    match run_script(route, group, script, batch).await {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) if batch.len() > 1 && error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain) => {
            let mut answers = Vec::with_capacity(batch.len());
            for entry in batch.chunks(1) {
                let answer = run_script(route, group, script, entry).await;
                answers.push(answer.map(|mut answers| answers.pop().unwrap_or_default()));
            }
            answers
        }
        Err(error) => batch.iter().map(|_| Err(error.clone())).collect(),
    }
}

/// By the script's hash; where the server does not have it yet, or lost it in a restart, with its text.
async fn run_script(
    route: &Route,
    group: usize,
    script: &Script,
    batch: &[&Entry],
) -> RedisResult<Vec<Vec<u8>>> {
    let by_hash = command("EVALSHA", &script.hash, batch);
    let value = match route.query(group, &by_hash).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            route.query(group, &command("EVAL", script.text, batch)).await?
        }
        answer => answer?,
    };
    answers(value, batch.len())
}

fn command(name: &str, script: &str, batch: &[&Entry]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(batch.len());
    for entry in batch {
        command.arg(&entry.key);
    }
    for argument in batch.iter().flat_map(|entry| &entry.arguments) {
        command.arg(argument);
    }
    command
}

fn answers(value: Value, expected: usize) -> RedisResult<Vec<Vec<u8>>> {
    let unexpected = || RedisError::from((ErrorKind::UnexpectedReturnType, "no answer for each key"));
    let Value::Array(values) = value else { return Err(unexpected()) };
    if values.len() != expected {
        return Err(unexpected());
    }
    let bytes = |value| if let Value::BulkString(bytes) = value { Ok(bytes) } else { Err(unexpected()) };
    values.into_iter().map(bytes).collect()
}
