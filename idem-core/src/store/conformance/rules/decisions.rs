//! Decisions of people, alone and beside all that goes on with the same key.

use std::time::Duration;

use futures_util::future::join_all;

use super::super::Harness;
use super::super::bench::{
    Bench, LONG, PAST_SHORT, SHORT, claim_request, expect_after, expect_claimed, expect_completed,
    release_request,
};
use crate::admin::{Admin, AdminError};
use crate::doubt::{Doubt, DoubtCause, MemberId};
use crate::key::RecordKey;
use crate::record::{Fence, State, Token};
use crate::store::{Answer, Attempts, Claim, ClaimRequest, ListedKey, RecordFilter, ReleaseRequest};

fn admin(bench: &Bench<'_>) -> Admin {
    Admin::new(bench.store.clone(), "a person").retention(LONG)
}

fn doubt() -> Doubt {
    let member = MemberId::from_bytes([9; 8]);
    Doubt { cause: DoubtCause::TimedOut, fence: Fence(1_700_000_000_000_000), attempt: 1, member }
}

/// A key whose last run ended without an answer.
async fn doubtful(bench: &Bench<'_>, key: &RecordKey) {
    let (token, ..) = bench.claimed(key, LONG).await;
    let released =
        ReleaseRequest { doubt: Some(doubt()), attempts: Attempts::Count, ..release_request(key, token) };
    assert_eq!(bench.try_release(released).await.expect("an answer"), Answer::Done);
}

/// A message of the key that is delivered until the key is claimed or completed.
async fn deliver(bench: &Bench<'_>, key: &RecordKey, lease: Duration) -> (Token, Claim) {
    let token = Token::random();
    loop {
        match bench.claim(key, token, lease).await {
            // A person's lease is short.
            Claim::InProgress { .. } => tokio::task::yield_now().await,
            answer => return (token, answer),
        }
    }
}

/// By what each decision says.
pub async fn a_decision_ends_a_doubt(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (admin, keys) = (admin(&bench), bench.keys(4));
    for key in &keys {
        doubtful(&bench, key).await;
    }
    let [done, run, release, purge] = &keys[..] else { unreachable!() };
    let effect = admin.done(done, "the provider has a receipt").await.expect("done");
    assert!(
        effect.changed
            && effect.before.expect("it was there").record.expect("a record").doubt == Some(doubt())
    );
    expect_completed(&bench.claim(done, Token::random(), LONG).await);
    assert!(!admin.done(done, "again").await.expect("so already").changed);

    assert!(admin.run(run, "the provider knows nothing of it").await.expect("run").changed);
    let claim = bench.claim(run, Token::random(), LONG).await;
    assert_eq!((expect_after(&claim), expect_claimed(&claim).1), (None, 1), "its attempts begin anew");

    assert!(admin.release(release, "nobody holds it, and nothing is lost").await.expect("released").changed);
    let claim = bench.claim(release, Token::random(), LONG).await;
    assert_eq!((expect_after(&claim), expect_claimed(&claim).1), (Some(doubt()), 2), "all is kept");

    let refused = admin.purge(purge, "it is in the way").await;
    assert!(matches!(refused, Err(AdminError::InDoubt)), "{refused:?}");
    assert!(admin.purge(purge, "it is in the way").forced().await.expect("purged").changed);
    assert_eq!(bench.store.read(purge).await.expect("an answer"), None);
    assert!(!admin.purge(purge, "again").await.expect("so already").changed);
}

/// A holder that still runs loses its lease only where that is forced, and its run is in doubt then.
pub async fn a_live_lease_is_refused_unless_forced(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (admin, keys) = (admin(&bench), bench.keys(4));
    let mut holders = Vec::new();
    for key in &keys {
        holders.push(bench.claimed(key, LONG).await);
    }
    let [done, run, release, purge] = &keys[..] else { unreachable!() };
    let pending =
        || [admin.done(done, "x"), admin.run(run, "x"), admin.release(release, "x"), admin.purge(purge, "x")];
    for decision in pending() {
        let refused = decision.await;
        assert!(matches!(refused, Err(AdminError::Live { remaining }) if remaining <= LONG), "{refused:?}");
    }
    for (key, (token, ..)) in keys.iter().zip(&holders) {
        assert_eq!(bench.renew(key, *token, LONG).await, Answer::Done, "a refusal changes nothing");
    }
    for decision in pending() {
        assert!(decision.forced().await.expect("forced").changed);
    }
    for (key, (token, ..)) in keys.iter().zip(&holders) {
        assert_eq!(bench.renew(key, *token, LONG).await, Answer::Lost, "the holder notices");
        assert_eq!(bench.release(key, *token, Attempts::Count).await, Answer::Lost);
    }
    expect_completed(&bench.claim(done, Token::random(), LONG).await);
    assert_eq!(expect_after(&bench.claim(run, Token::random(), LONG).await), None);
    let after = expect_after(&bench.claim(release, Token::random(), LONG).await).expect("a doubt");
    assert_eq!((after.cause, after.fence, after.attempt), (DoubtCause::Vanished, holders[2].1, 1));
    assert_eq!(bench.store.read(purge).await.expect("an answer"), None);
}

