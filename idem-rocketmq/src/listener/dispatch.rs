//! From a delivery to its handler's gate.

use std::collections::HashMap;
use std::sync::Arc;

use idem_core::engine::{Engine, Gate, Unfit};
use idem_core::{
    Attempt, Fingerprint, FingerprintMismatch, IdempotencyKey, Job, MessageId, Namespace, RecordKey,
};
use tokio::runtime::Handle;
use tracing::Span;

use super::run::{OnSpan, Pace, UnsettledCalls, batch_span};
use super::settle::Meter;
use crate::client::{Delivery, Mode};
use crate::handler::{Prepared, Route, Run};
use crate::state::States;

/// One handler of the consumer, with its gate, its meter and how it gets on.
pub(crate) struct RegisteredHandler {
    pub(crate) route: Route,
    pub(crate) gate: Gate,
    pub(crate) meter: Meter,
    pub(crate) pace: Pace,
    pub(super) unsettled: UnsettledCalls,
    on_span: OnSpan,
    scope: KeyScope,
}

/// Where a handler's keys count.
enum KeyScope {
    /// The scope that the handler names.
    Explicit(Namespace),
    /// The topic and the message's tag, for the tags that the handler names, and for any other.
    Topic { identity: Identity, known: HashMap<String, Namespace> },
}

/// Which handler takes which message of a topic.
#[derive(Default)]
struct TopicHandlers {
    by_tag: HashMap<String, usize>,
    any: Option<usize>,
}

/// The handlers of one consumer.
pub(crate) struct Dispatch {
    handlers: Vec<Arc<RegisteredHandler>>,
    topics: HashMap<String, TopicHandlers>,
    pub(crate) mode: Mode,
    pub(crate) states: Arc<States>,
}

/// A delivery that was looked into.
pub(crate) struct PreparedDelivery {
    /// The key that its order is kept by; none for the order of the whole queue.
    pub(crate) order: Option<IdempotencyKey>,
    pub(crate) entry: GateEntry,
}

/// A delivery on its way into a gate.
pub(crate) enum GateEntry {
    /// It decodes and has a key.
    Ready { job: Job, run: Run },
    /// It cannot be handled; a message without a key may be run all the same where the policy says so.
    Unfit { what: Unfit, reason: String, run: Option<Run> },
}

impl Dispatch {
    /// The gates of `routes`, whose settings have been resolved to policies.
    pub(crate) fn new(
        engine: &Engine,
        mode: Mode,
        identity: &Identity,
        routes: Vec<(Route, idem_core::Policy)>,
        states: Arc<States>,
        on_span: &OnSpan,
        user: Option<&Handle>,
    ) -> Self {
        let mut topics: HashMap<String, TopicHandlers> = HashMap::new();
        let mut handlers = Vec::with_capacity(routes.len());
        for (index, (route, policy)) in routes.into_iter().enumerate() {
            let topic = topics.entry(route.topic().to_owned()).or_default();
            if route.tag_set().is_empty() {
                topic.any = Some(index);
            }
            topic.by_tag.extend(route.tag_set().iter().map(|tag| (tag.clone(), index)));
            handlers.push(Arc::new(RegisteredHandler {
                gate: gate(engine, &route, policy, user),
                meter: Meter::new(&identity.group, route.topic(), route.name()),
                pace: Pace::default(),
                unsettled: UnsettledCalls::default(),
                on_span: on_span.clone(),
                scope: KeyScope::of(&route, identity),
                route,
            }));
        }
        Self { handlers, topics, mode, states }
    }

    /// The handler for a message, if this process has one.
    pub(crate) fn handler(&self, topic: &str, tag: Option<&str>) -> Option<(usize, &Arc<RegisteredHandler>)> {
        let topic = self.topics.get(topic)?;
        let index = tag.and_then(|tag| topic.by_tag.get(tag).copied()).or(topic.any)?;
        Some((index, &self.handlers[index]))
    }

    pub(crate) fn handlers(&self) -> &[Arc<RegisteredHandler>] {
        &self.handlers
    }
}

/// That the store has transactions was checked before.
fn gate(engine: &Engine, route: &Route, policy: idem_core::Policy, user: Option<&Handle>) -> Gate {
    let transactional = route
        .commit()
        .and_then(|commit| engine.transactional_gate(route.name(), policy.clone(), commit, user.cloned()));
    transactional.unwrap_or_else(|| engine.gate(route.name(), policy))
}

/// Who this consumer is, for its namespaces.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) deployment: String,
    pub(crate) group: String,
    /// In broadcasting, where each instance handles every message.
    pub(crate) instance: Option<String>,
}

