//! The engine's entry in the store's registry.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;

use super::{Engine, key, secs};
use crate::store::{ClaimRequest, MemberEntry, Store as _};
use crate::{Clock, MemoryStore, Token};

fn members(store: &MemoryStore) -> Vec<MemberEntry> {
    store.registry().unwrap().members().now_or_never().unwrap().unwrap()
}

/// An engine is there while it lives, and as long again as records of its own may be; the records name it.
#[tokio::test(start_paused = true)]
async fn an_engine_is_a_member_as_long_as_its_records_may_be_there() {
    let store = MemoryStore::builder().clock(Clock::tokio()).build();
    let engine = Engine::with(Arc::new(store.clone()), Clock::tokio(), Handle::current());
    engine.enrol("campaign", secs(60));
    tokio::time::sleep(secs(1)).await;
    let [first] = &members(&store)[..] else { panic!("one member") };
    assert_eq!((first.group.as_str(), first.process), ("campaign", std::process::id()));
    assert_eq!(first.member, engine.0.member);
    // It says so again long before it would be forgotten.
    tokio::time::sleep(secs(200)).await;
    assert_eq!(members(&store).len(), 1);
    drop(engine);
    tokio::time::sleep(secs(59)).await;
    assert_eq!(members(&store).len(), 1, "its records may be there still");
    tokio::time::sleep(secs(31)).await;
    assert_eq!(members(&store), []);
}

/// An operator finds the run of a process that died by its member.
#[tokio::test(start_paused = true)]
async fn a_report_names_the_process_whose_run_it_was() {
    let store = MemoryStore::builder().clock(Clock::tokio()).build();
    let engine = Engine::with(Arc::new(store.clone()), Clock::tokio(), Handle::current());
    engine.enrol("campaign", secs(60));
    tokio::time::sleep(secs(1)).await;
    let lease = Duration::from_secs(5);
    let claim = ClaimRequest::new(key("a"), Token::random(), lease, secs(60), engine.0.member);
    store.claim(&[claim]).await.unwrap().remove(0).unwrap();
    let admin = crate::admin::Admin::new(Arc::new(store), "alice");
    let report = admin.show(&key("a")).await.unwrap().unwrap().to_string();
    for said in
        ["in progress: the lease lasts 5.0 s", "campaign on ", &format!("process {}", std::process::id())]
    {
        assert!(report.contains(said), "{said} is missing in:\n{report}");
    }
}