/// A completed key is run again only where that is forced.
pub async fn a_completed_key_is_run_again_only_where_that_is_forced(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (admin, keys) = (admin(&bench), bench.keys(3));
    for key in &keys {
        let (token, ..) = bench.claimed(key, LONG).await;
        assert_eq!(bench.complete(key, token, LONG).await, Answer::Done);
    }
    for refused in [admin.run(&keys[0], "x").await, admin.release(&keys[1], "x").forced().await] {
        assert!(matches!(refused, Err(AdminError::Completed)), "{refused:?}");
    }
    for key in &keys {
        expect_completed(&bench.claim(key, Token::random(), LONG).await);
    }
    assert!(admin.run(&keys[0], "it was refunded").forced().await.expect("run").changed);
    assert!(admin.purge(&keys[1], "a test's").await.expect("purged").changed);
    for key in &keys[..2] {
        expect_claimed(&bench.claim(key, Token::random(), LONG).await);
    }
}

/// Each decision has an entry before it and one behind it, also one that was refused; a person without a name decides nothing.
pub async fn a_decision_is_in_the_trail(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let Some(registry) = bench.store.registry() else { return };
    let who = format!("person {:016x}", rand::random::<u64>());
    let admin = Admin::new(bench.store.clone(), who.as_str());
    let key = bench.key("decided");
    bench.claimed(&key, LONG).await;
    let refused = admin.run(&key, "may it?").await;
    assert!(matches!(refused, Err(AdminError::Live { .. })));
    admin.done(&key, "receipt 7").forced().await.expect("done");
    for nameless in [Admin::new(bench.store.clone(), " ").done(&key, "x").await, admin.done(&key, "").await] {
        assert!(matches!(nameless, Err(AdminError::Words { .. })), "{nameless:?}");
    }
    let (mut trail, mut before) = (Vec::new(), None);
    while trail.len() < 4 {
        let page = registry.trail(before.as_ref(), 100).await.expect("the trail");
        before = Some(page.last().expect("an entry").place.clone());
        trail.extend(page.into_iter().map(|found| found.entry).filter(|entry| entry.who == who));
    }
    trail.reverse();
    let shown = |entry: &crate::store::AuditEntry| {
        (entry.decision.as_str(), entry.forced, entry.is_end, entry.text.clone())
    };
    let [asked, answered, forced, changed] = &trail[..] else { panic!("four entries: {trail:?}") };
    assert_eq!(shown(asked), ("run", false, false, "may it?".to_owned()));
    assert!(shown(answered).3.contains("lease lasts") && answered.is_end && answered.number == asked.number);
    assert_eq!(shown(forced), ("done", true, false, "receipt 7".to_owned()));
    assert_eq!(shown(changed), ("done", true, true, "changed".to_owned()));
    assert!(trail.iter().all(|entry| entry.key == key));
    let members = admin.members().await.expect("the members");
    let record = bench.store.read(&key).await.expect("an answer").expect("a record");
    assert!(members.iter().any(|known| known.member == record.member), "a person is a member, too");
}

/// Of a claim and a person's `done`, one is first, and the other one sees that.
pub async fn a_decision_races_with_claims(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (admin, keys) = (admin(&bench), bench.keys(24));
    let race = async |key: &RecordKey| {
        let claim = deliver(&bench, key, LONG);
        let (decided, (token, claim)) =
            futures_util::future::join(admin.done(key, "race").into_future(), claim).await;
        match (decided, claim) {
            (Ok(_), Claim::Completed { .. }) => {}
            (Err(AdminError::Live { .. } | AdminError::Overtaken), Claim::Claimed { .. }) => {
                assert_eq!(bench.complete(key, token, LONG).await, Answer::Done, "the claim holds");
            }
            other => panic!("both had it, or nobody: {other:?}"),
        }
        expect_completed(&bench.claim(key, Token::random(), LONG).await);
    };
    join_all(keys.iter().map(race)).await;
}

