//! Renewal, cancellation, permits, and keys that meet in one process.

use super::*;
use crate::store::Store as _;

#[tokio::test(start_paused = true)]
async fn a_run_longer_than_its_lease_is_renewed_until_its_time_out_and_no_longer() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings { timeout: Some(secs(100)), ..Settings::new() });
    let decision = handle(&gate, job("a"), |_, _| std::future::pending()).await.decision;
    assert_eq!(decision.outcome, Outcome::TimedOut);
    assert!((8..=11).contains(&store.sizes("renew").len()), "{:?}", store.sizes("renew"));
    let renewals = store.sizes("renew").len();
    tokio::time::sleep(secs(100)).await;
    assert_eq!(store.sizes("renew").len(), renewals);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_whenever_a_third_of_it_is_over() {
    for lease in [3, 30, 90] {
        let (engine, store) = engine();
        let gate = gate(&engine, Settings { lease: Some(secs(lease)), ..Settings::new() });
        let running =
            tokio::spawn(async move { handle(&gate, job("a"), |_, _| std::future::pending()).await });
        let (mut renewals, mut last) = (0, tokio::time::Instant::now());
        while renewals < 7 {
            tokio::time::sleep(secs(lease) / 200).await;
            if store.sizes("renew").len() == renewals {
                continue;
            }
            // The watch looks at its runs sixteen times a lease.
            let (third, after) = (secs(lease) / 3, last.elapsed());
            assert!(
                after + secs(lease) / 100 > third && after < third + secs(lease) / 12,
                "{after:?} of {lease} s"
            );
            (renewals, last) = (renewals + 1, tokio::time::Instant::now());
            assert_eq!(store.sizes("renew").len(), renewals);
        }
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_cancelled_when_its_lease_cannot_be_renewed() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let begun = tokio::time::Instant::now();
    let (cancelled, seen) = (Runs::default(), Runs::default());
    let decision = handle(&gate, job("a"), |lease, _| {
        let guard = CountOnDrop(cancelled.clone());
        let seen = seen.clone();
        tokio::spawn(async move {
            lease.lost().await;
            seen.one();
        });
        let store = &store;
        async move {
            let _guard = guard;
            store.go_down();
            std::future::pending().await
        }
    })
    .await
    .decision;
    assert_eq!((decision.verdict, decision.outcome), (Verdict::Retry(secs(1)), Outcome::LeaseLost));
    assert_eq!((cancelled.count(), seen.count()), (1, 1));
    let took = begun.elapsed();
    assert!(took > secs(26) && took < secs(30), "cancelled before the lease ends at the store: {took:?}");
    store.come_back();
    tokio::time::sleep(secs(40)).await;
    assert_eq!(succeed(&gate, job("a")).await.attempt, 1, "a lost lease costs no attempt");
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_cancelled_when_its_renewal_is_refused() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let decision = handle(&gate, job("a"), |_, _| async {
        store.remove(&key("a"), None).await.unwrap();
        std::future::pending().await
    })
    .await
    .decision;
    assert_eq!(decision.outcome, Outcome::LeaseLost);
}

#[tokio::test]
async fn a_handler_that_blocks_its_whole_runtime_keeps_its_lease() {
    // Real time and two real runtimes: the user's has one thread, and the handler blocks it for three leases. They are
    // long enough for a busy machine to renew them.
    let store: Arc<dyn crate::Store> = Arc::new(MemoryStore::new());
    let settings = || Settings { lease: Some(secs(2)), ..Settings::new() };
    let user = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let blocked = gate(&Engine::new(store.clone()), settings());
    let running = user.spawn(async move {
        handle(&blocked, job("a"), |_, _| async {
            std::thread::sleep(secs(6));
            Ok(())
        })
        .await
        .decision
    });
    let other = gate(&Engine::new(store), settings());
    let begun = std::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut conflicts = 0;
    loop {
        let decision = succeed(&other, job("a")).await;
        if decision.outcome == Outcome::Duplicate {
            break;
        }
        assert_eq!(decision.outcome, Outcome::InProgress, "the key must not run elsewhere meanwhile");
        conflicts += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= secs(5) && conflicts > 5);
    assert_eq!(running.await.unwrap().outcome, Outcome::Completed);
    user.shutdown_background();
}

#[tokio::test(start_paused = true)]
async fn equal_keys_of_one_process_share_one_verdict_without_a_permit_or_an_attempt() {
    let (engine, store) = engine();
    let settings =
        Settings { concurrency: Some(1), backoff: Some(Backoff::fixed(secs(7))), ..Settings::new() };
    let gate = gate(&engine, settings);
    let runs = Runs::default();
    let messages = (0..10).map(|_| {
        let (gate, runs) = (gate.clone(), runs.clone());
        tokio::spawn(async move {
            let work = |_, _| async {
                runs.one();
                tokio::time::sleep(secs(5)).await;
                Err("no".into())
            };
            handle(&gate, job("a"), work).await.decision
        })
    });
    let mut attempts = 0;
    for message in messages.collect::<Vec<_>>() {
        let decision = message.await.unwrap();
        assert_eq!(decision.verdict, Verdict::Retry(secs(7)));
        attempts += decision.attempt;
    }
    assert_eq!(attempts, 1);
    assert_eq!((runs.count(), store.sizes("claim")), (1, vec![1]));
    assert_eq!(succeed(&gate, job("a")).await.attempt, 2, "ten messages have cost one attempt");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_cancelled_key_gets_the_in_progress_row() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let first = tokio::spawn({
        let (gate, store) = (gate.clone(), store.clone());
        async move {
            let work = |_, _| async move {
                store.go_down();
                std::future::pending().await
            };
            handle(&gate, job("a"), work).await.decision
        }
    });
    tokio::time::sleep(secs(1)).await;
    let second = succeed(&gate, job("a")).await;
    assert_eq!((second.verdict, second.outcome), (Verdict::Retry(secs(1)), Outcome::InProgress));
    assert_eq!(first.await.unwrap().outcome, Outcome::LeaseLost);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_run_that_the_store_does_not_record_yet_is_held_with_it() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings { timeout: Some(secs(60)), ..Settings::new() });
    let spawn = || {
        let (gate, store) = (gate.clone(), store.clone());
        tokio::spawn(async move {
            let work = |_, _| async move {
                store.go_down();
                Ok(())
            };
            handle(&gate, job("a"), work).await.decision
        })
    };
    let messages = [spawn(), spawn()];
    tokio::time::sleep(secs(600)).await;
    assert!(
        messages.iter().all(|message| !message.is_finished()),
        "nothing is sent back while the store is down"
    );
    store.come_back();
    let [first, second] = messages.map(|message| async { message.await.unwrap().outcome });
    assert_eq!((first.await, second.await), (Outcome::Completed, Outcome::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_claimed_only_when_its_handler_can_start() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings { concurrency: Some(2), ..Settings::new() });
    let mut leaders = VecDeque::new();
    for name in ["a", "b", "c"] {
        let Entry::Leader(leader) = gate.enter(job(name)) else { panic!("a fresh key leads") };
        leaders.push_back(leader);
    }
    let admissions = gate.claim(&mut leaders).await;
    assert_eq!((admissions.len(), leaders.len()), (2, 1));
    assert!(store.read(&key("c")).await.unwrap().is_none(), "no lease runs while a message queues");
    drop(admissions);
    assert_eq!(gate.claim(&mut leaders).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn batches_form_while_a_round_trip_is_under_way_and_nothing_waits_for_one() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    *store.claim_delay.lock() = secs(2);
    let tasks = (0..20).map(|i| {
        let gate = gate.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(i * 50)).await;
            succeed(&gate, job(&format!("k{i}"))).await.outcome
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), Outcome::Completed);
    }
    assert_eq!(store.sizes("claim"), [1, 19], "the first goes at once, the rest with the next round trip");
}

