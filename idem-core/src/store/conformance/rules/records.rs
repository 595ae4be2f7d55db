//! The content of a record, and the part of it that an operator sees.

use bytes::Bytes;

use super::super::Harness;
use super::super::bench::{
    Bench, LONG, claim_request, complete_request, expect_claimed, expect_completed, expect_in_progress,
};
use crate::key::Fingerprint;
use crate::record::{Record, State, Token};
use crate::store::{Answer, Attempts, ClaimRequest, CompleteRequest};

/// A later claim gets the holder's fingerprint, and the reply once there is one.
pub async fn reply_and_fingerprint_are_kept(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    for (name, fingerprint, reply) in [
        ("both", Some(Fingerprint::of(b"payload")), Some(Bytes::from_static(b"reply"))),
        ("fingerprint", Some(Fingerprint::of(b"other")), None),
        ("reply", None, Some(Bytes::from_static(b"reply"))),
        ("neither", None, None),
    ] {
        let (key, token) = (bench.key(name), Token::random());
        let claim = ClaimRequest { fingerprint, ..claim_request(&key, token, LONG) };
        expect_claimed(&bench.try_claim(claim).await.expect("an answer"));
        let (_, told) = expect_in_progress(&bench.claim(&key, Token::random(), LONG).await);
        assert_eq!(told, fingerprint, "{name}, in progress");
        assert_eq!(bench.renew(&key, token, LONG).await, Answer::Done);
        let request = CompleteRequest { fingerprint, reply: reply.clone(), ..complete_request(&key, token) };
        assert_eq!(bench.try_complete(request).await.expect("an answer"), Answer::Done);
        let told = expect_completed(&bench.claim(&key, Token::random(), LONG).await);
        assert_eq!(told, (fingerprint, reply), "{name}, completed");
    }
}

/// A released key's next claim brings its own fingerprint; a repeated claim does not change it.
pub async fn fingerprint_is_the_last_claims(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("two payloads");
    for payload in [Some("first"), None, Some("third")] {
        let fingerprint = payload.map(|payload| Fingerprint::of(payload.as_bytes()));
        let token = Token::random();
        let claim = ClaimRequest { fingerprint, ..claim_request(&key, token, LONG) };
        for _ in 0..2 {
            expect_claimed(&bench.try_claim(claim.clone()).await.expect("an answer"));
        }
        let (_, told) = expect_in_progress(&bench.claim(&key, Token::random(), LONG).await);
        assert_eq!(told, fingerprint);
        assert_eq!(bench.release(&key, token, Attempts::Keep).await, Answer::Done);
    }
}

/// No reply and an empty one are different, and none is cut or changed.
pub async fn a_reply_may_be_empty_large_or_any_bytes(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let all: Vec<u8> = (0..=255).collect();
    let large = all.repeat(256);
    for (index, reply) in [Vec::new(), vec![0], vec![0xff; 3], all, large].into_iter().enumerate() {
        let key = bench.key(&format!("reply {index}"));
        let (token, ..) = bench.claimed(&key, LONG).await;
        let reply = Some(Bytes::from(reply));
        let request = CompleteRequest { reply: reply.clone(), ..complete_request(&key, token) };
        assert_eq!(bench.try_complete(request).await.expect("an answer"), Answer::Done);
        assert_eq!(
            expect_completed(&bench.claim(&key, Token::random(), LONG).await).1,
            reply,
            "reply {index}"
        );
        let record = bench.store.read(&key).await.expect("an answer").expect("a record");
        assert_eq!(record.reply, reply, "reply {index}");
    }
}

/// The operator's view follows the record, and a removed key is as new.
pub async fn read_shows_the_record_and_remove_takes_it_out(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("watched");
    let read = async || -> Option<Record> { bench.store.read(&key).await.expect("an answer") };
    assert_eq!(read().await, None);
    assert!(!bench.store.remove(&key, None).await.expect("an answer"));
    let (token, fence, _) = bench.claimed(&key, LONG).await;
    let record = read().await.expect("a record");
    assert_eq!(
        (record.state, record.token, record.fence, record.attempts, record.reply),
        (State::InProgress, token, fence, 0, None)
    );
    assert_eq!(bench.release(&key, token, Attempts::Count).await, Answer::Done);
    let record = read().await.expect("a record");
    assert_eq!((record.state, record.token, record.attempts), (State::Released, token, 1));
    let (token, fence, _) = bench.claimed(&key, LONG).await;
    assert_eq!(bench.complete(&key, token, LONG).await, Answer::Done);
    let record = read().await.expect("a record");
    assert_eq!(
        (record.state, record.token, record.fence, record.attempts),
        (State::Completed, token, fence, 1)
    );
    assert!(bench.store.remove(&key, None).await.expect("an answer"));
    assert!(!bench.store.remove(&key, None).await.expect("an answer"));
    assert_eq!(read().await, None);
    assert_eq!(bench.claimed(&key, LONG).await.2, 1);
}
