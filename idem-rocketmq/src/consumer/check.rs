//! Mistakes that are found before a server is asked.

use std::collections::HashMap;

use super::setup::Setup;
use crate::Error;
use crate::client::names::{self, Given};
use crate::client::{ClientError, Levels, MessageTrace, Mode, check_addresses, check_credentials};
use crate::error::Kind;
use crate::handler::Route;

impl Setup {
    /// Names, addresses and keys.
    pub(super) fn check_addresses(&self) -> Result<(), Error> {
        if let Some(fault) = names::group_fault(&self.group) {
            return Err(Kind::Client(ClientError::Group { group: self.group.clone(), fault }).into());
        }
        self.check_names()?;
        if self.name_servers.is_empty() {
            return Err(Kind::NoNameServer { group: self.group.clone() }.into());
        }
        check_addresses(&self.name_servers).map_err(Kind::Client)?;
        self.check_credentials()
    }

    pub(super) fn check_trace(&self) -> Result<(), Error> {
        if self.trace != MessageTrace::Off && self.tls.is_some() {
            return Err(Kind::TraceOverTls { group: self.group.clone() }.into());
        }
        Ok(())
    }

    /// Each handler by itself.
    pub(super) fn check_routes(&self) -> Result<(), Error> {
        if self.routes.is_empty() {
            return Err(Kind::NoHandlers { group: self.group.clone() }.into());
        }
        Ok(self.routes.iter().try_for_each(Route::check).map_err(Kind::Route)?)
    }

    /// The handlers beside each other, and what they take of the consumer.
    pub(super) fn check_together(&self, mode: Mode) -> Result<(), Error> {
        self.check_mode(mode)?;
        check_overlaps(&self.routes)?;
        self.check_filters()?;
        check_scopes(&self.routes)?;
        Ok(self.states.check(&self.routes).map_err(Kind::MissingState)?)
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

    fn check_mode(&self, mode: Mode) -> Result<(), Error> {
        let group = || self.group.clone();
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
