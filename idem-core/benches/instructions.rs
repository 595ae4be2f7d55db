//! The instructions and allocations of a message in the engine with the memory store, from claim to settle and without
//! decoding.
//!
//! `cargo bench -p idem-core --bench instructions`, and `-- --save` to keep the figures in `instructions.txt`
//!
//! Keys are made before, and are not counted.

mod callgrind;
mod messages;

use std::path::Path;
use std::process::ExitCode;

use idem_core::RecordKey;

use self::callgrind::{Case, MESSAGES};
use self::messages::{BATCH, call, gate, key, namespace, runtime};

fn main() -> anyhow::Result<ExitCode> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let cases = [
        Case { name: "new keys, calls of 1", handle: |messages| new_keys(messages, 1) },
        Case { name: "new keys, calls of 32", handle: |messages| new_keys(messages, BATCH) },
        Case { name: "duplicates, calls of 1", handle: |messages| duplicates(messages, 1) },
        Case { name: "duplicates, calls of 32", handle: |messages| duplicates(messages, BATCH) },
    ];
    callgrind::main(&kept, &cases)
}

fn new_keys(messages: usize, together: usize) {
    handle(&keys(2 * MESSAGES)[..messages], 1, together);
}

fn duplicates(messages: usize, together: usize) {
    handle(&keys(BATCH), messages / BATCH + 1, together);
}

/// Handles `keys` so many times, in calls of `together`.
fn handle(keys: &[RecordKey], times: usize, together: usize) {
    let runtime = runtime();
    let gate = gate(&runtime, 4 * MESSAGES);
    runtime.block_on(async {
        for keys in std::iter::repeat_n(keys, times).flat_map(|keys| keys.chunks(together)) {
            call(&gate, keys.iter().cloned()).await;
        }
    });
}

fn keys(count: usize) -> Vec<RecordKey> {
    let namespace = namespace();
    (0..count).map(|i| key(&namespace, 0, i)).collect()
}
