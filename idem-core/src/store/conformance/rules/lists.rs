//! Listings, and the books beside the records.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::Harness;
use super::super::bench::{
    Bench, LONG, PAST_SHORT, SHORT, bare, claim_request, expect_claimed, release_request,
};
use crate::doubt::{Doubt, DoubtCause, MemberId};
use crate::key::{IdempotencyKey, Namespace, RecordKey};
use crate::record::{Fence, RECORD_VERSION, State, Token};
use crate::store::{
    Answer, Attempts, AuditEntry, ClaimRequest, Enrolment, ListedKey, ListedRecord, PageRequest,
    PersonsDecision, RecordFilter, ReleaseRequest,
};

/// All records that a filter takes, in pages of so many.
async fn list(bench: &Bench<'_>, filter: &RecordFilter, rows: u32) -> Vec<ListedRecord> {
    let (mut page, mut found) = (PageRequest { after: None, rows }, Vec::new());
    loop {
        let next = bench.store.list(filter, &page).await.expect("a page");
        found.extend(next.records);
        let Some(after) = next.next else { return found };
        assert_ne!(page.after.as_ref(), Some(&after), "a page ends where it began");
        page.after = Some(after);
    }
}

fn names(found: &[ListedRecord]) -> BTreeSet<String> {
    found.iter().map(|found| found.key.to_string()).collect()
}

fn expected(keys: &[RecordKey]) -> BTreeSet<String> {
    keys.iter().map(|key| ListedKey::Whole(key.clone()).to_string()).collect()
}

/// Whatever the size of the pages; those of other namespaces are not among them.
pub async fn a_listing_has_every_record_of_a_namespace(harness: &dyn Harness) {
    let (bench, other) = (Bench::new(harness).await, Bench::new(harness).await);
    let keys = bench.keys(23);
    for key in keys.iter().chain(&other.keys(5)) {
        bench.claimed(key, LONG).await;
    }
    let filter = RecordFilter::new().namespace(bench.namespace().clone());
    for rows in [7, 23, 1_000] {
        let found = list(&bench, &filter, rows).await;
        assert_eq!(names(&found), expected(&keys), "in pages of {rows}");
    }
    let all = list(&bench, &RecordFilter::new().within(bench.namespace().clone()), 1_000).await;
    assert_eq!(names(&all), expected(&keys));
    let everything = names(&list(&bench, &RecordFilter::new(), 1_000).await);
    assert!(expected(&keys).is_subset(&everything) && expected(&other.keys(5)).is_subset(&everything));
}

/// With what it shows of each.
pub async fn a_listing_takes_states_doubts_and_ages(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let keys = bench.keys(4);
    let mut tokens = Vec::new();
    for key in &keys {
        tokens.push(bench.claimed(key, LONG).await.0);
    }
    assert_eq!(bench.complete(&keys[1], tokens[1], LONG).await, Answer::Done);
    assert_eq!(bench.release(&keys[2], tokens[2], Attempts::Count).await, Answer::Done);
    let member = MemberId::from_bytes([9; 8]);
    let doubt =
        Doubt { cause: DoubtCause::TimedOut, fence: Fence(1_700_000_000_000_000), attempt: 1, member };
    let released = ReleaseRequest { doubt: Some(doubt), ..release_request(&keys[3], tokens[3]) };
    assert_eq!(bench.try_release(released).await.expect("an answer"), Answer::Done);

    let own = || RecordFilter::new().namespace(bench.namespace().clone());
    let listed = async |filter: RecordFilter| list(&bench, &filter, 1_000).await;
    for (filter, taken) in [
        (own().state(State::InProgress), &keys[..1]),
        (own().state(State::Completed), &keys[1..2]),
        (own().state(State::Released), &keys[2..]),
        (own().in_doubt(true), &keys[3..]),
        (own().in_doubt(false), &keys[..3]),
        (own().in_doubt(true).state(State::Completed), &[]),
        (own().older_than(LONG), &[]),
        (own().younger_than(LONG), &keys[..]),
        (own().in_doubt(true).younger_than(LONG), &keys[3..]),
        (own().in_doubt(true).older_than(LONG), &[]),
        (RecordFilter::of(keys[1].clone()), &keys[1..2]),
        (RecordFilter::of(keys[1].clone()).in_doubt(true), &[]),
        (RecordFilter::of(bench.key("nobody's")), &[]),
    ] {
        assert_eq!(names(&listed(filter.clone()).await), expected(taken), "{filter:?}");
    }
    for key in &keys {
        let found = listed(RecordFilter::of(key.clone())).await;
        let [found] = &found[..] else { panic!("one record of one key: {found:?}") };
        assert_eq!(found.record.as_ref().ok(), bench.store.read(key).await.expect("an answer").as_ref());
        let in_progress = *key == keys[0];
        assert_eq!(found.remaining > Duration::ZERO && found.remaining <= LONG, in_progress, "{found:?}");
        let age = found.now.saturating_sub(Duration::from_micros(found.record.as_ref().expect("it").fence.0));
        assert!(age < LONG, "{age:?}");
    }
}

