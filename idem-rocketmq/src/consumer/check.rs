//! Mistakes that are found before a server is asked.

use std::collections::HashMap;
use std::time::Duration;

use idem_core::{ADVISED_RETENTION, Backoff, Policy, Store};

use super::builder::Setup;
use crate::Error;
use crate::client::names::{self, Given};
use crate::client::{
    ClientError, DelayBy, LONGEST_TIMER, Levels, MessageTrace, Mode, check_addresses, check_credentials,
};
use crate::error::Kind;
use crate::handler::Route;
use crate::listener::CROWD;

/// Backoffs reach their longest delay before this attempt.
const MANY_ATTEMPTS: u32 = 1_000;

impl Setup {
    pub(crate) fn check(&self, store: &dyn Store) -> Result<(), Error> {
        if let Some(fault) = names::group_fault(&self.group) {
            return Err(Kind::Client(ClientError::Group { group: self.group.clone(), fault }).into());
        }
        self.check_names()?;
        if self.name_servers.is_empty() {
            return Err(Kind::NoNameServer { group: self.group.clone() }.into());
        }
        check_addresses(&self.name_servers).map_err(Kind::Client)?;
        self.check_credentials()?;
        self.levels()?;
        if self.trace != MessageTrace::Off && self.tls.is_some() {
            return Err(Kind::TraceOverTls { group: self.group.clone() }.into());
        }
        if self.routes.is_empty() {
            return Err(Kind::NoHandlers { group: self.group.clone() }.into());
        }
        self.routes.iter().try_for_each(Route::check).map_err(Kind::Route)?;
        self.routes.iter().try_for_each(|route| self.policy_on(store, route).map(drop))?;
        self.check_mode()?;
        check_overlaps(&self.routes)?;
        self.check_filters()?;
        check_scopes(&self.routes)?;
        self.states.check(&self.routes).map_err(Kind::MissingState)?;
        Ok(())
    }

    fn check_names(&self) -> Result<(), Error> {
        let given = Given {
            group: &self.group,
            namespace: self.namespace.as_deref(),
            deployment: self.deployment.as_deref(),
            instance: self.instance_name.as_deref(),
        };
        if let Some(fault) = given.fault(self.routes.iter().map(Route::topic)) {
            return Err(Kind::name(&self.group, fault).into());
        }
        match &self.trace {
            MessageTrace::Topic(topic) => match names::topic_fault(topic) {
                Some(fault) => Err(Kind::Client(ClientError::Topic { topic: topic.clone(), fault }).into()),
                None => Ok(()),
            },
            MessageTrace::Off | MessageTrace::On => Ok(()),
        }
    }

    /// How the group consumes: as its first handler says, which all others have to say too.
    pub(crate) fn mode(&self) -> Mode {
        self.routes.first().and_then(Route::mode).unwrap_or_default()
    }

    fn check_mode(&self) -> Result<(), Error> {
        let (mode, group) = (self.mode(), || self.group.clone());
        let another =
            self.routes.iter().find_map(|route| Some((route, route.mode().filter(|m| *m != mode)?)));
        if let Some((route, other)) = another {
            let (first, second) = (self.routes[0].name().to_owned(), route.name().to_owned());
            let (first_mode, second_mode) = (mode.as_str(), other.as_str());
            return Err(Kind::MixedModes { group: group(), first, first_mode, second, second_mode }.into());
        }
        if mode == Mode::Broadcast && self.instance_name.is_none() {
            return Err(Kind::NoInstanceName { group: group() }.into());
        }
        Ok(())
    }

    pub(super) fn levels(&self) -> Result<Levels, Error> {
        let Some(text) = &self.delay_levels else { return Ok(Levels::default()) };
        let fault = || Kind::DelayLevels { group: self.group.clone(), levels: text.clone() };
        Ok(Levels::parse(text).ok_or_else(fault)?)
    }

    fn check_credentials(&self) -> Result<(), Error> {
        match self.credentials.as_ref().and_then(check_credentials) {
            Some(what) => Err(Kind::EmptyCredentials { group: self.group.clone(), what }.into()),
            None => Ok(()),
        }
    }

    /// The embedded broker's filters read no property, so that they let nothing pass.
    fn check_filters(&self) -> Result<(), Error> {
        let Some(route) = self.routes.iter().find(|route| route.condition().is_some()) else { return Ok(()) };
        #[cfg(feature = "embedded")]
        if crate::client::is_embedded(&self.name_servers) {
            return Err(Kind::FilterOnEmbedded { handler: route.name().to_owned() }.into());
        }
        let _ = route;
        Ok(())
    }

    /// A handler's whole policy: its own settings, the consumer's defaults, idem's defaults.
    pub(crate) fn policy(&self, route: &Route) -> Result<Policy, Error> {
        let mut settings = route.own_settings().clone().or(&self.defaults);
        if self.mode() != Mode::Concurrent {
            // What fails holds back its neighbours.
            settings.backoff.get_or_insert_with(in_place);
        }
        let resolved = settings.resolve();
        Ok(resolved.map_err(|source| Kind::Policy { handler: route.name().to_owned(), source })?)
    }

