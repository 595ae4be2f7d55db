//! The rules of RocketMQ for names (`Validators` and `TopicValidator` of its clients and brokers).

use rocketmq_model::common::topic::TopicValidator;

/// Room for `%RETRY%` before it within a topic's 127 bytes.
const GROUP_LENGTH: usize = 120;
const TOPIC_LENGTH: usize = 127;
const ILLEGAL: &str = "has a character that RocketMQ forbids";

/// What is wrong with a consumer group's name.
pub(crate) fn group_fault(group: &str) -> Option<&'static str> {
    let system = group == "DEFAULT_CONSUMER" || group.starts_with("CID_RMQ_SYS_");
    fault(group, GROUP_LENGTH, system)
}

/// What is wrong with a topic's name.
pub(crate) fn topic_fault(topic: &str) -> Option<&'static str> {
    fault(topic, TOPIC_LENGTH, TopicValidator::is_system_topic(topic))
}

/// What is wrong with one tag: brokers compare its hash, so a stray space would match nothing and say nothing.
pub(crate) fn tag_fault(tag: &str) -> Option<&'static str> {
    match tag {
        "" => Some("is empty"),
        "*" => Some("means every tag and cannot be one tag"),
        _ if tag.contains('|') => Some("holds a `|`, which separates tags"),
        _ if tag.contains(|c: char| c.is_whitespace() || c.is_control()) => Some("holds a space"),
        _ => None,
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
        assert_eq!(group_fault("campaign-2_%x"), None);
        assert_eq!(group_fault(&"g".repeat(120)), None);
        assert_eq!(topic_fault(&"t".repeat(127)), None);
        assert_eq!(topic_fault("%RETRY%campaign"), None);
        assert_eq!(tag_fault("PAID"), None);
    }

    #[test]
    fn each_fault_is_named() {
        let says =
            |fault: Option<&'static str>, text| assert!(fault.is_some_and(|fault| fault.contains(text)));
        says(group_fault(""), "is empty");
        says(group_fault(&"g".repeat(121)), "too long");
        says(group_fault("a b"), "character");
        says(group_fault("DEFAULT_CONSUMER"), "reserved");
        says(topic_fault("订单"), "character");
        says(topic_fault("SCHEDULE_TOPIC_XXXX"), "reserved");
        says(tag_fault(""), "is empty");
        says(tag_fault("*"), "every tag");
        says(tag_fault("A || B"), "separates");
        says(tag_fault("A B"), "space");
    }
}
