//! A record in the memory store takes as much memory as the documentation says.

use std::alloc::System;
use std::time::Duration;

use idem_core::store::{ClaimRequest, CompleteRequest};
use idem_core::{Fence, IdempotencyKey, MemoryStore, Namespace, RecordKey, Store, Token};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The only test of this binary: others would allocate beside it.
#[tokio::test]
async fn a_record_takes_about_350_bytes() {
    const RECORDS: usize = 200_000;
    let retention = Duration::from_hours(96);
    let namespace = Namespace::new(["", "campaign", "topic", "orders", "PAID"]);
    let store = MemoryStore::new();
    let region = Region::new(ALLOCATOR);
    for number in 0..RECORDS {
        let name = format!("order {number:014}");
        let key = RecordKey::new(namespace.clone(), IdempotencyKey::new(name).unwrap());
        let (token, lease) = (Token::random(), Duration::from_secs(30));
        let claim = ClaimRequest::new(key.clone(), token, lease, retention, idem_core::MemberId::random());
        store.claim(&[claim]).await.unwrap().remove(0).unwrap();
        let done = CompleteRequest::new(key, token, Fence(1), retention, idem_core::MemberId::random());
        store.complete(&[done]).await.unwrap().remove(0).unwrap();
    }
    let change = region.change();
    let bytes = (change.bytes_allocated - change.bytes_deallocated) / RECORDS;
    assert!((150..=350).contains(&bytes), "{bytes} bytes a record");
    println!("{bytes} bytes a record");
}
