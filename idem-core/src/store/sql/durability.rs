//! Settings with which a database may forget what it has confirmed.

use super::dialect::{Connection, DurabilityRisk, Reply, StoreDialect};
use super::link::{ConnectionWork, SqlLink};

/// Warns once of each. A server that does not show its settings is not asked twice, and is no error.
pub(super) async fn warn<D: StoreDialect>(link: &SqlLink<D>) {
    let durability_risks = match link.call(&DurabilityQuery).await {
        Ok(durability_risks) => durability_risks,
        Err(error) => {
            tracing::debug!(store = D::NAME, at = link.name, %error, "the server does not show how durable it is");
            return;
        }
    };
    for DurabilityRisk { setting, value, loses } in durability_risks {
        tracing::warn!(
            store = D::NAME,
            at = link.name,
            setting,
            value,
            "{} is not durable: {loses}",
            D::TITLE
        );
    }
}

struct DurabilityQuery;

impl<D: StoreDialect> ConnectionWork<D> for DurabilityQuery {
    type Output = Vec<DurabilityRisk>;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl Reply<Self::Output> {
        dialect.durability_risks(on)
    }
}