/// Duplicates that come while a person decides are neither run nor lost: once it is done, each is told so.
pub async fn a_decision_races_with_duplicates(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (admin, keys) = (admin(&bench), bench.keys(12));
    let race = async |key: &RecordKey| {
        doubtful(&bench, key).await;
        // With `hold`, a claim that finds the doubt gives the key back at once.
        let duplicate = async || {
            let mut held = 0_u32;
            loop {
                match deliver(&bench, key, LONG).await {
                    (_, Claim::Completed { .. }) => return held,
                    (token, claim) => {
                        assert_eq!(expect_after(&claim), Some(doubt()), "never run, never forgotten");
                        assert_eq!(bench.release(key, token, Attempts::Keep).await, Answer::Done);
                        held = held.saturating_add(1);
                        tokio::task::yield_now().await;
                    }
                }
            }
        };
        let decide = async {
            loop {
                match admin.done(key, "race").await {
                    // A duplicate was just looking at it.
                    Err(AdminError::Live { .. } | AdminError::Overtaken) => tokio::task::yield_now().await,
                    decided => return decided.expect("done"),
                }
            }
        };
        let ((), decided) = futures_util::future::join(
            async {
                futures_util::future::join(duplicate(), duplicate()).await;
            },
            decide,
        )
        .await;
        assert!(decided.changed);
    };
    join_all(keys.iter().map(race)).await;
}

/// A message that is sent again while a person says `run` finds the doubt or no doubt, and never half of each.
pub async fn a_decision_races_with_a_replay(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (admin, keys) = (admin(&bench), bench.keys(24));
    let race = async |key: &RecordKey| {
        doubtful(&bench, key).await;
        let replay = deliver(&bench, key, LONG);
        let (decided, (_, claim)) =
            futures_util::future::join(admin.run(key, "race").into_future(), replay).await;
        let found = (expect_after(&claim), expect_claimed(&claim).1);
        match decided {
            Ok(effect) => assert_eq!((effect.changed, found), (true, (None, 1))),
            Err(AdminError::Live { .. } | AdminError::Overtaken) => assert_eq!(found, (Some(doubt()), 2)),
            Err(other) => panic!("{other:?}"),
        }
    };
    join_all(keys.iter().map(race)).await;
}

/// Two people, of whom one says `done` and the other one `purge`: the record is completed or gone, and whoever changed nothing was
/// told so. The same with a record whose retention is just over.
pub async fn a_decision_races_with_a_purge(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (one, other, keys) = (admin(&bench), admin(&bench), bench.keys(24));
    let forgotten = &keys[12..];
    for key in forgotten {
        let claim = ClaimRequest { retention: Duration::ZERO, ..claim_request(key, Token::random(), SHORT) };
        expect_claimed(&bench.try_claim(claim).await.expect("an answer"));
    }
    bench.pass(PAST_SHORT).await;
    for key in &keys[..12] {
        let (token, ..) = bench.claimed(key, LONG).await;
        assert_eq!(bench.release(key, token, Attempts::Count).await, Answer::Done);
    }
    let race = async |key: &RecordKey| {
        let (done, purged) = futures_util::future::join(
            one.done(key, "race").into_future(),
            other.purge(key, "race").into_future(),
        )
        .await;
        let record = bench.store.read(key).await.expect("an answer");
        match (&done, &purged) {
            (Ok(_), Ok(_)) => assert!(record.is_none_or(|record| record.state == State::Completed)),
            (Ok(done), Err(AdminError::Live { .. } | AdminError::Overtaken)) => {
                assert!(done.changed && record.expect("a record").state == State::Completed);
            }
            (Err(AdminError::Live { .. } | AdminError::Overtaken), Ok(purged)) => {
                assert!(purged.changed && record.is_none(), "{purged:?} {record:?}");
            }
            both => panic!("one of them is first: {both:?}"),
        }
        // Nothing is left that would keep a message from being handled.
        let claim = bench.claim(key, Token::random(), LONG).await;
        assert!(!matches!(claim, Claim::InProgress { .. }), "{claim:?}");
    };
    join_all(keys.iter().map(race)).await;
}

/// An operator finds what is in doubt, and reads why.
pub async fn a_report_says_why(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (admin, key) = (admin(&bench), bench.key("order-7"));
    let (token, ..) = bench.claimed(&key, LONG).await;
    assert_eq!(bench.complete(&key, token, LONG).await, Answer::Done);
    assert!(
        admin
            .show(&key)
            .await
            .expect("an answer")
            .expect("a report")
            .to_string()
            .contains("the work is done")
    );
    assert_eq!(admin.show(&bench.key("nobody's")).await.expect("an answer"), None);
    let doubts = bench.key("order-8");
    doubtful(&bench, &doubts).await;
    let mut listing =
        admin.list(RecordFilter::new().namespace(bench.namespace().clone()).in_doubt(true)).rows(1);
    let found = listing.all().await.expect("the records");
    assert_eq!(found.iter().map(|found| &found.key).collect::<Vec<_>>(), [&ListedKey::Whole(doubts.clone())]);
    let report = admin.show(&doubts).await.expect("an answer").expect("a report").to_string();
    for said in [
        "order-8",
        "in doubt since 2023-11-14T22:13:20Z",
        "longer than its time-out",
        "attempt 1",
        "1 failed attempts",
    ] {
        assert!(report.contains(said), "{said} is missing in:\n{report}");
    }
}