/// A record whose life is over is not listed, purged or not.
pub async fn a_listing_leaves_out_what_has_expired(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let keys = bench.keys(2);
    for (key, retention) in keys.iter().zip([Duration::ZERO, LONG]) {
        let claim = ClaimRequest { retention, ..claim_request(key, Token::random(), SHORT) };
        expect_claimed(&bench.try_claim(claim).await.expect("an answer"));
    }
    bench.pass(PAST_SHORT).await;
    let found = list(&bench, &RecordFilter::new().namespace(bench.namespace().clone()), 1_000).await;
    assert_eq!(names(&found), expected(&keys[1..]));
    let [found] = &found[..] else { panic!("{found:?}") };
    assert_eq!(found.remaining, Duration::ZERO, "the lease is over");
}

/// Of a key that is too long for an index, the namespace at least.
pub async fn a_listing_names_long_keys(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let long =
        |end: &str| bench.key_of(IdempotencyKey::new(format!("{}{end}", "k".repeat(3_000))).expect("a key"));
    for key in [long("a"), long("b"), bench.key("short")] {
        bench.claimed(&key, LONG).await;
    }
    for rows in [1, 1_000] {
        let found = list(&bench, &RecordFilter::new().namespace(bench.namespace().clone()), rows).await;
        assert_eq!(names(&found).len(), 3, "{found:?}");
        assert!(found.iter().all(|found| found.key.namespace() == Some(bench.namespace())));
    }
}

/// A newer version's record is shown as one, where nothing is asked of it; where the harness can plant one.
pub async fn a_listing_shows_records_that_are_not_understood(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (newer, own) = (bench.key("newer"), bench.key("own"));
    let mut bytes = bare(State::InProgress, Token::random(), Fence(1), 0, Duration::ZERO).encode();
    bytes[0] = RECORD_VERSION.wrapping_add(1);
    if !harness.plant(&newer, &bytes).await {
        return;
    }
    bench.claimed(&own, LONG).await;
    let own_filter = || RecordFilter::new().namespace(bench.namespace().clone());
    for filter in [own_filter(), RecordFilter::of(newer.clone())] {
        let found = list(&bench, &filter, 1_000).await;
        let unread: Vec<_> = found.iter().filter(|found| found.record.is_err()).collect();
        assert_eq!(unread.len(), 1, "{found:?}");
        assert_eq!(unread[0].key, ListedKey::Whole(newer.clone()));
    }
    let readable = list(&bench, &own_filter().in_doubt(false).state(State::InProgress), 1_000).await;
    assert!(readable.iter().any(|found| found.key == ListedKey::Whole(own.clone())));
    assert_eq!(harness.raw(&newer).await.as_deref(), Some(&bytes[..]), "it was changed");
}

