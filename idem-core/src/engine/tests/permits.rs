//! Who gets a handler's permits, and how many.

use super::*;

fn leaders(gate: &Gate, names: std::ops::Range<usize>) -> VecDeque<super::super::Leader> {
    let enter =
        |name: usize| gate.enter(job(&name.to_string())).into_leader().expect("every key is asked for once");
    names.map(enter).collect()
}

/// Claims what can start now, without the rest.
async fn claim(gate: Gate, mut leaders: VecDeque<super::super::Leader>) -> Vec<Admission> {
    gate.claim(&mut leaders).await
}

#[tokio::test(start_paused = true)]
async fn permits_that_become_free_together_go_to_the_call_that_waits_longest() {
    let (engine, _store) = engine();
    let gate = gate(&engine, Settings { concurrency: Some(4), ..Settings::new() });
    let running = claim(gate.clone(), leaders(&gate, 0..4)).await;
    let first = tokio::spawn(claim(gate.clone(), leaders(&gate, 4..8)));
    let second = tokio::spawn(claim(gate.clone(), leaders(&gate, 8..12)));
    tokio::task::yield_now().await;
    drop(running);
    let first = first.await.unwrap();
    assert_eq!(first.len(), 4);
    drop(first);
    assert_eq!(second.await.unwrap().len(), 4);
}

/// Runs what is claimed until it is dropped.
async fn run_forever(claimed: Vec<Admission>) {
    let runs = claimed.into_iter().map(|admission| match admission {
        Admission::Run(claimed) => claimed.run(|_, _| std::future::pending()),
        _ => unreachable!("every key is free"),
    });
    futures_util::future::join_all(runs).await;
}

#[tokio::test(start_paused = true)]
async fn who_wants_many_starts_waits_for_all_of_them_and_the_handler_is_busy_meanwhile() {
    let (engine, _store) = engine();
    let gate = gate(&engine, Settings { concurrency: Some(4), ..Settings::new() });
    let running = tokio::spawn(run_forever(claim(gate.clone(), leaders(&gate, 0..2)).await));
    tokio::task::yield_now().await;
    assert!(!gate.is_busy(), "two of four run");
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { gate.reserve(3, 3).await }
    });
    tokio::task::yield_now().await;
    assert!(gate.is_busy() && !waiting.is_finished(), "three do not fit beside them");
    running.abort();
    let permits = waiting.await.unwrap();
    assert!(!gate.is_busy());
    let mut four = leaders(&gate, 2..6);
    assert_eq!(gate.claim_reserved(permits, &mut four).await.len(), 3);
    // More than the handler may ever have at once are as many as it may have.
    assert_eq!(
        gate.clone().claim_reserved(gate.reserve(9, 9).await, &mut leaders(&gate, 6..15)).await.len(),
        4
    );
}
