//! Runs that ended without an answer, and what a record says of its last run.

use super::super::Harness;
use super::super::bench::{
    Bench, LONG, PAST_SHORT, SHORT, claim_request, complete_request, expect_after, expect_claimed,
    release_request, renew_request,
};
use crate::doubt::{Doubt, DoubtCause, MemberId, MessageId};
use crate::key::RecordKey;
use crate::outcome::Outcome;
use crate::record::{Fence, LastRun, Record, State, Token};
use crate::store::{Answer, Attempts, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest};

fn member(number: u8) -> MemberId {
    MemberId::from_bytes([number; 8])
}

fn doubt(cause: DoubtCause, attempt: u32) -> Doubt {
    Doubt { cause, fence: Fence(1_700_000_000_000_000), attempt, member: member(9) }
}

async fn claim_by(
    bench: &Bench<'_>,
    key: &RecordKey,
    number: u8,
    lease: std::time::Duration,
) -> (Token, Claim) {
    let token = Token::random();
    let claim = ClaimRequest { member: member(number), ..claim_request(key, token, lease) };
    (token, bench.try_claim(claim).await.expect("a claim's answer"))
}

async fn release(bench: &Bench<'_>, key: &RecordKey, token: Token, doubt: Option<Doubt>) -> Answer {
    let release = ReleaseRequest { doubt, ..release_request(key, token) };
    bench.try_release(release).await.expect("a release's answer")
}

async fn record(bench: &Bench<'_>, key: &RecordKey) -> Record {
    bench.store.read(key).await.expect("an answer").expect("a record")
}

/// The claim that takes a lapsed lease over says whose it was, since when, and which attempt; so does each later one.
pub async fn a_run_that_vanished_is_in_doubt(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("vanished");
    let (token, first) = claim_by(&bench, &key, 1, LONG).await;
    assert_eq!(expect_after(&first), None, "nothing was before");
    let counted = ReleaseRequest { attempts: Attempts::Count, ..release_request(&key, token) };
    assert_eq!(bench.try_release(counted).await.expect("an answer"), Answer::Done);
    let (token, second) = claim_by(&bench, &key, 2, SHORT).await;
    assert_eq!(expect_after(&second), None, "a release leaves no doubt by itself");
    let (fence, _) = expect_claimed(&second);
    let repeated = ClaimRequest { member: member(2), ..claim_request(&key, token, SHORT) };
    let repeated = bench.try_claim(repeated).await.expect("an answer");
    assert_eq!(expect_after(&repeated), None, "the holder itself has not vanished");
    bench.pass(PAST_SHORT).await;
    let vanished = Doubt { cause: DoubtCause::Vanished, fence, attempt: 2, member: member(2) };
    let (token, third) = claim_by(&bench, &key, 3, LONG).await;
    assert_eq!(expect_after(&third), Some(vanished));
    assert_eq!(record(&bench, &key).await.doubt, Some(vanished));
    let repeated = ClaimRequest { member: member(3), ..claim_request(&key, token, LONG) };
    assert_eq!(
        expect_after(&bench.try_claim(repeated).await.expect("an answer")),
        Some(vanished),
        "repeated"
    );
    assert_eq!(bench.renew(&key, token, LONG).await, Answer::Done);
    assert_eq!(release(&bench, &key, token, None).await, Answer::Done);
    let (_, fourth) = claim_by(&bench, &key, 4, LONG).await;
    assert_eq!(expect_after(&fourth), Some(vanished), "a clear answer says nothing of the run before");
}

/// A release raises it, one that keeps it does, and one that ends it does.
pub async fn a_doubt_is_told_to_each_claim_until_it_ends(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    for cause in DoubtCause::ALL {
        let key = bench.key(cause.as_str());
        let (token, _) = claim_by(&bench, &key, 1, LONG).await;
        let raised = doubt(cause, 1);
        for _ in 0..2 {
            assert_eq!(release(&bench, &key, token, Some(raised)).await, Answer::Done);
        }
        for attempts in [Attempts::Keep, Attempts::Count, Attempts::Reset] {
            let (token, claim) = claim_by(&bench, &key, 2, LONG).await;
            assert_eq!(expect_after(&claim), Some(raised), "{cause:?}");
            assert_eq!(bench.release(&key, token, attempts).await, Answer::Done);
        }
        let (token, _) = claim_by(&bench, &key, 3, LONG).await;
        let ends = RenewRequest { ends_doubt: Some(raised.fence), ..renew_request(&key, token, LONG) };
        for _ in 0..2 {
            assert_eq!(bench.try_renew(ends.clone()).await.expect("an answer"), Answer::Done);
            assert_eq!(record(&bench, &key).await.doubt, None);
        }
        assert_eq!(release(&bench, &key, token, None).await, Answer::Done);
        assert_eq!(record(&bench, &key).await.doubt, None);
        let (_, claim) = claim_by(&bench, &key, 4, LONG).await;
        assert_eq!(expect_after(&claim), None, "{cause:?}");
    }
}

