//! What RocketMQ accepts as topic and tag.

use super::Route;

/// The longest topic that a broker accepts. Source: `TopicValidator.TOPIC_MAX_LENGTH`.
const MAX_TOPIC_LEN: usize = 127;

/// A handler that cannot be subscribed as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The topic is empty, too long, or has characters that RocketMQ does not accept.
    #[error(
        "the handler `{handler}` has the topic `{topic}`: a topic has 1 to {MAX_TOPIC_LEN} characters of a-z, A-Z, 0-9, `_`, `-`, `%` and `|`"
    )]
    Topic {
        /// The handler's name.
        handler: String,
        /// Its topic.
        topic: String,
    },
    /// A tag is empty, or has characters that end a tag in a subscription.
    #[error(
        "the handler `{handler}` has the tag `{tag}`: a tag is not empty, not `*`, and has no spaces and no `|`; give several tags one by one"
    )]
    Tag {
        /// The handler's name.
        handler: String,
        /// Its tag.
        tag: String,
    },
    /// The scope is empty.
    #[error("the handler `{handler}` has an empty scope: name it, or leave it out for topic and tag")]
    Scope {
        /// The handler's name.
        handler: String,
    },
}

impl Route {
    /// Checks what can be checked without a broker: topic, tags and scope.
    ///
    /// # Errors
    /// One of them is not what RocketMQ accepts.
    pub fn check(&self) -> Result<(), RouteError> {
        let handler = || self.name.clone().into_owned();
        if !is_topic(&self.topic) {
            return Err(RouteError::Topic { handler: handler(), topic: self.topic.clone() });
        }
        if let Some(tag) = self.tags.iter().find(|tag| !is_tag(tag)) {
            return Err(RouteError::Tag { handler: handler(), tag: tag.clone() });
        }
        if self.scope.as_deref() == Some("") {
            return Err(RouteError::Scope { handler: handler() });
        }
        Ok(())
    }
}

fn is_topic(topic: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-%|".contains(&b);
    (1..=MAX_TOPIC_LEN).contains(&topic.len()) && topic.bytes().all(allowed)
}

fn is_tag(tag: &str) -> bool {
    !tag.is_empty() && tag != "*" && !tag.contains(|c: char| c == '|' || c.is_whitespace() || c.is_control())
}
