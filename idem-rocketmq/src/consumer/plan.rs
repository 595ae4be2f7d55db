//! A consumer's work, resolved once from the builder's words, the store's limits and idem's defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use idem_core::engine::Engine;
use idem_core::{Backoff, Policy, Store};
use tokio::runtime::Handle;

use super::setup::Setup;
use super::transactions;
use crate::Error;
use crate::client::{ClientSettings, Cluster, ConsumeFrom, Expression, MessageTrace, Mode};
use crate::error::Kind;
use crate::handler::Route;
use crate::listener::dispatch::{Dispatch, Identity};
use crate::listener::{self, OnSpan};
use crate::state::States;

/// A consumer without a mistake that can be seen before a server is asked. Whoever starts it, or warns about it, reads what
/// is here and works out nothing again.
pub(crate) struct Plan {
    /// In the order in which they were given.
    pub(crate) handlers: Vec<Planned>,
    pub(crate) mode: Mode,
    /// Subscriptions: each topic with its filter, its tags, normalised (`A||B`), or `*`.
    pub(crate) subscriptions: Vec<(String, Expression)>,
    /// Whose the records are.
    pub(crate) identity: Identity,
    pub(crate) consume_from: ConsumeFrom,
    /// How long a shutdown lets handlers finish.
    pub(crate) drain: Duration,
    pub(super) cluster: Cluster,
    pub(super) largest_body: usize,
    trace: MessageTrace,
    may_differ: bool,
    states: States,
    on_span: OnSpan,
}

/// A handler with all that it does not say itself.
pub(crate) struct Planned {
    pub(crate) route: Route,
    pub(crate) policy: Policy,
}

impl Setup {
    /// Looks for mistakes, and resolves what was said.
    pub(super) fn resolve(&self, store: &dyn Store) -> Result<Plan, Error> {
        self.filled()?.resolve_filled(store)
    }

    fn resolve_filled(&self, store: &dyn Store) -> Result<Plan, Error> {
        self.check_cluster()?;
        self.check_trace()?;
        self.check_routes()?;
        let mode = self.mode();
        let handlers = self.routes.iter().map(|route| self.planned(route, mode, store));
        let handlers = handlers.collect::<Result<_, _>>()?;
        self.check_together(mode)?;
        Ok(Plan {
            handlers,
            mode,
            subscriptions: subscriptions(&self.routes),
            identity: self.identity(mode),
            consume_from: self.consume_from,
            drain: self.drain,
            cluster: self.cluster.clone(),
            largest_body: self.largest_body,
            trace: self.trace.clone(),
            may_differ: self.may_differ,
            states: self.states.clone(),
            on_span: self.on_span.clone(),
        })
    }

    /// How the group consumes: as its first handler says, which all others have to say too.
    fn mode(&self) -> Mode {
        self.routes.first().and_then(Route::mode).unwrap_or_default()
    }

    /// A handler's whole policy: its own settings, the consumer's defaults, idem's defaults, and the store's limits.
    fn planned(&self, route: &Route, mode: Mode, store: &dyn Store) -> Result<Planned, Error> {
        let said = route.own_settings().clone().or(&self.defaults);
        let mut settings = said.clone();
        if mode != Mode::Concurrent {
            // A message that fails holds back its neighbours.
            settings.backoff.get_or_insert_with(in_place);
        }
        let resolved = settings.resolve();
        let policy = resolved.map_err(|source| Kind::Policy { handler: route.name().to_owned(), source })?;
        route.check_uncertain(&policy).map_err(Kind::Route)?;
        let policy = transactions::on_store(store, route, policy, said.concurrency)?;
        Ok(Planned { route: route.clone(), policy })
    }

    fn identity(&self, mode: Mode) -> Identity {
        let deployment =
            self.deployment.clone().or_else(|| self.cluster.namespace.clone()).unwrap_or_default();
        let instance = self.cluster.instance_name.clone().filter(|_| mode == Mode::Broadcast);
        Identity { deployment, group: self.group.clone(), instance }
    }
}

/// The delays of messages that are tried again in place.
fn in_place() -> Backoff {
    Backoff::exponential(Duration::from_secs(1), Duration::from_secs(30))
}

/// Of handlers that do not overlap.
fn subscriptions(routes: &[Route]) -> Vec<(String, Expression)> {
    let mut topics: BTreeMap<&str, Vec<&Route>> = BTreeMap::new();
    for route in routes {
        topics.entry(route.topic()).or_default().push(route);
    }
    topics.into_iter().map(|(topic, routes)| (topic.to_owned(), expression(&routes))).collect()
}

fn expression(routes: &[&Route]) -> Expression {
    match routes.iter().find(|route| route.tag_set().is_empty()).map(|route| route.condition()) {
        Some(Some(condition)) => Expression::Sql(condition.to_owned()),
        Some(None) => Expression::Tags("*".to_owned()),
        None => {
            let tags: BTreeSet<&str> =
                routes.iter().flat_map(|route| route.tag_set()).map(String::as_str).collect();
            Expression::Tags(tags.into_iter().collect::<Vec<_>>().join("||"))
        }
    }
}

impl Plan {
    pub(crate) fn group(&self) -> &str {
        &self.identity.group
    }

    /// The client's settings.
    pub(super) fn client_settings(&self) -> ClientSettings {
        ClientSettings {
            subscriptions: self.subscriptions.clone(),
            mode: self.mode,
            consume_from: self.consume_from,
            trace: self.trace.clone(),
            largest_body: self.largest_body,
            may_differ: self.may_differ,
            first_threads: (self.mode == Mode::Concurrent).then_some(listener::FEW),
            listener_threads: listener::THREADS,
            ..ClientSettings::new(self.group().to_owned(), self.cluster.clone())
        }
    }

    /// The handlers behind their gates: they run on `user`, or where they are called.
    pub(crate) fn dispatch(self, engine: &Engine, user: Option<&Handle>) -> Dispatch {
        let routes = self.handlers.into_iter().map(|Planned { route, policy }| (route, policy)).collect();
        let states = Arc::new(self.states);
        Dispatch::new(engine, self.mode, &self.identity, routes, states, &self.on_span, user)
    }
}

#[cfg(test)]
mod tests;
