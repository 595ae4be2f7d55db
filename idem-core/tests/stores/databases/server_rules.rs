//! The rules of stores whose database server is unreachable, misconfigured or silent.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- databases::`

use std::time::{Duration, Instant};

use idem_core::store::{Claim, ClaimRequest, Purge, Store};
use idem_core::{Fence, StoreError};

use crate::support::proxy::{Line, Proxy};
use crate::support::records::{claims, rival};
use crate::support::redis_server::free_port;
use crate::support::sql::{Server, becomes};

/// Makes a test of each rule for a [`Server`] with tables.
macro_rules! server_tests {
    ($harness:expr) => {
        $crate::databases::server_rules::server_tests! { $harness;
            an_unreachable_address_is_named_without_the_password
            a_silent_address_is_given_up_in_time
            a_wrong_password_and_an_unknown_database_are_settings
            what_is_no_url_is_a_setting_and_not_shown
            connections_that_broke_unnoticed_cost_no_error
            a_server_that_is_gone_is_unavailable_and_found_again
            a_silent_server_is_unavailable_in_time_and_what_it_did_is_found_by_asking_again
            a_purge_waits_for_no_expired_record_that_a_transaction_has_claimed_again
        }
    };
    ($harness:expr; $($rule:ident)*) => {$(
        #[tokio::test]
        async fn $rule() {
            $crate::databases::server_rules::$rule(&$harness).await;
        }
    )*};
}

pub(crate) use server_tests;

const PATIENT: Duration = Duration::from_secs(20);

async fn refused(server: &dyn Server, url: String) -> StoreError {
    let start = Instant::now();
    let error = server.connect_to(url, PATIENT).await.err().expect("an error");
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    error
}

pub(crate) async fn an_unreachable_address_is_named_without_the_password(server: &dyn Server) {
    let scheme = server.url().split_once("://").unwrap().0;
    let port = free_port();
    let error = refused(server, format!("{scheme}://somebody:hunter2@127.0.0.1:{port}/database")).await;
    assert!(error.is_unavailable(), "{error:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

pub(crate) async fn a_silent_address_is_given_up_in_time(server: &dyn Server) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let scheme = server.url().split_once("://").unwrap().0;
    let error = refused(server, format!("{scheme}://{}/database", listener.local_addr().unwrap())).await;
    assert!(error.is_unavailable(), "{error:?}");
}

pub(crate) async fn a_wrong_password_and_an_unknown_database_are_settings(server: &dyn Server) {
    let wrong = refused(server, server.url_with(Some("nobody:hunter2"), None)).await;
    assert!(wrong.is_config() && wrong.to_string().contains("user and password"), "{wrong:?}");
    let unknown = refused(server, server.url_with(None, Some("no_such_database"))).await;
    assert!(unknown.is_config() && unknown.to_string().contains("no database of that name"), "{unknown:?}");
}

pub(crate) async fn what_is_no_url_is_a_setting_and_not_shown(server: &dyn Server) {
    for url in ["hunter2 is no url", "http://user:hunter2@127.0.0.1/", ""] {
        assert!(refused(server, url.to_owned()).await.is_config(), "{url}");
    }
}

/// As after a restart of the server that no call noticed.
pub(crate) async fn connections_that_broke_unnoticed_cost_no_error(server: &dyn Server) {
    let proxy = Proxy::before(server.url()).await;
    let store = server.connect_to(proxy.url(server.url()), PATIENT).await.unwrap();
    for _ in 0..5 {
        let batches = [claims(2), claims(2), claims(2)];
        let answers = futures_util::future::join_all(batches.iter().map(|batch| store.claim(batch))).await;
        for answers in answers {
            assert_eq!(answers.unwrap().len(), 2);
        }
        proxy.reset();
    }
}

pub(crate) async fn a_server_that_is_gone_is_unavailable_and_found_again(server: &dyn Server) {
    let proxy = Proxy::before(server.url()).await;
    let store = server.connect_to(proxy.url(server.url()), PATIENT).await.unwrap();
    store.claim(&claims(2)).await.unwrap();
    proxy.set(Line::Cut);
    for _ in 0..3 {
        let error = store.claim(&claims(2)).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
    }
    proxy.set(Line::Open);
    store.claim(&claims(2)).await.unwrap();
}

pub(crate) async fn a_silent_server_is_unavailable_in_time_and_what_it_did_is_found_by_asking_again(
    server: &dyn Server,
) {
    let proxy = Proxy::before(server.url()).await;
    let timeout = Duration::from_millis(700);
    let store = server.connect_to(proxy.url(server.url()), timeout).await.unwrap();
    let warm = claims(4);
    store.claim(&warm).await.unwrap();
    let batch = claims(4);
    proxy.set(Line::Mute);
    let start = Instant::now();
    let error = store.claim(&batch).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(start.elapsed() >= timeout && start.elapsed() < timeout * 5, "{:?}", start.elapsed());
    proxy.set(Line::Open);
    // The server got the claim and made it, though the answer was lost.
    let patient = server.connect_to(server.url().to_owned(), PATIENT).await.unwrap();
    let first = fences(&*patient, &batch).await;
    for request in &batch {
        let record = patient.read(&request.key).await.unwrap().unwrap();
        assert_eq!(record.token, request.token);
    }
    assert_eq!(fences(&*patient, &batch).await, first);
}

/// Nor does anybody wait for the purge.
pub(crate) async fn a_purge_waits_for_no_expired_record_that_a_transaction_has_claimed_again(
    server: &dyn Server,
) {
    let store = server.open(None, Purge::off()).await.unwrap();
    let batch = claims(20);
    store.claim(&batch).await.unwrap();
    server.run("UPDATE {table} SET expires_at = 1000").await;
    let mut open = store.transactions().unwrap().begin().await.unwrap();
    assert!(matches!(open.claim(&rival(&batch[7])).await.unwrap(), Claim::Claimed { .. }));
    let _purger = server.open(None, Purge::default().every(Duration::from_millis(50))).await.unwrap();
    becomes(server, "SELECT count(*) FROM {table}", 1).await;
    let again = store.claim(&[rival(&batch[3]), rival(&batch[12])]).await.unwrap();
    assert!(again.iter().all(|answer| matches!(answer, Ok(Claim::Claimed { .. }))), "{again:?}");
    open.rollback().await;
    // The next walk takes the record that was left out.
    becomes(server, "SELECT count(*) FROM {table} WHERE expires_at = 1000", 0).await;
}

async fn fences(store: &dyn Store, batch: &[ClaimRequest]) -> Vec<Fence> {
    let claimed = store.claim(batch).await.unwrap().into_iter().map(|answer| match answer.unwrap() {
        Claim::Claimed { fence, attempt: 1, after: None } => fence,
        other => panic!("{other:?}"),
    });
    claimed.collect()
}
