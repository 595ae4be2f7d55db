//! All handlers of a consumer, and which of them a message is for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Route, RouteError};

/// The handlers of a consumer. A message is for at most one of them.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: Vec<Route>,
    by_topic: BTreeMap<String, Vec<usize>>,
}

impl Routes {
    /// Checks each handler by itself, and that no two want the same message or keep their records in one
    /// place by mistake.
    pub(crate) fn new(routes: Vec<Route>) -> Result<Self, RouteError> {
        routes.iter().try_for_each(Route::check)?;
        for (index, route) in routes.iter().enumerate() {
            routes[..index].iter().try_for_each(|earlier| together(earlier, route))?;
        }
        let mut by_topic: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, route) in routes.iter().enumerate() {
            by_topic.entry(route.topic().to_owned()).or_default().push(index);
        }
        Ok(Self { routes, by_topic })
    }

    /// The handler of messages with this topic and tag.
    pub(crate) fn find(&self, topic: &str, tag: Option<&str>) -> Option<&Route> {
        self.index(topic, tag).map(|index| &self.routes[index])
    }

    /// The place of that handler in [`iter`](Self::iter).
    pub(crate) fn index(&self, topic: &str, tag: Option<&str>) -> Option<usize> {
        self.by_topic.get(topic)?.iter().copied().find(|index| self.routes[*index].takes_tag(tag))
    }

    /// All handlers in the order in which they were given.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// What to subscribe: each topic with its expression, `*` or the tags joined by `||` without spaces, which
    /// RocketMQ would take for a part of the tag.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = (&str, String)> {
        self.by_topic.iter().map(|(topic, indices)| {
            let routes = indices.iter().map(|index| &self.routes[*index]);
            (topic.as_str(), expression(routes))
        })
    }
}

fn expression<'r>(mut routes: impl Iterator<Item = &'r Route>) -> String {
    let mut tags = BTreeSet::new();
    let every_route_has_tags = routes.all(|route| {
        tags.extend(route.tag_set().iter().map(String::as_str));
        !route.tag_set().is_empty()
    });
    if every_route_has_tags { tags.into_iter().collect::<Vec<_>>().join("||") } else { "*".to_owned() }
}

/// Whether two handlers may be in one consumer.
fn together(one: &Route, other: &Route) -> Result<(), RouteError> {
    let handlers = || [one.name().to_owned(), other.name().to_owned()];
    if one.topic() == other.topic()
        && let Some(tag) = common_tag(one.tag_set(), other.tag_set())
    {
        return Err(RouteError::Overlap { handlers: handlers(), topic: one.topic().to_owned(), tag });
    }
    match (one.explicit_scope(), other.explicit_scope()) {
        (Some(scope), Some(same)) if scope == same && !(one.shares_scope() && other.shares_scope()) => {
            Err(RouteError::SharedScope { handlers: handlers(), scope: scope.to_owned() })
        }
        _ => Ok(()),
    }
}

/// A tag that both take; `*` where both take all.
fn common_tag(one: &BTreeSet<String>, other: &BTreeSet<String>) -> Option<String> {
    match (one.first(), other.first()) {
        (None, None) => Some("*".to_owned()),
        (Some(tag), None) | (None, Some(tag)) => Some(tag.clone()),
        (Some(_), Some(_)) => one.intersection(other).next().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn route(name: &'static str, topic: &str, tags: &[&str]) -> Route {
        let route = handler_with(topic, Text, |_: String| async {}).key_from(KeySource::MessageKeys);
        route.named(name).tags(tags.iter().copied())
    }

    fn name<'r>(routes: &'r Routes, topic: &str, tag: Option<&str>) -> Option<&'r str> {
        routes.find(topic, tag).map(Route::name)
    }

    #[test]
    fn a_message_finds_its_handler_by_topic_and_tag() {
        let routes = [route("a", "t", &["A", "B"]), route("c", "t", &["C"]), route("all", "u", &[])];
        let routes = Routes::new(routes.into()).unwrap();
        assert_eq!(name(&routes, "t", Some("B")), Some("a"));
        assert_eq!(name(&routes, "t", Some("C")), Some("c"));
        assert_eq!(name(&routes, "t", Some("D")), None);
        assert_eq!(name(&routes, "t", None), None);
        assert_eq!(name(&routes, "u", None), Some("all"));
        assert_eq!(name(&routes, "v", None), None);
        assert_eq!(routes.iter().count(), 3);
    }

    #[test]
    fn subscriptions_join_tags_without_spaces() {
        let routes = [route("c", "t", &["C"]), route("a", "t", &["B", "A"]), route("all", "u", &[])];
        let routes = Routes::new(routes.into()).unwrap();
        let subscriptions: Vec<_> = routes.subscriptions().collect();
        assert_eq!(subscriptions, [("t", "A||B||C".to_owned()), ("u", "*".to_owned())]);
    }

    #[test]
    fn two_handlers_of_one_message_are_an_error() {
        let overlap = |one: &[&str], other: &[&str]| {
            Routes::new(vec![route("a", "t", one), route("b", "t", other)]).unwrap_err().to_string()
        };
        assert!(overlap(&["A", "B"], &["B", "C"]).contains("`B`"));
        assert!(overlap(&[], &["B"]).contains("`B`"));
        assert!(overlap(&[], &[]).contains("`a` and `b`"));
    }

    #[test]
    fn one_scope_for_two_handlers_must_be_said_by_both() {
        let [a, b] = [|| route("a", "t", &["A"]).scope("s"), || route("b", "u", &[]).scope("s")];
        assert!(Routes::new(vec![a(), b()]).is_err());
        assert!(Routes::new(vec![a().shared_scope(), b()]).is_err());
        assert!(Routes::new(vec![a().shared_scope(), b().shared_scope()]).is_ok());
        assert!(Routes::new(vec![a(), b().scope("other")]).is_ok());
    }
}
