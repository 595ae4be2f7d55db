//! Fences grow across transactions that commit or roll back and leases beside them.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- transactions::`

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use idem_core::store::{Attempts, Claim, ClaimRequest, ReleaseRequest, Store};
use idem_core::{Fence, Token};
use parking_lot::Mutex;

use crate::support::bank::{Bank, SECOND, job};

const ROUNDS: usize = 25;

fn claim(name: &str) -> ClaimRequest {
    ClaimRequest::new(
        job(name).key,
        Token::random(),
        30 * SECOND,
        3_600 * SECOND,
        idem_core::MemberId::random(),
    )
}

/// Has the key for a moment, in a transaction that leaves nothing.
async fn hold_in_transaction(store: &dyn Store, name: &str, holders: &Mutex<Vec<Fence>>) {
    let transactions = store.transactions().unwrap();
    loop {
        let Ok(mut open) = transactions.begin().await else { continue };
        let claimed = open.claim(&claim(name)).await;
        if let Ok(Claim::Claimed { fence, .. }) = claimed {
            holders.lock().push(fence);
            tokio::time::sleep(Duration::from_millis(2)).await;
            open.rollback().await;
            return;
        }
        open.rollback().await;
    }
}

/// Likewise, under a lease.
async fn hold_under_a_lease(store: &dyn Store, name: &str, holders: &Mutex<Vec<Fence>>) {
    loop {
        let request = claim(name);
        let claimed = store.claim(std::slice::from_ref(&request)).await;
        let Ok(Claim::Claimed { fence, .. }) = claimed.unwrap().remove(0) else { continue };
        holders.lock().push(fence);
        let ClaimRequest { key, token, retention, .. } = request;
        let release = ReleaseRequest::new(key, token, retention, Attempts::Keep);
        store.release(&[release]).await.unwrap().remove(0).unwrap();
        return;
    }
}

/// Nobody is told a smaller number than somebody before: neither where a record is there, nor where all that was there was
/// rolled back.
pub(crate) async fn invariant_7_fences_grow_from_transaction_to_transaction<B: Bank>() {
    let bank = B::open().await;
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(bank.store(20 * SECOND).await);
    }
    for round in 0..ROUNDS {
        let (name, holders) = (format!("{round}"), Arc::new(Mutex::new(Vec::new())));
        if round % 3 == 0 {
            hold_under_a_lease(&*stores[0], &name, &holders).await;
        }
        let holding = stores.iter().enumerate().map(|(place, store)| {
            let (name, holders) = (&name, &holders);
            async move {
                if round % 3 == 2 && place == 3 {
                    hold_under_a_lease(&**store, name, holders).await;
                } else {
                    hold_in_transaction(&**store, name, holders).await;
                }
            }
        });
        tokio::time::timeout(60 * SECOND, join_all(holding)).await.expect("all have had it");
        let fences = holders.lock().clone();
        assert!(
            fences.len() >= stores.len() && fences.is_sorted_by(|one, two| one < two),
            "{round}: {fences:?}"
        );
    }
}