/// Where the store has a registry: a member is there for its life, and when it was seen first stays.
pub async fn members_are_there_for_their_life(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let Some(registry) = bench.store.registry() else { return };
    let enrolment = |life| Enrolment::of_this_process(MemberId::random(), "campaign \u{1F355}", life);
    let (short, long) = (enrolment(SHORT), enrolment(LONG));
    let entry = async |member: MemberId| {
        let members = registry.members().await.expect("the members");
        members.into_iter().find(|known| known.member == member)
    };
    registry.enrol(&short).await.expect("to be enrolled");
    registry.enrol(&long).await.expect("to be enrolled");
    let first = entry(long.member).await.expect("the member");
    assert_eq!((&first.host, first.process), (&long.host, std::process::id()));
    assert_eq!((first.group.as_str(), &first.version), ("campaign \u{1F355}", &long.version));
    assert!(first.started <= first.seen, "{first:?}");
    bench.pass(PAST_SHORT).await;
    assert_eq!(entry(short.member).await, None, "its life is over");
    registry.enrol(&long).await.expect("to be enrolled");
    let second = entry(long.member).await.expect("the member");
    assert!(second.started == first.started && second.seen >= first.seen, "{first:?} {second:?}");
}

/// Where the store has a trail: the newest first, all of each entry, and page by page.
pub async fn the_trail_of_decisions_is_kept(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let Some(registry) = bench.store.registry() else { return };
    let long = bench.key_of(IdempotencyKey::new("k".repeat(3_000)).expect("a key"));
    let keys = [bench.key("one"), long, bench.key("three")];
    let who = format!("conformance {:016x}", rand::random::<u64>());
    let mut written = Vec::new();
    for (number, key) in (0_u64..).zip(keys) {
        let entry = AuditEntry {
            number: rand::random::<u64>() >> 1,
            who: who.clone(),
            decision: PersonsDecision::ALL[usize::try_from(number).expect("small")],
            forced: number % 2 == 0,
            key,
            text: format!("said \u{1F355}, \u{0}'\"{number}").replace('\u{0}', "\\0"),
            is_end: number % 2 == 1,
        };
        registry.append(&entry).await.expect("to be written");
        written.insert(0, entry);
    }
    let (mut found, mut before) = (Vec::new(), None);
    while found.len() < written.len() {
        // Others write to the same trail.
        let page = registry.trail(before.as_ref(), 2).await.expect("the trail");
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        before = Some(last.place.clone());
        found.extend(page.into_iter().filter(|found| found.entry.who == who));
    }
    assert_eq!(found.into_iter().map(|found| found.entry).collect::<Vec<_>>(), written);
}

/// A namespace whose name is another one's beginning has none of its records.
pub async fn namespaces_are_listed_apart(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let unique = format!("{:016x}", rand::random::<u64>());
    let [outer, inner, other] = [
        &["conformance", &unique][..],
        &["conformance", &unique, "*?[a]\\"],
        &["conformance", &format!("{unique}0")],
    ]
    .map(|parts| Namespace::new(parts.iter().copied()));
    let key =
        |namespace: &Namespace| RecordKey::new(namespace.clone(), IdempotencyKey::new("key").expect("a key"));
    let keys = [&outer, &inner, &other].map(key);
    for key in &keys {
        bench.claimed(key, LONG).await;
    }
    for (namespace, own) in [(&outer, &keys[..1]), (&inner, &keys[1..2]), (&other, &keys[2..])] {
        let found = list(&bench, &RecordFilter::new().namespace(namespace.clone()), 1_000).await;
        assert_eq!(names(&found), expected(own), "{namespace:?}");
    }
    let within = list(&bench, &RecordFilter::new().within(outer), 1_000).await;
    assert_eq!(names(&within), expected(&keys[..2]));
}
