//! MariaDB and MySQL.

use std::sync::Arc;

use idem_core::outbox::{Fate, Outbox, TypedOutbox as _};
use idem_core::store::MySqlOutboxBuilder;
use idem_core::{MySqlOutbox, StoreError};

use super::{Options, Shop, begin, connection, message, open, with_options};
use crate::mysql_harness::MySql;
use crate::transactions::Bank;

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

/// A change of a table commits what was done before it; the marker is at work still, and the message is not sent.
#[tokio::test]
async fn a_change_of_a_table_is_no_commit_of_the_message() {
    let (_shop, outbox) = open::<MySql>(Options::default()).await;
    let halfway = message();
    let mut open = begin(&outbox, &halfway, "1").await;
    <MySql as Bank>::execute(connection::<MySql>(&mut *open), "CREATE TABLE more (id bigint)").await.unwrap();
    open.rollback().await;
    assert_eq!(outbox.decide(halfway.id).await.unwrap(), Fate::RolledBack);
    assert!(outbox.due().await.unwrap().is_empty());
}
