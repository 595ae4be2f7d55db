//! Settings with which a database may forget what it has confirmed.

use super::dialect::{Connection, Reply, StoreDialect};
use super::link::{ConnectionWork, SqlLink};

/// A setting that lets a crash take back what was confirmed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct DurabilityRisk {
    pub(in crate::store) setting: &'static str,
    pub(in crate::store) value: String,
    /// The loss, and the setting that avoids it.
    pub(in crate::store) loses: &'static str,
}

impl DurabilityRisk {
    /// The setting, where its value is none of the durable ones.
    pub(in crate::store) fn unless(
        setting: &'static str,
        value: &str,
        durable: &[&str],
        loses: &'static str,
    ) -> Option<Self> {
        let is_frail = !durable.iter().any(|durable| value.eq_ignore_ascii_case(durable));
        is_frail.then(|| Self { setting, value: value.to_owned(), loses })
    }
}

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
