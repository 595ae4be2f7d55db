//! The outbox on MariaDB and MySQL.
//!
//! Run alone: `cargo test -p idem-core --features conformance,mysql --test stores -- outbox::mysql::`

use std::sync::Arc;

use idem_core::outbox::{Fate, Outbox, TypedOutbox as _};
use idem_core::store::MySqlOutboxBuilder;
use idem_core::{MySqlOutbox, StoreError};

use crate::support::bank::Bank;
use crate::support::mysql::MySql;
use crate::support::shop::{Options, Shop, begin, connection, message, open, with_options};

fn builder(shop: &MySql) -> MySqlOutboxBuilder {
    let url = format!("{}/{}", shop.url.rsplit_once('/').unwrap().0, shop.database);
    MySqlOutbox::builder(url).transactions(4)
}

impl Shop for MySql {
    async fn outbox(&self, options: Options) -> Result<Arc<dyn Outbox>, StoreError> {
        Ok(with_options!(builder(self), options).connect().await?.outbox())
    }

    async fn migrate(&self, table: &'static str) -> Result<(), StoreError> {
        builder(self).table(table).migrate().await
    }

    async fn run(&self, sql: &str) {
        self.execute(&format!("USE {}; {sql}", self.database)).await;
    }

    async fn count(&self, sql: &str) -> i64 {
        self.number(&sql.replace("FROM ", &format!("FROM {}.", self.database))).await
    }
}

super::outbox_tests!(MySql);

/// A change of a table commits the work before it. The marker still works, and the message is not sent. Work after it is not
/// kept.
#[tokio::test]
async fn a_change_of_a_table_is_no_commit_of_the_message() {
    let (_shop, outbox) = open::<MySql>(Options::default()).await;
    let halfway = message();
    let mut open = begin(&outbox, &halfway, "1").await;
    let on = connection::<MySql>(&mut *open);
    // Committed before, it is refused itself.
    let _ = <MySql as Bank>::execute(on, "CREATE TABLE more (id bigint)").await;
    let error = <MySql as Bank>::execute(on, "INSERT INTO payments VALUES ('2', 1)").await.unwrap_err();
    assert!(error.to_string().contains("READ ONLY"), "{error}");
    open.rollback().await;
    assert_eq!(outbox.decide(halfway.id).await.unwrap(), Fate::RolledBack);
    assert!(outbox.due().await.unwrap().is_empty());
}
