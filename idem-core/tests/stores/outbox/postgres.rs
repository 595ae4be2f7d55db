//! The outbox on PostgreSQL.
//!
//! Run alone: `cargo test -p idem-core --features conformance,postgres --test stores -- outbox::postgres::`

use std::sync::Arc;

use idem_core::outbox::{Fate, Outbox, TypedOutbox as _};
use idem_core::store::PostgresOutboxBuilder;
use idem_core::{PostgresOutbox, StoreError};

use crate::support::bank::Bank as _;
use crate::support::postgres::Postgres;
use crate::support::shop::{Options, Shop, begin, connection, message, open, with_options};
use crate::support::sql::Server as _;
use crate::support::sql::unique_name;

fn builder(shop: &Postgres) -> PostgresOutboxBuilder {
    PostgresOutbox::builder(format!("{}?options=-csearch_path%3D{}", shop.url, shop.schema)).transactions(4)
}

impl Shop for Postgres {
    async fn outbox(&self, options: Options) -> Result<Arc<dyn Outbox>, StoreError> {
        Ok(with_options!(builder(self), options).connect().await?.outbox())
    }

    async fn migrate(&self, table: &'static str) -> Result<(), StoreError> {
        builder(self).table(table).migrate().await
    }

    async fn run(&self, sql: &str) {
        self.execute(&format!("SET search_path = {}; {sql}", self.schema)).await;
    }

    async fn count(&self, sql: &str) -> i64 {
        self.number(&sql.replace("FROM ", &format!("FROM {}.", self.schema))).await
    }
}

super::outbox_tests!(Postgres);

#[tokio::test]
async fn a_failure_that_the_work_swallowed_is_no_commit() {
    let (shop, outbox) = open::<Postgres>(Options::default()).await;
    let swallowed = message();
    let mut open = begin(&outbox, &swallowed, "1").await;
    let on = connection::<Postgres>(&mut *open);
    Postgres::pay(on, "1").await.unwrap();
    Postgres::pay(on, "1").await.unwrap_err();
    open.commit().await.unwrap_err();
    assert_eq!(outbox.decide(swallowed.id).await.unwrap(), Fate::RolledBack);
    assert_eq!(shop.paid().await, 0);
}

#[tokio::test]
async fn a_connection_lost_under_the_work_is_rolled_back() {
    let (shop, outbox) = open::<Postgres>(Options::default()).await;
    let lost = message();
    let mut open = begin(&outbox, &lost, "1").await;
    let on = connection::<Postgres>(&mut *open);
    Postgres::pay(on, "1").await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(on).await.unwrap();
    let kill = format!("SELECT count(*) FROM (SELECT pg_terminate_backend({pid}, 5000)) AS killed");
    assert_eq!(shop.number(&kill).await, 1);
    open.commit().await.unwrap_err();
    assert_eq!(outbox.decide(lost.id).await.unwrap(), Fate::RolledBack);
    assert_eq!(shop.paid().await, 0);
}

#[tokio::test]
async fn a_pool_of_the_programs_own_serves_too() {
    let shop = <Postgres as crate::support::bank::Bank>::open().await;
    let url = format!("{}?options=-csearch_path%3D{}", shop.url, shop.schema);
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap();
    let builder = PostgresOutbox::pool(pool);
    builder.migrate().await.unwrap();
    let outbox = builder.connect().await.unwrap().outbox();
    crate::support::shop::pay::<Postgres>(&outbox, "1").await;
    assert_eq!(shop.paid().await, 1);
}

#[tokio::test]
async fn a_user_without_rights_is_told_at_the_start() {
    let (shop, _outbox) = open::<Postgres>(Options::default()).await;
    let user = unique_name();
    let sql = format!("CREATE USER {user} PASSWORD 'pw'; GRANT USAGE ON SCHEMA {} TO {user}", shop.schema);
    shop.execute(&sql).await;
    let poor = shop.at(shop.url_with(Some(&format!("{user}:pw")), None));
    let mut rights = vec![("SELECT", "idem_outbox_meta"), ("UPDATE", "idem_outbox_meta")];
    rights.extend(["SELECT", "INSERT", "UPDATE", "DELETE"].map(|right| (right, "idem_outbox")));
    for (right, table) in rights {
        let error = poor.outbox(Options::default()).await.err().unwrap();
        assert!(error.is_config(), "before {right} on {table}: {error:?}");
        shop.execute(&format!("GRANT {right} ON {}.{table} TO {user}", shop.schema)).await;
    }
    poor.outbox(Options::default()).await.unwrap();
}
