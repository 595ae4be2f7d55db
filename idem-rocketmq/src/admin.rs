#![doc = include_str!("docs/operating.md")]

pub use idem_core::admin::{Admin, AdminError, DecisionEffect, Listing, PendingDecision, RecordReport};
#[doc(no_inline)]
pub use idem_core::store::{
    AuditEntry, AuditedEntry, ListedKey, ListedRecord, MemberEntry, PersonsDecision, RecordFilter,
};
pub use idem_core::{Namespace, RecordKey};

/// All records of a consumer group. The deployment is RocketMQ's namespace, or what
/// [`Builder::deployment`](crate::consumer::Builder::deployment) says; mostly it is empty.
pub fn records_of_group(deployment: &str, group: &str) -> Namespace {
    Namespace::new([deployment, group])
}

/// The records of a handler of this topic, of messages with this tag; of those without one, the tag is empty.
///
/// In broadcasting each instance has its own, which a [`Listing`] shows.
pub fn records_of_topic(deployment: &str, group: &str, topic: &str, tag: &str) -> Namespace {
    Namespace::new([deployment, group, "topic", topic, tag])
}

/// The records of the handlers that say this `scope`.
pub fn records_of_scope(deployment: &str, group: &str, scope: &str) -> Namespace {
    Namespace::new([deployment, group, "scope", scope])
}