/// But for one that has vanished: nobody knows whether its run had begun, and the doubt that was there stays.
pub async fn a_known_doubt_replaces_the_one_before(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("twice");
    for number in 1..=2 {
        let (token, _) = claim_by(&bench, &key, 1, LONG).await;
        let raised = Some(doubt(DoubtCause::TimedOut, number));
        assert_eq!(release(&bench, &key, token, raised).await, Answer::Done);
    }
    let (_, claim) = claim_by(&bench, &key, 2, SHORT).await;
    assert_eq!(expect_after(&claim), Some(doubt(DoubtCause::TimedOut, 2)));
    bench.pass(PAST_SHORT).await;
    let (_, claim) = claim_by(&bench, &key, 3, LONG).await;
    assert_eq!(expect_after(&claim), Some(doubt(DoubtCause::TimedOut, 2)));
}

/// The end of a doubt that comes late, because a copy of its claim has taken the key again behind another member's run, does not
/// end the doubt about that one; nor those of its neighbours in the batch.
pub async fn a_doubt_is_ended_by_its_own_name_alone(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let keys = bench.keys(3);
    let named = doubt(DoubtCause::TimedOut, 1);
    let other = Doubt { fence: Fence(named.fence.0 + 1), ..named };
    let mut ends = Vec::new();
    for (key, raised) in keys.iter().zip([named, other, named]) {
        let (token, _) = claim_by(&bench, key, 1, LONG).await;
        assert_eq!(release(&bench, key, token, Some(raised)).await, Answer::Done);
        let (token, _) = claim_by(&bench, key, 2, LONG).await;
        let ends_doubt = (*key != keys[2]).then_some(named.fence);
        ends.push(RenewRequest { ends_doubt, ..renew_request(key, token, LONG) });
    }
    let before = record(&bench, &keys[1]).await;
    for _ in 0..2 {
        let answers = bench.store.renew(&ends).await.expect("answers");
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("an answer")).collect();
        assert_eq!(answers, [Answer::Done, Answer::Lost, Answer::Done]);
    }
    assert_eq!(record(&bench, &keys[0]).await.doubt, None);
    assert_eq!(record(&bench, &keys[1]).await, before, "a refusal changes nothing");
    assert_eq!(record(&bench, &keys[2]).await.doubt, Some(named), "a renewal alone ends none");
}

/// Of a run that vanished after its doubt was ended, the doubt is its own.
pub async fn a_run_that_vanished_after_a_doubt_has_its_own(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("ended");
    let (token, _) = claim_by(&bench, &key, 1, LONG).await;
    assert_eq!(release(&bench, &key, token, Some(doubt(DoubtCause::TimedOut, 1))).await, Answer::Done);
    let (token, claim) = claim_by(&bench, &key, 2, LONG).await;
    let (fence, _) = expect_claimed(&claim);
    let ends_doubt = Some(doubt(DoubtCause::TimedOut, 1).fence);
    let ends = RenewRequest { ends_doubt, ..renew_request(&key, token, SHORT) };
    assert_eq!(bench.try_renew(ends).await.expect("an answer"), Answer::Done);
    bench.pass(PAST_SHORT).await;
    let (_, claim) = claim_by(&bench, &key, 3, LONG).await;
    let vanished = Doubt { cause: DoubtCause::Vanished, fence, attempt: 1, member: member(2) };
    assert_eq!(expect_after(&claim), Some(vanished));
}

/// With a reply and without, and with a fingerprint and a message beside them.
pub async fn a_completion_ends_doubt_and_last_run(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    for reply in [None, Some(bytes::Bytes::from_static(b"reply"))] {
        let key = bench.key(if reply.is_some() { "reply" } else { "none" });
        let (token, _) = claim_by(&bench, &key, 1, LONG).await;
        let release = ReleaseRequest {
            doubt: Some(doubt(DoubtCause::Panicked, 1)),
            last: Some(LastRun::new(Outcome::Panicked, "")),
            ..release_request(&key, token)
        };
        assert_eq!(bench.try_release(release).await.expect("an answer"), Answer::Done);
        let (token, fingerprint) = (Token::random(), Some(crate::key::Fingerprint::of(b"payload")));
        let message = Some(MessageId::new("7F00000100002A139A558A43A7E90000"));
        let claim = ClaimRequest { fingerprint, message, ..claim_request(&key, token, LONG) };
        expect_claimed(&bench.try_claim(claim).await.expect("an answer"));
        let complete = CompleteRequest { reply: reply.clone(), ..complete_request(&key, token) };
        assert_eq!(bench.try_complete(complete).await.expect("an answer"), Answer::Done);
        let kept = record(&bench, &key).await;
        assert_eq!((kept.state, kept.doubt, kept.last), (State::Completed, None, None));
        assert_eq!((kept.fingerprint, kept.message, kept.reply), (fingerprint, message, reply));
    }
}

