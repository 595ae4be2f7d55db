//! Completions are recorded even if the user's program drops them or its runtime.
//!
//! Run alone: `cargo test -p idem-core --features conformance,redis --test stores -- redis::lost_callers::`

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use idem_core::engine::{Admission, ClaimedRun, Engine, Finished, Gate, Leader};
use idem_core::{IdempotencyKey, Job, Namespace, Outcome, RecordKey, RedisStore, Settings};
use tokio::runtime::{Builder, Runtime};

use crate::support::redis_server::Server;

/// How the program drops what it waits for.
#[derive(Clone, Copy)]
enum End {
    /// `main` returns.
    Runtime,
    /// Another branch of a `select!` is ready first.
    Select,
}

fn job(name: usize) -> Job {
    let key = RecordKey::new(Namespace::new(["dropped"]), IdempotencyKey::new(name).unwrap());
    Job::new(key)
}

async fn gate(server: &Server) -> Gate {
    let store = RedisStore::builder(server.url()).response_timeout(Duration::from_mins(1));
    let engine = Engine::new(Arc::new(store.connect().await.unwrap()));
    let mut settings = Settings::new();
    settings.lease = Some(Duration::from_mins(2));
    settings.concurrency = Some(1_000);
    engine.gate("test", settings.resolve().unwrap())
}

async fn claimed(gate: &Gate, keys: usize) -> Vec<ClaimedRun> {
    let leader = |name| gate.enter(job(name)).into_leader().expect("fresh keys lead");
    let mut leaders: VecDeque<Leader> = (0..keys).map(leader).collect();
    let run = |admission| match admission {
        Admission::Run(claimed) => claimed,
        other => panic!("fresh keys run: {other:?}"),
    };
    gate.claim(&mut leaders).await.into_iter().map(run).collect()
}

async fn ok(claimed: ClaimedRun) -> Finished {
    claimed.run(|_, _| async { Ok(()) }).await
}

/// Runs handlers, and drops their settlements while the first is under way and the others wait.
fn settle_and_drop(user: Runtime, server: &Server, gate: &Gate, keys: usize, end: End) {
    user.block_on(async {
        let mut claimed = claimed(gate, keys).await.into_iter();
        let first = ok(claimed.next().unwrap()).await;
        server.pause();
        let first = tokio::spawn({
            let gate = gate.clone();
            async move { gate.settle_one(first).await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let runs: Vec<Finished> = join_all(claimed.map(ok)).await;
        match end {
            End::Runtime => {
                for run in runs {
                    let gate = gate.clone();
                    tokio::spawn(async move { gate.settle_one(run).await });
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            End::Select => {
                let settling = join_all(runs.into_iter().map(|run| gate.settle_one(run)));
                tokio::select! {
                    _ = settling => panic!("the server stands still"),
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                }
            }
        }
        assert!(!first.is_finished(), "the server stands still");
    });
    user.shutdown_timeout(Duration::from_secs(10));
}

#[test]
fn invariant_8_completions_that_a_program_drops_are_recorded_by_a_real_server() {
    for (keys, end) in [(2, End::Runtime), (64, End::Runtime), (2, End::Select), (64, End::Select)] {
        let server = Server::start(&[]);
        let user = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let gate = user.block_on(gate(&server));
        settle_and_drop(user, &server, &gate, keys, end);
        server.go_on();
        let elsewhere = Builder::new_current_thread().enable_all().build().unwrap();
        elsewhere.block_on(async {
            let other = self::gate(&server).await;
            let begun = Instant::now();
            for name in 0..keys {
                loop {
                    match outcome(&other, name).await {
                        Outcome::Duplicate => break,
                        Outcome::InProgress => {}
                        other => panic!("key {name} of {keys} was handled, and is {other}"),
                    }
                    assert!(begun.elapsed() < Duration::from_secs(30), "key {name} is not completed");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
}

/// The outcome that another process gets. If it may run, it gives the key back instead.
async fn outcome(gate: &Gate, name: usize) -> Outcome {
    let mut leaders = gate.enter(job(name)).into_leader().into_iter().collect();
    match gate.claim(&mut leaders).await.remove(0) {
        Admission::Decided(settled) => settled.decision.outcome,
        other => panic!("key {name} was handled, and may run again: {other:?}"),
    }
}
