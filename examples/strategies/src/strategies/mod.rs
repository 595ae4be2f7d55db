//! The strategies, a file for each family. The items of `super` are the database's.

mod guards;
mod half;
mod leases;
mod marked;
mod models;
mod ordered;
mod plain;
mod records;

use std::sync::Arc;

use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;

use super::{BOOK, Connection, Outbox, PAY, Pool, SELL, begin, open, open_outbox};
use crate::Error;
use crate::place::Place;
use crate::storm::Paid;
use crate::strategy::{Promise, Sending, Strategy};

type Store = Arc<dyn idem_rocketmq::store::Store>;

pub(crate) async fn all(place: &Place) -> Result<Vec<Strategy>, Error> {
    let (store, pool) = open(place).await?;
    let tiered = place.tiered(store.clone()).await?;
    let ground = Ground { place, store: Arc::new(store), redis: place.redis().await?, tiered, pool };
    let mut all = vec![plain::strategy(&ground)];
    all.extend(leases::strategies(&ground));
    all.extend(records::strategies(&ground));
    all.extend(guards::strategies(&ground));
    all.push(ordered::strategy(&ground));
    all.push(half::strategy(&ground).await?);
    all.push(marked::strategy(&ground).await?);
    all.extend(models::strategies(&ground));
    Ok(all)
}

/// The broker, stores and tables that strategies are built on.
struct Ground<'a> {
    place: &'a Place,
    /// Records in the database.
    store: Store,
    /// Records in Redis.
    redis: Store,
    /// Records in the database, behind a cache.
    tiered: Store,
    /// The database, for the handlers' own work.
    pool: Pool,
}

impl Ground<'_> {
    /// A strategy with one consumer that has these handlers.
    fn strategy(
        &self,
        name: impl Into<String>,
        topic: &'static str,
        store: &Store,
        handlers: Vec<Route>,
    ) -> Strategy {
        let consumer = self.consumer(topic, "", store, handlers);
        self.strategy_of(name, topic, vec![consumer])
    }

    fn strategy_of(
        &self,
        name: impl Into<String>,
        topic: &'static str,
        consumers: Vec<Builder<Store>>,
    ) -> Strategy {
        Strategy {
            name: name.into(),
            topic,
            group: self.place.group(topic),
            promise: Promise::Once,
            weak_at: "",
            members: consumers.len(),
            consumers,
            sending: Sending::Plain,
        }
    }

    fn consumer(
        &self,
        topic: &'static str,
        member: &'static str,
        store: &Store,
        handlers: Vec<Route>,
    ) -> Builder<Store> {
        Consumer::builder(self.place.group(topic))
            .name_server(self.place.name_server())
            .shared_store(store.clone())
            .state(Books { pool: self.pool.clone(), strategy: topic, member })
            .handlers(handlers)
    }
}

/// Where handlers do their work: a line for each order, and nobody keeps them from writing it twice.
#[derive(Clone)]
struct Books {
    pool: Pool,
    strategy: &'static str,
    /// Who of the members that each do the work; nobody's name where they do it together.
    member: &'static str,
}

impl Books {
    /// The work for an order, in a transaction of the handler's. The first run may fail, before or after.
    async fn work(&self, tx: &mut Connection, paid: &Paid, attempt: Attempt) -> HandlerResult {
        paid.fails_before(attempt)?;
        sqlx::query(BOOK).bind(self.strategy).bind(self.member).bind(&paid.order).execute(tx).await?;
        paid.fails_after(attempt)?;
        Ok(())
    }

    /// The same without a transaction.
    async fn work_at_once(&self, paid: &Paid, attempt: Attempt) -> HandlerResult {
        let mut connection = self.pool.acquire().await?;
        self.work(&mut connection, paid, attempt).await
    }
}