/// Somebody else has taken the key over.
pub async fn a_lost_release_raises_no_doubt(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("overtaken");
    let (overtaken, _) = claim_by(&bench, &key, 1, SHORT).await;
    bench.pass(PAST_SHORT).await;
    let (_, claim) = claim_by(&bench, &key, 2, LONG).await;
    let before = record(&bench, &key).await;
    let raised = Some(doubt(DoubtCause::LeaseLost, 1));
    assert_eq!(release(&bench, &key, overtaken, raised).await, Answer::Lost);
    let ends_doubt = expect_after(&claim).map(|doubt| doubt.fence);
    let ends = RenewRequest { ends_doubt, ..renew_request(&key, overtaken, LONG) };
    assert_eq!(bench.try_renew(ends).await.expect("an answer"), Answer::Lost);
    assert_eq!(record(&bench, &key).await, before);
    assert_eq!(before.doubt, expect_after(&claim));
}

/// With the record.
pub async fn doubts_are_forgotten_after_retention(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("forgotten");
    let (token, _) = claim_by(&bench, &key, 1, LONG).await;
    let release = ReleaseRequest {
        retention: SHORT,
        doubt: Some(doubt(DoubtCause::Shutdown, 1)),
        last: Some(LastRun::new(Outcome::Shutdown, "")),
        ..release_request(&key, token)
    };
    assert_eq!(bench.try_release(release).await.expect("an answer"), Answer::Done);
    bench.pass(PAST_SHORT).await;
    let (_, claim) = claim_by(&bench, &key, 2, LONG).await;
    assert_eq!(expect_after(&claim), None);
    assert_eq!(record(&bench, &key).await.last, None);
}

/// Also an error that is as long as there is room for, and one without a text.
pub async fn the_last_run_is_kept_until_another_ends(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("last");
    let long = "é".repeat(200);
    for (outcome, error) in [(Outcome::Failed, "no"), (Outcome::TimedOut, ""), (Outcome::Rejected, &long)] {
        let (token, _) = claim_by(&bench, &key, 1, LONG).await;
        let last = Some(LastRun::new(outcome, error));
        let release = ReleaseRequest { last: last.clone(), ..release_request(&key, token) };
        assert_eq!(bench.try_release(release).await.expect("an answer"), Answer::Done);
        assert_eq!(record(&bench, &key).await.last, last);
        let (token, _) = claim_by(&bench, &key, 1, LONG).await;
        assert_eq!(record(&bench, &key).await.last, last, "while it runs again");
        assert_eq!(bench.release(&key, token, Attempts::Keep).await, Answer::Done);
        assert_eq!(record(&bench, &key).await.last, last, "a release without a run says nothing");
    }
}

/// A completion that makes its record anew brings its own.
pub async fn member_and_message_are_the_last_claims(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("whose");
    for id in [Some("7F00000100002A139A558A43A7E90000"), None, Some("01AABBCCDDEEFF0102030405060708090A")] {
        let (token, message) = (Token::random(), id.map(MessageId::new));
        let claim = ClaimRequest { member: member(5), message, ..claim_request(&key, token, LONG) };
        expect_claimed(&bench.try_claim(claim).await.expect("an answer"));
        let kept = record(&bench, &key).await;
        assert_eq!((kept.member, kept.message), (member(5), message));
        assert_eq!(bench.release(&key, token, Attempts::Keep).await, Answer::Done);
        assert_eq!(record(&bench, &key).await.message, message);
    }
    let key = bench.key("anew");
    let message = Some(MessageId::new("7F00000100002A139A558A43A7E90000"));
    let complete = CompleteRequest { member: member(6), message, ..complete_request(&key, Token::random()) };
    assert_eq!(bench.try_complete(complete).await.expect("an answer"), Answer::Done);
    let kept = record(&bench, &key).await;
    assert_eq!((kept.member, kept.message), (member(6), message));
}
