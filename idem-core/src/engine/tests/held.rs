//! Keys that are held until their dead letter is stored.

use futures_util::future::BoxFuture;

use super::*;
use crate::Reject;
use crate::store::{Attempts, ClaimRequest, ReleaseRequest, Store as _};

type Handler = fn() -> BoxFuture<'static, HandlerResult>;

#[tokio::test(start_paused = true)]
async fn a_key_is_held_until_its_dead_letter_is_stored() {
    let store = Arc::new(FaultyStore::new());
    let settings = || Settings { timeout: Some(secs(5)), max_attempts: Some(1), ..Settings::new() };
    let (gate, other) = (gate(&engine_over(&store), settings()), gate(&engine_over(&store), settings()));
    let ends: [(&str, Handler, Outcome); 4] = [
        ("error", || Box::pin(async { Err("no".into()) }), Outcome::Exhausted),
        ("reject", || Box::pin(async { Err(Reject::new("never").into()) }), Outcome::Rejected),
        ("panic", || Box::pin(async { panic!("a handler's") }), Outcome::Exhausted),
        ("time-out", || Box::pin(std::future::pending()), Outcome::Exhausted),
    ];
    let mut held = Vec::new();
    for (name, work, outcome) in ends {
        let settled = handle(&gate, job(name), |_, _| work()).await;
        assert_eq!((settled.decision.verdict, settled.decision.outcome), (Verdict::DeadLetter, outcome));
        held.push((name, settled));
    }
    // All attempts were used up by others.
    let token = crate::Token::random();
    let (key, retention) = (key("used up"), secs(9_999));
    let claim = ClaimRequest::new(key.clone(), token, secs(30), retention, crate::MemberId::random());
    store.claim(&[claim]).await.unwrap().remove(0).unwrap();
    let release = ReleaseRequest::new(key, token, retention, Attempts::Count);
    store.release(&[release]).await.unwrap().remove(0).unwrap();
    let settled = handle(&gate, job("used up"), |_, _| async { panic!("it is not run") }).await;
    assert_eq!(settled.decision.outcome, Outcome::Exhausted);
    held.push(("used up", settled));
    // The broker is away for an hour, and the store, for a moment longer than the lease, too.
    for is_down in [false, true] {
        tokio::time::sleep(secs(1_800)).await;
        if is_down {
            store.go_down();
            tokio::time::sleep(secs(40)).await;
            store.come_back();
            tokio::time::sleep(secs(5)).await;
        }
        for (name, _) in &held {
            let decision = succeed(&other, job(name)).await;
            assert_eq!(decision.outcome, Outcome::InProgress, "{name} is held");
        }
    }
    for (name, Settled { decision, held }) in held {
        held.unwrap().release(&decision).await;
        let replayed = succeed(&other, job(name)).await;
        assert_eq!((replayed.outcome, replayed.attempt), (Outcome::Completed, 1), "{name} is free");
    }
}
