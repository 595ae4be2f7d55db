//! Different keys and namespaces are different work, whatever bytes they hold.

use super::super::Harness;
use super::super::bench::{Bench, LONG, claim_request, complete_request, expect_claimed, expect_completed};
use crate::key::{IdempotencyKey, MAX_KEY_LEN, Namespace, RecordKey};
use crate::record::Token;
use crate::store::Answer;

/// Keys that a careless store would cut, fold or mix up.
pub async fn unusual_keys_are_kept_apart(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    expect_apart(&bench, unusual().into_iter().map(|key| bench.key_of(key)).collect()).await;
}

/// Equal keys of two namespaces, and namespaces that would collide if they were joined without lengths.
pub async fn namespaces_are_kept_apart(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let root = format!("{:032x}", u128::from_be_bytes(Token::random().to_bytes()));
    let key = IdempotencyKey::new("order 7").expect("a key");
    let in_namespace = |parts: &[&str]| {
        let parts = std::iter::once(root.as_str()).chain(parts.iter().copied());
        RecordKey::new(Namespace::new(parts), key.clone())
    };
    let long = "group".repeat(50);
    let mut records = [
        &["group", "topic"][..],
        &["grouptopic"],
        &["group:topic"],
        &["group", "topic", ""],
        &["", "group", "topic"],
        &["Group", "topic"],
        &["group,5:topic"],
        &["组", "主题"],
        &[&long],
    ]
    .map(in_namespace)
    .to_vec();
    let borrowed = IdempotencyKey::from_parts(&[&"topic", &"order 7"]).expect("a key");
    records.push(RecordKey::new(Namespace::new([root.as_str(), "group"]), borrowed));
    expect_apart(&bench, records).await;
}

fn unusual() -> Vec<IdempotencyKey> {
    let longest = "k".repeat(MAX_KEY_LEN);
    let mut almost = "k".repeat(MAX_KEY_LEN - 1);
    almost.push('l');
    let single: [&[u8]; 24] = [
        b"a",
        b"A",
        b"a ",
        b" a",
        b"\0",
        b"\0\0",
        b"a\0",
        b"a\0b",
        b"\xff",
        b"\xff\xfe",
        b"\r\n",
        b"'; --",
        b"{tag}a",
        b"{tag}b",
        b"{}",
        b"%",
        b"_",
        b"*",
        b"a:b",
        b"1:a,",
        "é".as_bytes(),
        "e\u{301}".as_bytes(),
        "🦀".as_bytes(),
        "🦀🦀".as_bytes(),
    ];
    let mut keys: Vec<_> = single.iter().map(|part| IdempotencyKey::new(*part)).collect();
    keys.extend([IdempotencyKey::new(longest.as_str()), IdempotencyKey::new(almost.as_str())]);
    let pairs = [("a:b", "c"), ("a", "b:c"), ("1:a,1", "b"), ("1:a", "1:b"), ("ab", "c"), ("a", "bc")];
    keys.extend(pairs.map(|(one, two)| IdempotencyKey::from_parts(&[&one, &two])));
    keys.push(IdempotencyKey::from_parts(&[&"a", &"b", &"c"]));
    keys.into_iter().map(|key| key.expect("a key")).collect()
}

/// Each can be claimed by itself, holds its own record, and is completed without touching the others.
async fn expect_apart(bench: &Bench<'_>, keys: Vec<RecordKey>) {
    let tokens: Vec<Token> = keys.iter().map(|_| Token::random()).collect();
    let claims: Vec<_> =
        keys.iter().zip(&tokens).map(|(key, token)| claim_request(key, *token, LONG)).collect();
    for (place, answer) in bench.store.claim(&claims).await.expect("answers").into_iter().enumerate() {
        let answer = answer.expect("an answer");
        assert!(
            matches!(answer, crate::store::Claim::Claimed { .. }),
            "key {place} is not its own: {answer:?}"
        );
        expect_claimed(&answer);
    }
    for (place, key) in keys.iter().enumerate() {
        let record = bench.store.read(key).await.expect("an answer").expect("a record");
        assert_eq!(record.token, tokens[place], "key {place}");
    }
    let done: Vec<_> =
        keys.iter().zip(&tokens).step_by(2).map(|(key, token)| complete_request(key, *token)).collect();
    for answer in bench.store.complete(&done).await.expect("answers") {
        assert_eq!(answer.expect("an answer"), Answer::Done);
    }
    for (place, key) in keys.iter().enumerate() {
        let claim = bench.claim(key, tokens[place], LONG).await;
        if place % 2 == 0 {
            expect_completed(&claim);
        } else {
            expect_claimed(&claim);
        }
    }
}
