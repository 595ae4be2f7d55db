//! Whether the group's members want the same messages.
//!
//! A broker keeps one subscription for a whole group (`ConsumerGroupInfo` of Apache's broker): of each topic the
//! expression with the highest version, which a member raises at its start and whenever its queues change, and
//! the topics of the last heartbeat. By it the messages of every member are filtered, and each member's client drops
//! what it did not ask for itself. What only some of the members want is thus lost in the queues of the others.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::wire::{Connection, SUCCESS};
use crate::error::ClientError;
use crate::settings::{ClientSettings, Expression, Mode};

const GET_CONSUMER_CONNECTION_LIST: i32 = 203;

/// `CONSUMER_NOT_ONLINE`: the group has no member.
const NOBODY: i64 = 206;

/// How the members of a group share its messages, as brokers write it.
const CLUSTERING: &str = "CLUSTERING";
const BROADCASTING: &str = "BROADCASTING";

/// The topics that a group wants, with their namespace, and the expression for each.
#[derive(Debug, PartialEq, Eq)]
struct GroupSubscriptions(BTreeMap<String, String>);

/// Asks the broker for the subscriptions of the group's live members.
pub(super) async fn check(
    settings: &ClientSettings,
    connection: &mut Connection<'_>,
) -> Result<(), ClientError> {
    let (group, full_group) = (&settings.group, settings.full_group());
    let answer = connection.ask(GET_CONSUMER_CONNECTION_LIST, &[("consumerGroup", &full_group)], &[]).await?;
    let known: Value = match answer.code {
        SUCCESS => serde_json::from_slice(&answer.body).unwrap_or_default(),
        NOBODY => return Ok(()),
        code => {
            tracing::debug!(
                group,
                code,
                "the broker does not tell what the group's members subscribe; with access control that takes the action Get on \
                 the group"
            );
            return Ok(());
        }
    };
    let members = known["connectionSet"].as_array().map_or(0, Vec::len);
    let ours = match settings.mode {
        Mode::Concurrent | Mode::Orderly => CLUSTERING,
        Mode::Broadcast => BROADCASTING,
    };
    let model = known["messageModel"].as_str().unwrap_or(ours);
    if members > 0 && model != ours {
        let (model, ours) = (model.to_lowercase(), ours.to_lowercase());
        return Err(ClientError::MessageModel { group: group.clone(), members, model, ours });
    }
    let (ours, theirs) =
        (GroupSubscriptions::by(settings), GroupSubscriptions::of_members(&known["subscriptionTable"]));
    if members == 0 || ours == theirs {
        return Ok(());
    }
    let (theirs, ours) = (theirs.to_string(), ours.to_string());
    if settings.may_differ {
        tracing::warn!(
            group,
            members,
            theirs,
            ours,
            "members of the group subscribe otherwise: what only some of them want is lost until they agree"
        );
        return Ok(());
    }
    Err(ClientError::Subscriptions { group: group.clone(), members, theirs, ours })
}

impl GroupSubscriptions {
    fn by(settings: &ClientSettings) -> Self {
        let all = settings.subscriptions.iter().map(|(topic, expression)| {
            let expression = match expression {
                Expression::Tags(tags) => tagged(tags),
                Expression::Sql(condition) => filtered("SQL92", condition),
            };
            (settings.in_namespace(topic), expression)
        });
        Self(all.collect())
    }

    /// Without the group's retry topic, which each member subscribes by itself.
    fn of_members(table: &Value) -> Self {
        let all = table.as_object().into_iter().flatten().filter(|(topic, _)| !topic.starts_with("%RETRY%"));
        let expression = |subscription: &Value| {
            let text = subscription["subString"].as_str().unwrap_or_default();
            match subscription["expressionType"].as_str() {
                None | Some("" | "TAG") => tagged(text),
                Some(kind) => filtered(kind, text),
            }
        };
        Self(all.map(|(topic, subscription)| (topic.clone(), expression(subscription))).collect())
    }
}

/// Tags in their order, so that two ways to write the same are equal.
fn tagged(expression: &str) -> String {
    let mut tags: Vec<_> = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).collect();
    tags.sort_unstable();
    tags.dedup();
    match tags[..] {
        [] | ["*"] => "with every tag".to_owned(),
        [tag] => format!("with the tag {tag}"),
        _ => format!("with the tags {}", tags.join(", ")),
    }
}

fn filtered(kind: &str, condition: &str) -> String {
    format!("with the {kind} filter `{}`", condition.trim())
}

impl fmt::Display for GroupSubscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (index, (topic, expression)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}`{topic}` {expression}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn two_ways_to_write_the_same_are_equal() {
        let of = |kind: &str, text: &str| {
            let table = json!({
                "orders": { "subString": text, "expressionType": kind },
                "%RETRY%g": { "subString": "*", "expressionType": "TAG" },
            });
            GroupSubscriptions::of_members(&table).to_string()
        };
        assert_eq!(of("TAG", "PAID || DUE"), "`orders` with the tags DUE, PAID");
        assert_eq!(of("", "DUE||PAID||DUE"), of("TAG", "PAID || DUE"));
        assert_eq!(of("TAG", "*"), of("", ""));
        assert_ne!(of("SQL92", "a > 1"), of("TAG", "a > 1"));
        assert_eq!(GroupSubscriptions::of_members(&json!({})).to_string(), "nothing");
    }
}