    /// Runs hold the threads of their listener calls: beyond these, a slow handler could starve another, where there is one.
    pub(super) fn warn_of_too_much_at_once(&self) {
        let policies = self.routes.iter().filter_map(|route| self.policy(route).ok());
        let at_once = policies.fold(0_usize, |sum, policy| sum.saturating_add(policy.concurrency));
        if at_once > CROWD && self.routes.len() > 1 {
            tracing::warn!(
                group = self.group,
                at_once,
                "the handlers may work on more messages at once than the {CROWD} listener calls for which the \
                 consumer has threads: where messages come one by one, a slow handler can starve another; lower \
                 their concurrency, or use two consumer groups"
            );
        }
    }

    /// A transaction's connection is the store's to give, and some are kept back; what a handler in lease mode takes out of
    /// a pool that it shares with the store is its own affair.
    pub(super) fn warn_of_a_shared_pool(&self, store: &dyn Store) {
        let Some(connections) = store.connections().filter(|_| store.shares_connections()) else { return };
        let leased = self.routes.iter().filter(|route| !route.is_transactional());
        let policies = leased.filter_map(|route| self.policy(route).ok());
        let at_once = policies.fold(0_usize, |sum, policy| sum.saturating_add(policy.concurrency));
        if at_once >= usize::try_from(connections).unwrap_or(usize::MAX) {
            tracing::warn!(
                group = self.group,
                store = store.name(),
                at_once,
                connections,
                "the store shares a pool with the program, and the handlers may work on as many messages at once as the pool \
                 has connections: where each takes one, leases are not renewed in time, and the work is done again; give the \
                 store a URL instead of the pool, or more connections to the pool, or lower the handlers' concurrency"
            );
        }
    }

    /// A retry whose delay is longer than the broker has any is sent on and on by the group's members.
    pub(super) fn warn_of_long_delays(&self) {
        let by = self.delay_by;
        let Ok(levels) = self.levels() else { return };
        let longest = if by == DelayBy::Level { levels.longest() } else { LONGEST_TIMER };
        for route in self.routes.iter().filter(|_| self.mode() == Mode::Concurrent) {
            let Ok(policy) = self.policy(route) else { continue };
            let retries = 1..policy.max_attempts.min(MANY_ATTEMPTS);
            let delay = retries.map(|attempt| policy.backoff.after(attempt)).max().unwrap_or_default();
            if delay > longest {
                tracing::warn!(
                    group = self.group,
                    handler = route.name(),
                    ?delay,
                    ?longest,
                    "retries wait longer than the broker's longest delay: they come earlier and are sent on, without an \
                     attempt, until their time has come"
                );
            }
        }
    }

    pub(super) fn warn_of_short_retention(&self) {
        for route in &self.routes {
            let Ok(policy) = self.policy(route) else { continue };
            if policy.retention < ADVISED_RETENTION {
                tracing::warn!(
                    group = self.group,
                    handler = route.name(),
                    retention = ?policy.retention,
                    "the retention is shorter than the 72 h for which a broker keeps messages: whoever resets an \
                     offset further back than the retention has old messages handled again"
                );
            }
        }
    }
}

/// The delays of messages that are tried again in place.
fn in_place() -> Backoff {
    Backoff::exponential(Duration::from_secs(1), Duration::from_secs(30))
}

/// Two handlers that would get the same message.
fn check_overlaps(routes: &[Route]) -> Result<(), Error> {
    for (index, first) in routes.iter().enumerate() {
        for second in &routes[index + 1..] {
            if first.topic() != second.topic() {
                continue;
            }
            if let Some(filtered) = [first, second].into_iter().find(|route| route.condition().is_some()) {
                let other = if std::ptr::eq(filtered, first) { second } else { first };
                let (handler, other) = (filtered.name().to_owned(), other.name().to_owned());
                return Err(
                    Kind::FilterBesideOthers { handler, other, topic: first.topic().to_owned() }.into()
                );
            }
            if let Some(what) = overlap(first, second) {
                let (first, second) = (first.name().to_owned(), second.name().to_owned());
                return Err(Kind::Overlap { first, second, what }.into());
            }
        }
    }
    Ok(())
}

fn overlap(first: &Route, second: &Route) -> Option<String> {
    let topic = first.topic();
    if first.tag_set().is_empty() && second.tag_set().is_empty() {
        return Some(format!("every message of topic `{topic}`"));
    }
    let (some, others) = if first.tag_set().is_empty() { (second, first) } else { (first, second) };
    let shared =
        some.tag_set().iter().find(|tag| others.tag_set().is_empty() || others.tag_set().contains(*tag))?;
    Some(format!("messages of topic `{topic}` with tag `{shared}`"))
}

/// Two handlers that would take each other's messages for duplicates.
fn check_scopes(routes: &[Route]) -> Result<(), Error> {
    let mut known: HashMap<&str, &Route> = HashMap::new();
    for route in routes {
        let Some(scope) = route.explicit_scope() else { continue };
        let Some(first) = known.insert(scope, route) else { continue };
        if !(first.shares_scope() && route.shares_scope()) {
            let (first, second) = (first.name().to_owned(), route.name().to_owned());
            return Err(Kind::SharedScope { first, second, scope: scope.to_owned() }.into());
        }
    }
    Ok(())
}
