//! idem's scripts, and the batches that they run over.

use std::collections::HashMap;
use std::sync::LazyLock;

use futures_util::future::join_all;
use redis::cluster_routing::Slot;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};

use super::link::Link;

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
/// entry has its answer at its place.
pub(super) async fn run(
    link: &Link,
    script: &Script,
    batch: &[Entry],
) -> RedisResult<Vec<RedisResult<Vec<u8>>>> {
    if !link.target().is_cluster() {
        let batch: Vec<&Entry> = batch.iter().collect();
        return Ok(run_one(link, script, &batch).await?.into_iter().map(Ok).collect());
    }
    let slots = split(batch);
    let runs = slots.iter().map(async |places| {
        let entries: Vec<&Entry> = places.iter().map(|&place| &batch[place]).collect();
        run_one(link, script, &entries).await
    });
    Ok(put_together(batch.len(), &slots, join_all(runs).await))
}

/// The places of the entries of each slot, in the batch's order.
fn split(batch: &[Entry]) -> Vec<Vec<usize>> {
    let mut slots: HashMap<Slot, Vec<usize>> = HashMap::new();
    for (place, entry) in batch.iter().enumerate() {
        slots.entry(Slot::for_key(&entry.key)).or_default().push(place);
    }
    slots.into_values().collect()
}

fn put_together(
    len: usize,
    slots: &[Vec<usize>],
    results: Vec<RedisResult<Vec<Vec<u8>>>>,
) -> Vec<RedisResult<Vec<u8>>> {
    let mut answers: Vec<RedisResult<Vec<u8>>> = (0..len).map(|_| Ok(Vec::new())).collect();
    for (places, result) in slots.iter().zip(results) {
        match result {
            Ok(parts) => places.iter().zip(parts).for_each(|(&place, part)| answers[place] = Ok(part)),
            Err(error) => places.iter().for_each(|&place| answers[place] = Err(error.clone())),
        }
    }
    answers
}

/// By the script's hash; where the server does not have it yet, or lost it in a restart, with its text.
async fn run_one(link: &Link, script: &Script, batch: &[&Entry]) -> RedisResult<Vec<Vec<u8>>> {
    let by_hash = command("EVALSHA", &script.hash, batch);
    let value = match link.query(&by_hash).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            link.query(&command("EVAL", script.text, batch)).await?
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
