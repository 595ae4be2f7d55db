//! Whether RocketMQ accepts a handler's topic and tags.

use idem_core::engine::Commit;
use idem_core::{Policy, UncertainRun};

use super::{LONGEST_BATCH, Route};
use crate::client::names;

/// A handler that cannot be subscribed as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The topic is empty, too long, reserved, or has characters that RocketMQ does not accept.
    #[error(
        "the topic `{topic}` of handler `{handler}` {fault}: a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |"
    )]
    Topic {
        /// The handler's name.
        handler: String,
        /// Its topic.
        topic: String,
        /// The fault, in words.
        fault: &'static str,
    },
    /// A tag is empty, or has characters that end a tag in a subscription.
    #[error("the tag `{tag}` of handler `{handler}` {fault}: give several tags one by one, and none for all")]
    Tag {
        /// The handler's name.
        handler: String,
        /// Its tag.
        tag: String,
        /// The fault, in words.
        fault: &'static str,
    },
    /// The filter is empty, or stands beside tags.
    #[error(
        "the filter of handler `{handler}` {fault}: write one condition, such as `amount > 100 AND TAGS = 'PAID'`, and no tags beside it"
    )]
    Filter {
        /// The handler's name.
        handler: String,
        /// The fault, in words.
        fault: &'static str,
    },
    /// Orderly and broadcast at once.
    #[error(
        "the handler `{handler}` is orderly and broadcast, and it can be one of them: leave the other out"
    )]
    OrderlyBroadcast {
        /// The handler's name.
        handler: String,
    },
    /// A batch of a queue whose messages are settled one after the other.
    #[error(
        "the handler `{handler}` takes a batch and is orderly, so that each batch would have one message: take one message, or \
         keep the order of a value alone with `order_by`, where a batch has one message of each"
    )]
    OrderlyBatch {
        /// The handler's name.
        handler: String,
    },
    /// The most messages of a batch are none, too many, or said of a handler that takes one by one.
    #[error("`max_batch` of handler `{handler}` {fault}")]
    MaxBatch {
        /// The handler's name.
        handler: String,
        /// The fault, in words.
        fault: &'static str,
    },
    /// A group commit without a transaction, or of a handler that takes a batch.
    #[error("`group_commit` of handler `{handler}` {fault}")]
    GroupCommit {
        /// The handler's name.
        handler: String,
        /// The fault, in words.
        fault: &'static str,
    },
    /// A check that is missing, is never asked, or of a handler that commits with others.
    #[error("`uncertain` of handler `{handler}` {fault}")]
    Uncertain {
        /// The handler's name.
        handler: String,
        /// The fault, in words.
        fault: &'static str,
    },
    /// The scope is empty, too long, or has characters that cannot be seen.
    #[error("the scope of handler `{handler}` {fault}: name it, or leave it out for topic and tag")]
    Scope {
        /// The handler's name.
        handler: String,
        /// The fault, in words.
        fault: &'static str,
    },
}

impl Route {
    /// Checks what can be checked without a broker: topic, tags, filter and scope.
    ///
    /// # Errors
    /// One of them is not what RocketMQ accepts.
    pub fn check(&self) -> Result<(), RouteError> {
        let handler = || self.name.clone().into_owned();
        if let Some(fault) = names::topic_fault(&self.topic) {
            return Err(RouteError::Topic { handler: handler(), topic: self.topic.clone(), fault });
        }
        for tag in &self.tags {
            if let Some(fault) = names::tag_fault(tag) {
                return Err(RouteError::Tag { handler: handler(), tag: tag.clone(), fault });
            }
        }
        if let Some(fault) = self.filter_fault() {
            return Err(RouteError::Filter { handler: handler(), fault });
        }
        if let Some(fault) = self.max_batch_fault() {
            return Err(RouteError::MaxBatch { handler: handler(), fault });
        }
        if let Some(fault) = self.group_commit_fault() {
            return Err(RouteError::GroupCommit { handler: handler(), fault });
        }
        if let Some(fault) = self.scope.as_deref().and_then(names::label_fault) {
            return Err(RouteError::Scope { handler: handler(), fault });
        }
        if self.mode().is_none() {
            return Err(RouteError::OrderlyBroadcast { handler: handler() });
        }
        if self.is_orderly && !self.is_by_value && self.batch().is_some() {
            return Err(RouteError::OrderlyBatch { handler: handler() });
        }
        Ok(())
    }

    /// Checks that a handler has a check where its policy asks one, and nowhere else.
    pub(crate) fn check_uncertain(&self, policy: &Policy) -> Result<(), RouteError> {
        let fault = match (policy.uncertain, self.handler.has_check()) {
            (UncertainRun::Check, false) => {
                "asks a check, and the handler has none: give it one, `uncertain = check(path::to::function)` or `.check(..)`"
            }
            (UncertainRun::Run | UncertainRun::Hold, true) => {
                "asks no check, and the handler has one: remove it, or say `UncertainRun::Check`"
            }
            (UncertainRun::Check, true) if !matches!(self.commit(), None | Some(Commit::Each)) => {
                "asks a check, and the handler commits together with other messages, which would wait for it: remove \
                 `group_commit`, or take messages one by one"
            }
            _ => return Ok(()),
        };
        Err(RouteError::Uncertain { handler: self.name.clone().into_owned(), fault })
    }

    fn max_batch_fault(&self) -> Option<&'static str> {
        match self.max_batch? {
            _ if self.batch().is_none() => {
                Some("stands at a handler that takes messages one by one: remove it, or take a batch")
            }
            1..=LONGEST_BATCH => None,
            _ => Some("must be 1 to 32, because a broker hands out no more at once"),
        }
    }

    fn group_commit_fault(&self) -> Option<&'static str> {
        match self.commit() {
            _ if !self.commits_in_groups => None,
            None => Some("stands at a handler without a transaction: add `transactional`, or remove it"),
            Some(Commit::Together) => {
                Some("stands at a batch handler, whose messages commit together anyway: remove it")
            }
            Some(Commit::Each | Commit::Savepoints) => None,
        }
    }

    fn filter_fault(&self) -> Option<&'static str> {
        match self.filter.as_deref() {
            Some(filter) if filter.trim().is_empty() => Some("is empty"),
            Some(_) if !self.tags.is_empty() => {
                Some("stands beside tags, and a subscription has one or the other")
            }
            _ => None,
        }
    }
}
