//! Who gets a handler's permits, and how many.

use super::*;

fn leaders(gate: &Gate, names: std::ops::Range<usize>) -> VecDeque<super::super::Leader> {
    let enter = |name: usize| match gate.enter(job(&name.to_string())) {
        Entry::Leader(leader) => leader,
        Entry::Follower(_) => unreachable!("every key is asked for once"),
    };
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
