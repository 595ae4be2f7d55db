//! A handler and everything that a consumer must know of it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use idem_core::Settings;
use idem_core::engine::Commit;

use super::ErasedHandler;
use crate::client::Mode;

pub use self::check::RouteError;

mod check;
pub(crate) mod placeholders;
mod settings;

/// The most messages that one call of a batch handler can have: as many as a broker hands out at once.
pub const LONGEST_BATCH: usize = 32;

/// A handler with its topic, its key and its settings: what `Consumer::builder().handlers(..)` takes.
///
/// `handlers![..]` makes them of functions with `#[idempotent]`; [`handler`](super::handler) makes one without
/// a macro.
#[derive(Clone)]
#[must_use = "a route does nothing until a consumer is given it"]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the user's, and they are independent")]
pub struct Route {
    name: Cow<'static, str>,
    topic: String,
    tags: BTreeSet<String>,
    filter: Option<String>,
    scope: Option<String>,
    shared_scope: bool,
    is_orderly: bool,
    /// Whether only messages with an equal value have an order.
    is_by_value: bool,
    is_broadcast: bool,
    is_transactional: bool,
    commits_in_groups: bool,
    settings: Settings,
    max_batch: Option<usize>,
    handler: Arc<dyn ErasedHandler>,
}

impl Route {
    pub(super) fn new(topic: String, name: &'static str, handler: Arc<dyn ErasedHandler>) -> Self {
        Self {
            name: name.into(),
            topic,
            tags: BTreeSet::new(),
            filter: None,
            scope: None,
            shared_scope: false,
            is_orderly: false,
            is_by_value: false,
            is_broadcast: false,
            is_transactional: false,
            commits_in_groups: false,
            settings: Settings::new(),
            max_batch: None,
            handler,
        }
    }

    /// Names the handler in logs, metrics and errors. It is no part of a record's name: renaming a handler
    /// forgets nothing.
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Handles the messages with this tag, besides those of earlier calls. Without a tag, the handler takes
    /// all messages of its topic.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// Handles the messages with one of these tags.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Handles the messages that meet this condition on their properties, in place of tags.
    ///
    /// It is an SQL92 filter, which the broker works out: `>`, `>=`, `<`, `<=`, `=`, `<>`, `BETWEEN`, `IN`, `IS NULL`,
    /// `AND`, `OR`, `NOT`; numbers, texts in single quotes and booleans. The message's tag is the property `TAGS`. A
    /// message without the property does not meet a comparison with it.
    ///
    /// A consumer group has one subscription of a topic, so a handler with a filter is its topic's only one in the
    /// consumer; another one for the same topic goes to a consumer with another group. The brokers need
    /// `enablePropertyFilter=true`; an embedded broker has no such filters. A broker that does not take the condition is
    /// an error at start-up. [`Builder::test`](crate::consumer::Builder::test) has no broker and does not filter.
    ///
    /// ```
    /// # use idem_rocketmq::prelude::*;
    /// # #[derive(Deserialize)] struct OrderPaid { order_id: String }
    /// let route = handler("orders", async |order: OrderPaid| println!("much: {}", order.order_id))
    ///     .key(|order| order.order_id.clone())
    ///     .filter("amount > 100 AND TAGS = 'PAID'");
    /// ```
    pub fn filter(mut self, condition: impl Into<String>) -> Self {
        self.filter = Some(condition.into());
        self
    }

    /// The scope in which keys count, instead of topic and tag.
    ///
    /// A handler that keeps its scope may change its topic or its tags without forgetting what it has done.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Another handler has the same scope on purpose: a key that one has handled is a duplicate for the other.
    pub fn shared_scope(mut self) -> Self {
        self.shared_scope = true;
        self
    }

    /// Handles the messages of each queue in their order, one after the other, also those of different handlers.
    ///
    /// A message that fails is not overtaken: its queue is suspended for the backoff's delay and begins with it again.
    /// After [`max_attempts`](Self::max_attempts) failed runs it is a dead letter, and the queue goes on; with
    /// [`UNLIMITED`](crate::settings::UNLIMITED) attempts it blocks its queue until it succeeds. What was done before is not
    /// done again. [`Unkeyed::order_by`](super::Unkeyed::order_by) keeps the order of fewer messages, so that more of
    /// them run at once.
    ///
    /// All handlers of a consumer group consume in order, or none does. See [`guide::consuming`](crate::guide::consuming).
    ///
    /// ```
    /// use idem_rocketmq::prelude::*;
    /// # #[derive(serde::Deserialize)]
    /// # struct Order { id: u64 }
    /// # async fn ship(_: Order) {}
    ///
    /// let route = handler("orders", ship).key(|order| order.id).orderly();
    /// ```
    pub fn orderly(mut self) -> Self {
        self.is_orderly = true;
        self
    }

