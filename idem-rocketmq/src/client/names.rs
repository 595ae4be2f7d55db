//! The rules of RocketMQ for names (`Validators` and `TopicValidator` of its clients and brokers).

use rocketmq_model::common::topic::TopicValidator;

use super::ClientError;

/// Room for `%RETRY%` before it within a topic's 127 bytes.
const GROUP_LENGTH: usize = 120;
const TOPIC_LENGTH: usize = 127;
const ILLEGAL: &str = "has a character that RocketMQ forbids";

pub(crate) fn check_group(group: &str) -> Result<(), ClientError> {
    let system = group == "DEFAULT_CONSUMER" || group.starts_with("CID_RMQ_SYS_");
    match fault(group, GROUP_LENGTH, system) {
        Some(fault) => Err(ClientError::Group { group: group.to_owned(), fault }),
        None => Ok(()),
    }
}

pub(crate) fn check_topic(topic: &str) -> Result<(), ClientError> {
    match fault(topic, TOPIC_LENGTH, TopicValidator::is_system_topic(topic)) {
        Some(fault) => Err(ClientError::Topic { topic: topic.to_owned(), fault }),
        None => Ok(()),
    }
}

/// One tag: brokers compare its hash, so a stray space would match nothing and say nothing.
pub(crate) fn check_tag(tag: &str) -> Result<(), ClientError> {
    let fault = match tag {
        "" => "is empty",
        "*" => "means every tag and cannot be one tag",
        _ if tag.contains('|') => "holds a '|', which separates tags",
        _ if tag.contains(|c: char| c.is_whitespace() || c.is_control()) => "holds a space",
        _ => return Ok(()),
    };
    Err(ClientError::Tag { tag: tag.to_owned(), fault })
}

pub(super) fn check_expression(expression: &str) -> Result<(), ClientError> {
    match expression {
        "*" => Ok(()),
        _ => expression.split("||").try_for_each(check_tag),
    }
}

fn fault(name: &str, most: usize, system: bool) -> Option<&'static str> {
    match name {
        _ if name.trim().is_empty() => Some("is empty"),
        _ if name.len() > most => Some("is too long"),
        _ if TopicValidator::is_topic_or_group_illegal(name) => Some(ILLEGAL),
        _ if system => Some("is reserved for RocketMQ itself"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_the_rules_of_rocketmq_pass() {
        check_group("campaign-2_%x").unwrap();
        check_group(&"g".repeat(120)).unwrap();
        check_topic(&"t".repeat(127)).unwrap();
        check_topic("%RETRY%campaign").unwrap();
        check_tag("PAID").unwrap();
        check_expression("A||B").unwrap();
        check_expression("*").unwrap();
    }

    #[test]
    fn each_fault_is_named() {
        let text = |error: ClientError| error.to_string();
        assert!(text(check_group("").unwrap_err()).contains("is empty"));
        assert!(text(check_group(&"g".repeat(121)).unwrap_err()).contains("too long"));
        assert!(text(check_group("a b").unwrap_err()).contains("character"));
        assert!(text(check_group("DEFAULT_CONSUMER").unwrap_err()).contains("reserved"));
        assert!(text(check_topic("订单").unwrap_err()).contains("character"));
        assert!(text(check_topic("SCHEDULE_TOPIC_XXXX").unwrap_err()).contains("reserved"));
        assert!(text(check_expression("A || B").unwrap_err()).contains("space"));
        assert!(text(check_expression("").unwrap_err()).contains("is empty"));
        assert!(text(check_expression("A||*").unwrap_err()).contains("every tag"));
    }
}