impl Identity {
    fn namespace<'a>(&'a self, rest: impl IntoIterator<Item = &'a str>) -> Namespace {
        // As `admin.rs` has it for operators.
        let instance = self.instance.iter().flat_map(|name| ["instance", name.as_str()]);
        Namespace::new([&*self.deployment, &*self.group].into_iter().chain(instance).chain(rest))
    }
}

impl KeyScope {
    fn of(route: &Route, identity: &Identity) -> Self {
        if let Some(scope) = route.explicit_scope() {
            return Self::Explicit(identity.namespace(["scope", scope]));
        }
        // Also of messages without a tag.
        let tags = route.tag_set().iter().cloned().chain([String::new()]);
        let known = tags.map(|tag| (tag.clone(), by_topic(identity, route.topic(), &tag)));
        Self::Topic { identity: identity.clone(), known: known.collect() }
    }

    fn namespace(&self, topic: &str, tag: &str) -> Namespace {
        match self {
            Self::Explicit(namespace) => namespace.clone(),
            Self::Topic { identity, known } => match known.get(tag) {
                Some(namespace) => namespace.clone(),
                None => by_topic(identity, topic, tag),
            },
        }
    }
}

fn by_topic(identity: &Identity, topic: &str, tag: &str) -> Namespace {
    identity.namespace(["topic", topic, tag])
}

impl RegisteredHandler {
    /// How many of so many messages start together, at least and at most: a batch is not split because a few runs
    /// less have just ended.
    pub(crate) fn start_together(&self, messages: usize) -> (usize, usize) {
        match self.route.batch() {
            Some(max) => (messages.min(max), messages.min(max)),
            None => (1, messages),
        }
    }

    /// Decodes a message and takes its key.
    pub(crate) fn prepare(&self, delivery: &Arc<Delivery>) -> PreparedDelivery {
        if let Some(reason) = &delivery.unreadable {
            let (what, reason) = (Unfit::Undecodable, reason.to_string());
            return PreparedDelivery { order: None, entry: GateEntry::Unfit { what, reason, run: None } };
        }
        let compares = self.gate.policy().fingerprint != FingerprintMismatch::Ignore;
        match self.route.handler().prepare(delivery, compares) {
            Ok(Prepared { key: Ok(key), order, fingerprint, run }) => PreparedDelivery {
                order,
                entry: GateEntry::Ready { job: self.job(delivery, key, fingerprint), run },
            },
            Ok(Prepared { key: Err(error), order, run, .. }) => {
                let (what, reason) = (Unfit::MissingKey, error.to_string());
                PreparedDelivery { order, entry: GateEntry::Unfit { what, reason, run: Some(run) } }
            }
            Err(error) => {
                let (what, reason) = (Unfit::Undecodable, error.to_string());
                PreparedDelivery { order: None, entry: GateEntry::Unfit { what, reason, run: None } }
            }
        }
    }

    /// The span of a run of the handler; none of a message in a batch, which has one span.
    pub(crate) fn span(&self, delivery: &Delivery, attempt: Attempt, key_hash: Option<u64>) -> Span {
        match self.route.batch() {
            None => self.on_span.span(self.route.name(), delivery, attempt, key_hash),
            Some(_) => Span::none(),
        }
    }

    /// The span of a call of a batch handler.
    pub(crate) fn batch_span(&self, group: &str, messages: usize) -> Span {
        batch_span(self.route.name(), group, self.route.topic(), messages)
    }

    fn job(&self, delivery: &Delivery, key: IdempotencyKey, fingerprint: Option<Fingerprint>) -> Job {
        let namespace = self.scope.namespace(delivery.topic(), delivery.tag().unwrap_or_default());
        Job {
            fingerprint,
            message: Some(MessageId::new(delivery.message_id())),
            redeliveries: delivery.reconsume_times(),
            ..Job::new(RecordKey::new(namespace, key))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin;

    /// An operator names records as a consumer does.
    #[test]
    fn operators_and_consumers_have_the_same_names_for_records() {
        let (deployment, group) = ("staging".to_owned(), "campaign".to_owned());
        let identity = Identity { deployment, group, instance: None };
        let by_scope = identity.namespace(["scope", "payments"]);
        assert_eq!(by_scope, admin::records_of_scope("staging", "campaign", "payments"));
        let by_topic = by_topic(&identity, "orders", "PAID");
        assert_eq!(by_topic, admin::records_of_topic("staging", "campaign", "orders", "PAID"));
        let group = admin::records_of_group("staging", "campaign");
        let instance = Some("one".to_owned());
        let broadcast = Identity { instance, ..identity }.namespace(["scope", "payments"]);
        assert!([by_scope, by_topic, broadcast].iter().all(|namespace| namespace.is_within(&group)));
    }
}
