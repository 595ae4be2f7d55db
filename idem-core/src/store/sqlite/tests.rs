//! The statements on a plain connection, as in somebody's transaction.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::dialect::Sqlite;
use crate::key::{IdempotencyKey, Namespace, RecordKey};
use crate::record::Token;
use crate::store::ClaimRequest;
use crate::store::sql::{BatchEntry, Names, StoreDialect as _};

async fn database() -> (Sqlite, SqliteConnection) {
    let sqlite = Sqlite::new(&Names::new('"'));
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlite.migrate(&mut connection).await.unwrap();
    (sqlite, connection)
}

fn claims(count: usize, lease: Duration) -> Vec<BatchEntry<ClaimRequest>> {
    let claim = |place: usize| {
        let key = RecordKey::new(Namespace::new(["group"]), IdempotencyKey::new(place).unwrap());
        let (token, retention) = (Token::random(), Duration::ZERO);
        BatchEntry::new(ClaimRequest::new(key, token, lease, retention, crate::MemberId::random()), place)
    };
    (10..10 + count).map(claim).collect()
}

#[tokio::test]
async fn a_purge_deletes_what_has_expired_in_its_range_and_no_more() {
    let (sqlite, mut connection) = database().await;
    sqlite.claim(&mut connection, &claims(20, Duration::ZERO)).await.unwrap();
    let mut behind = Vec::new();
    for expected in [7, 7] {
        let range = sqlite.purge(&mut connection, &behind, 7).await.unwrap();
        assert_eq!(range.deleted, expected);
        behind = range.end.expect("the table does not end here");
    }
    let last = sqlite.purge(&mut connection, &behind, 7).await.unwrap();
    assert_eq!((last.deleted, last.end), (6, None));
}

#[tokio::test]
async fn what_is_claimed_in_a_transaction_goes_with_it() {
    let (sqlite, mut connection) = database().await;
    let batch = claims(1, Duration::from_mins(1));
    let mut transaction = connection.begin().await.unwrap();
    assert_eq!(sqlite.claim_inside(&mut transaction, &batch).await.unwrap().len(), 1);
    assert!(sqlite.read(&mut transaction, &batch[0].key).await.unwrap().is_some());
    transaction.rollback().await.unwrap();
    assert!(sqlite.read(&mut connection, &batch[0].key).await.unwrap().is_none());
}