/// The sizes of the claims when 8 calls of 32 keys come while one key's claim is under way.
async fn claims_of_a_crowd(connections: Option<u32>) -> Vec<usize> {
    let mut store = FaultyStore::new();
    store.connections = connections;
    let store = Arc::new(store);
    let gate = gate(&engine_over(&store), Settings { concurrency: Some(1_000), ..Settings::new() });
    *store.claim_delay.lock() = secs(2);
    let call = |name: usize, count: usize| {
        let gate = gate.clone();
        let mut leaders = VecDeque::new();
        for i in 0..count {
            let Entry::Leader(leader) = gate.enter(job(&format!("{name}-{i}"))) else {
                panic!("fresh keys lead")
            };
            leaders.push_back(leader);
        }
        async move { gate.claim(&mut leaders).await.len() }
    };
    let mut calls = vec![tokio::spawn(call(0, 1))];
    tokio::time::sleep(secs(1)).await;
    calls.extend((1..9).map(|name| tokio::spawn(call(name, 32))));
    let mut claimed = 0;
    for call in calls {
        claimed += call.await.unwrap();
    }
    assert_eq!(claimed, 257);
    store.sizes("claim")
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_one_batch_and_shared_where_a_store_works_on_several_calls() {
    assert_eq!(claims_of_a_crowd(None).await, [1, 256]);
    assert_eq!(claims_of_a_crowd(Some(1)).await, [1, 256]);
    let shared = claims_of_a_crowd(Some(8)).await;
    assert_eq!(shared.iter().sum::<usize>(), 257);
    assert!(shared[1..].iter().all(|size| (32..=64).contains(size)), "{shared:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_finishes_together_costs_two_round_trips() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let enter = |i: u32| gate.enter(job(&format!("k{i}"))).into_leader().expect("fresh keys lead");
    let mut leaders = (0..32).map(enter).collect();
    let mut finished = Vec::new();
    for admission in gate.claim(&mut leaders).await {
        let Admission::Run(claimed) = admission else { panic!("{admission:?}") };
        finished.push(claimed.run(|_, _| async { Ok(()) }).await);
    }
    let settled = gate.settle(finished).await;
    assert!(settled.iter().all(|settled| settled.decision.outcome == Outcome::Completed));
    assert_eq!(*store.batches.lock(), [("claim", 32), ("complete", 32)]);
}

#[tokio::test(start_paused = true)]
async fn one_bad_key_does_not_fail_its_neighbours() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings { store_failure: Some(crate::StoreFailure::Retry), ..Settings::new() });
    *store.poison.lock() = Some(key("k5"));
    let enter = |i: u32| gate.enter(job(&format!("k{i}"))).into_leader().expect("fresh keys lead");
    let mut leaders = (0..8).map(enter).collect();
    let admissions = gate.claim(&mut leaders).await;
    let failed = |admission: &Admission| matches!(admission, Admission::Decided(s) if s.decision.outcome == Outcome::StoreFailed);
    let failed: Vec<usize> = (0..8).filter(|i| failed(&admissions[*i])).collect();
    assert_eq!(failed, [5]);
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_fails_holds_up_no_neighbour() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let enter = |i: u32| gate.enter(job(&format!("k{i}"))).into_leader().expect("fresh keys lead");
    let mut leaders = (0..8).map(enter).collect();
    let mut finished = Vec::new();
    for admission in gate.claim(&mut leaders).await {
        let Admission::Run(claimed) = admission else { panic!("{admission:?}") };
        finished.push(claimed.run(|_, _| async { Ok(()) }).await);
    }
    *store.poison.lock() = Some(key("k5"));
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let settling = gate.settle_each(finished, |place, settled| told.send((place, settled.decision)).unwrap());
    let hearing = async {
        let mut places = Vec::new();
        for _ in 0..7 {
            places.push(heard.recv().await.unwrap().0);
        }
        assert_eq!(places, [0, 1, 2, 3, 4, 6, 7]);
        *store.poison.lock() = None;
        let last = heard.recv().await.unwrap();
        assert_eq!((last.0, last.1.outcome), (5, Outcome::Completed));
    };
    tokio::join!(settling, hearing);
}

struct CountOnDrop(Runs);

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        self.0.one();
    }
}
