//! Whether the store can give a handler the transaction that it takes.

use idem_core::engine::Commit;
use idem_core::store::{ConnectionType, Transactions};
use idem_core::{Policy, Store, StoreFailure};

use crate::Error;
use crate::error::Kind;
use crate::handler::{Needs, Route};

/// A handler's policy on this store: a handler with a transaction for each message runs no more at once than there are
/// connections. More than that is an error where somebody has said it (`wanted`).
pub(super) fn on_store(
    store: &dyn Store,
    route: &Route,
    policy: Policy,
    wanted: Option<usize>,
) -> Result<Policy, Error> {
    let transactions = store.transactions().filter(|_| route.is_transactional());
    check(route, &policy, store, transactions.as_deref())?;
    let Some(transactions) = transactions.filter(|_| route.commit() == Some(Commit::Each)) else {
        return Ok(policy);
    };
    let there_are = transactions.max_open();
    match wanted.filter(|wanted| *wanted > there_are) {
        Some(wanted) => {
            let (handler, store) = (route.name().to_owned(), store.name());
            Err(Kind::TooFewConnections { handler, wanted, store, there_are }.into())
        }
        None => Ok(policy.at_most_at_once(there_are)),
    }
}

fn check(
    route: &Route,
    policy: &Policy,
    store: &dyn Store,
    transactions: Option<&dyn Transactions>,
) -> Result<(), Error> {
    let (handler, store) = (|| route.name().to_owned(), store.name());
    let mut needs = Needs::default();
    route.handler().needs(&mut needs);
    let kind = match (needs.connections(), transactions) {
        ([], _) if !route.is_transactional() => return Ok(()),
        ([], _) => Kind::NoConnectionTaken { handler: handler() },
        ([taken, ..], _) if !route.is_transactional() => {
            Kind::NotTransactional { handler: handler(), taken: taken.name() }
        }
        ([_, _, ..], _) => Kind::ConnectionTwice { handler: handler() },
        ([taken], None) => Kind::NoTransactions { handler: handler(), taken: taken.name(), store },
        ([taken], Some(transactions)) if *taken != transactions.connection() => Kind::OtherConnection {
            handler: handler(),
            taken: taken.name(),
            store,
            given: given(transactions),
        },
        _ if policy.store_failure == StoreFailure::Open => Kind::OpenTransactional { handler: handler() },
        _ if policy.missing_key == idem_core::MissingKey::RunWithoutDedup => {
            Kind::KeylessTransactional { handler: handler() }
        }
        _ if policy.fingerprint == idem_core::FingerprintMismatch::Run => {
            Kind::MismatchTransactional { handler: handler() }
        }
        _ => return Ok(()),
    };
    Err(kind.into())
}

fn given(transactions: &dyn Transactions) -> &'static str {
    ConnectionType::name(transactions.connection())
}
