//! Mistakes that are found before a server is asked.

use std::collections::HashMap;

use super::setup::Setup;
use crate::Error;
use crate::client::names::{self, ConfiguredNames};
use crate::client::{ClientError, MessageTrace, Mode};
use crate::cluster;
use crate::error::Kind;
use crate::handler::Route;
use crate::handler::route::placeholders::PlaceholderFault;

impl Setup {
    /// The same with the placeholders of all routes filled in.
    pub(super) fn filled(&self) -> Result<Self, Error> {
        let mut filled = self.clone();
        for route in &mut filled.routes {
            *route = route.clone().filled(&self.values).map_err(|(place, fault)| Kind::Placeholder {
                handler: route.name().to_owned(),
                place,
                fault: self.placeholder(place, fault),
            })?;
        }
        Ok(filled)
    }

    /// Says why a placeholder cannot be filled in, and how to mend it.
    fn placeholder(&self, place: &str, fault: PlaceholderFault) -> String {
        match fault {
            PlaceholderFault::Unclosed => "a `${` without its `}`: write `${name}`".to_owned(),
            PlaceholderFault::Unnamed => "a placeholder without a name: write `${name}`".to_owned(),
            PlaceholderFault::Missing(name) => {
                let names: Vec<_> = self.values.keys().map(String::as_str).collect();
                let there_are = match names.as_slice() {
                    [] => "no value".to_owned(),
                    names => format!("only values for `{}`", names.join("`, `")),
                };
                format!(
                    "`${{{name}}}`, and the consumer has {there_are}: give it one with `.value(\"{name}\", ..)` on its builder, or \
                     write a default, as in `{place} = \"${{{name}:default}}\"`"
                )
            }
        }
    }

    /// Checks the consumer's names and the addresses of its brokers.
    pub(super) fn check_cluster(&self) -> Result<(), Error> {
        if let Some(fault) = names::group_fault(&self.group) {
            return Err(Kind::Client(ClientError::Group { group: self.group.clone(), fault }).into());
        }
        self.check_names()?;
        Ok(cluster::check(&self.cluster, &self.group, |group| Kind::NoNameServer { group })?)
    }

    pub(super) fn check_trace(&self) -> Result<(), Error> {
        if self.trace != MessageTrace::Off && self.cluster.tls.is_some() {
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
        let given = ConfiguredNames {
            group: &self.group,
            namespace: self.cluster.namespace.as_deref(),
            deployment: self.deployment.as_deref(),
            instance: self.cluster.instance_name.as_deref(),
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
        if mode == Mode::Broadcast && self.cluster.instance_name.is_none() {
            return Err(Kind::NoInstanceName { group: group() }.into());
        }
        Ok(())
    }

    /// The embedded broker's filters read no property, so that they let nothing pass.
    fn check_filters(&self) -> Result<(), Error> {
        let Some(route) = self.routes.iter().find(|route| route.condition().is_some()) else { return Ok(()) };
        #[cfg(feature = "embedded")]
        if crate::client::is_embedded(&self.cluster.name_servers) {
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