    /// Every instance of the consumer handles every message, instead of one of them.
    ///
    /// The consumer needs an [`instance_name`](crate::consumer::Builder::instance_name) that it keeps when it is started
    /// again: its records and its place in the topic are kept under it. A message that fails is tried again in the process,
    /// in place, because RocketMQ redelivers nothing in broadcasting.
    ///
    /// All handlers of a consumer group are of this kind, or none is.
    ///
    /// ```
    /// use idem_rocketmq::prelude::*;
    /// # #[derive(serde::Deserialize)]
    /// # struct Price { id: u64 }
    /// # async fn forget(_: Price) {}
    ///
    /// let route = handler("prices", forget).key(|price| price.id).broadcast();
    /// ```
    pub fn broadcast(mut self) -> Self {
        self.is_broadcast = true;
        self
    }

    /// The handler works in a transaction of the store's database that commits together with the message's record, and
    /// takes its connection as `&mut`: what it does there happens once for each key, and not at all where it fails.
    ///
    /// A batch handler works in one transaction with the records of all of its messages.
    ///
    /// The consumer's store must be in that database: a `PostgresStore`, `MySqlStore` or `SqliteStore`, or one of yours with
    /// [`Store::transactions`](crate::store::Store::transactions). See [`guide::transactions`](crate::guide::transactions).
    pub fn transactional(mut self) -> Self {
        self.is_transactional = true;
        self
    }

    /// The messages of a transactional handler that can begin at once share a transaction: each runs in a savepoint of its
    /// own, one after the other, and those that did not fail commit together. It is for handlers that are quick next to a
    /// commit; see [`guide::transactions`](crate::guide::transactions).
    pub fn group_commit(mut self) -> Self {
        self.commits_in_groups = true;
        self
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.is_transactional
    }

    /// How messages that are claimed together commit; none where each is completed by itself.
    pub(crate) fn commit(&self) -> Option<Commit> {
        let commit = match (self.handler.is_batch(), self.commits_in_groups) {
            (true, _) => Commit::Together,
            (false, true) => Commit::Savepoints,
            (false, false) => Commit::Each,
        };
        self.is_transactional.then_some(commit)
    }

    pub(super) fn ordered_by_value(mut self) -> Self {
        self.is_by_value = true;
        self.orderly()
    }

    /// How the handler's group consumes; none where two ways were said.
    pub(crate) fn mode(&self) -> Option<Mode> {
        match (self.is_orderly, self.is_broadcast) {
            (false, false) => Some(Mode::Concurrent),
            (true, false) => Some(Mode::Orderly),
            (false, true) => Some(Mode::Broadcast),
            (true, true) => None,
        }
    }

    /// The most messages in one call of a batch handler, at most [`LONGEST_BATCH`], which is what it is without this.
    ///
    /// A call has fewer messages where fewer have come, and never more than the handler's concurrency.
    pub fn max_batch(mut self, messages: usize) -> Self {
        self.max_batch = Some(messages);
        self
    }

    /// The most messages in one call, where the handler takes many.
    pub(crate) fn batch(&self) -> Option<usize> {
        self.handler.is_batch().then(|| self.max_batch.unwrap_or(LONGEST_BATCH))
    }

    /// The handler's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The tags in order; none means all.
    pub(crate) fn tag_set(&self) -> &BTreeSet<String> {
        &self.tags
    }

    /// The condition in place of tags.
    pub(crate) fn condition(&self) -> Option<&str> {
        self.filter.as_deref()
    }

    /// The scope that the user chose.
    pub(crate) fn explicit_scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Whether the user said that the scope is shared.
    pub(crate) fn shares_scope(&self) -> bool {
        self.shared_scope
    }

    /// The handler's own settings.
    pub(crate) fn own_settings(&self) -> &Settings {
        &self.settings
    }

    /// The handler.
    pub(crate) fn handler(&self) -> &Arc<dyn ErasedHandler> {
        &self.handler
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("name", &self.name)
            .field("topic", &self.topic)
            .field("tags", &self.tags)
            .field("filter", &self.filter)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// A handler that a consumer can take.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given to a consumer",
    label = "not a handler with a key",
    note = "write `handlers![a, b]` for functions with `#[idempotent]`, or `handler(topic, f).key(..)`"
)]
pub trait IntoRoute {
    /// The route.
    fn into_route(self) -> Route;
}

impl IntoRoute for Route {
    fn into_route(self) -> Route {
        self
    }
}

/// A function with `#[idempotent]`, by the struct of the same name.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`handlers!` takes functions with `#[idempotent]`",
    label = "has no `#[idempotent]`",
    note = "write `#[idempotent(key = \"order_id\", topic = \"orders\")]` above the function",
    note = "for a function without the attribute, push `handler(\"orders\", function).key(..)` to the list that `handlers!` gives",
    note = "for a function whose name a type has too, write the path of its module: `handlers![module::function]`"
)]
pub trait Routed {
    fn route() -> Route;
}

/// Stands for a function that has no struct beside it, so that the compiler misses [`Routed`] and says why.
#[doc(hidden)]
#[derive(Debug)]
pub struct WithoutIdempotent {}
