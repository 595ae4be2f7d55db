//! The rules for names: RocketMQ's (`Validators` and `TopicValidator` of its clients and brokers), and idem's for what
//! RocketMQ takes as it is. A name often comes out of an environment variable, which may be unset, and ends in a path or
//! between separators.

use rocketmq_model::common::message::STRING_HASH_SET;
use rocketmq_model::common::topic::TopicValidator;

/// Room for `%RETRY%` before it within a topic's 127 bytes.
const GROUP_LENGTH: usize = 120;
const TOPIC_LENGTH: usize = 127;
/// A file's name has 255 bytes, of which the client needs some.
const INSTANCE_LENGTH: usize = 200;
const LABEL_LENGTH: usize = 255;
const TOO_LONG: &str = "is too long together with the namespace";
const ILLEGAL: &str = "has a character that RocketMQ forbids";

/// The fault of a name, with the name's kind and advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameFault<'a> {
    pub what: &'static str,
    pub name: &'a str,
    pub fault: &'static str,
    pub advice: &'static str,
}

/// The names that a consumer or a producer can be given beside its group's and those of topics.
#[derive(Clone, Copy, Debug)]
pub struct ConfiguredNames<'a> {
    pub group: &'a str,
    pub namespace: Option<&'a str>,
    pub deployment: Option<&'a str>,
    pub instance: Option<&'a str>,
}

impl<'a> ConfiguredNames<'a> {
    /// The first fault. `topics` are those that are known before a message is sent, without namespace.
    pub fn fault(self, mut topics: impl Iterator<Item = &'a str>) -> Option<NameFault<'a>> {
        let namespace = self.namespace.and_then(|name| {
            let fault = namespace_fault(name)?;
            let advice = "it has the characters a-z A-Z 0-9 _ - |; leave `.namespace(..)` out where there is none, and see \
                          whether a variable that it comes from is set";
            Some(NameFault { what: "namespace", name, fault, advice })
        });
        let too_long = || {
            let too_long = |name, most| is_too_long(self.namespace, name, most);
            let topic = topics.find(|topic| too_long(topic, TOPIC_LENGTH));
            let name = topic.or_else(|| too_long(self.group, GROUP_LENGTH).then_some(self.group))?;
            let fault = TOO_LONG;
            let advice = "with it and a `%` between, a topic has up to 127 characters, and a group 120";
            Some(NameFault { what: "name", name, fault, advice })
        };
        let deployment = self.deployment.and_then(|name| {
            let advice = "leave `.deployment(..)` out where one deployment has the store for itself, and see whether a variable \
                          that it comes from is set";
            Some(NameFault { what: "deployment", name, fault: label_fault(name)?, advice })
        });
        let instance = self.instance.and_then(|name| {
            let advice = "give each instance a name of its own of up to 200 letters, digits and other signs but spaces and \
                          slashes, such as the pod's name or the host's, and see whether the variable that it comes from is set";
            Some(NameFault { what: "instance name", name, fault: instance_fault(name)?, advice })
        });
        namespace.or_else(too_long).or(deployment).or(instance)
    }
}

/// The fault of a topic together with a namespace, which are each right.
pub fn full_topic_fault(namespace: Option<&str>, topic: &str) -> Option<&'static str> {
    is_too_long(namespace, topic, TOPIC_LENGTH).then_some(TOO_LONG)
}

fn is_too_long(namespace: Option<&str>, name: &str, most: usize) -> bool {
    namespace.map_or(0, |namespace| namespace.len() + 1) + name.len() > most
}

/// The fault of a RocketMQ namespace, which is put before topics and groups, with a `%` between.
fn namespace_fault(namespace: &str) -> Option<&'static str> {
    match namespace {
        _ if namespace.contains('%') => Some("holds a `%`, which ends a namespace"),
        _ => fault(namespace, TOPIC_LENGTH, false),
    }
}

/// The fault of an instance's name. In broadcasting it is the name of a directory.
fn instance_fault(name: &str) -> Option<&'static str> {
    match name {
        _ if name.trim().is_empty() => Some("is empty"),
        _ if name.len() > INSTANCE_LENGTH => Some("is too long"),
        _ if name.contains(['/', '\\']) => Some("holds a slash"),
        _ if name.contains("..") => Some("holds `..`"),
        _ if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Some("holds a space or a control character")
        }
        _ => None,
    }
}

/// The fault of a name that is only a part of records' names: a deployment or a scope.
pub fn label_fault(name: &str) -> Option<&'static str> {
    match name {
        _ if name.trim().is_empty() => Some("is empty"),
        _ if name.len() > LABEL_LENGTH => Some("is longer than 255 bytes"),
        _ if name.contains(char::is_control) => Some("holds a control character"),
        _ if name.trim() != name => Some("begins or ends with a space"),
        _ => None,
    }
}

/// The fault of a consumer group's name.
pub fn group_fault(group: &str) -> Option<&'static str> {
    let system = group == "DEFAULT_CONSUMER" || group.starts_with("CID_RMQ_SYS_");
    fault(group, GROUP_LENGTH, system)
}

/// The fault of a topic's name.
pub fn topic_fault(topic: &str) -> Option<&'static str> {
    fault(topic, TOPIC_LENGTH, TopicValidator::is_system_topic(topic))
}

/// The fault of one tag: brokers compare its hash, so a stray space would match nothing and say nothing.
pub fn tag_fault(tag: &str) -> Option<&'static str> {
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

/// Whether RocketMQ keeps this name of a property for itself.
pub fn is_reserved_property(name: &str) -> bool {
    STRING_HASH_SET.contains(name)
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

    const NOTHING: ConfiguredNames<'_> =
        ConfiguredNames { group: "g", namespace: None, deployment: None, instance: None };

    #[test]
    fn names_that_people_give_pass() {
        let given = ConfiguredNames {
            namespace: Some("MQ_INST_1"),
            deployment: Some("staging/eu 1"),
            instance: Some("web-0.web.shop@rack:7#2"),
            ..NOTHING
        };
        assert_eq!(given.fault(["orders"].into_iter()), None);
        assert_eq!(ConfiguredNames { instance: Some("实例1"), ..NOTHING }.fault([].into_iter()), None);
        let long = "t".repeat(127);
        assert_eq!(NOTHING.fault([&*long].into_iter()), None);
    }

    #[test]
    fn unset_variables_and_names_that_are_paths_or_separators_are_faults() {
        let longest = "x".repeat(300);
        for bad in ["", " ", "a\0b", "a\nb", &*longest] {
            for given in [
                ConfiguredNames { namespace: Some(bad), ..NOTHING },
                ConfiguredNames { deployment: Some(bad), ..NOTHING },
                ConfiguredNames { instance: Some(bad), ..NOTHING },
            ] {
                assert!(given.fault([].into_iter()).is_some(), "{given:?}");
            }
        }
        for bad in ["../../../x", "..", "a/b", "a\\b", "a b"] {
            assert!(
                ConfiguredNames { namespace: Some(bad), ..NOTHING }.fault([].into_iter()).is_some(),
                "{bad}"
            );
            assert!(
                ConfiguredNames { instance: Some(bad), ..NOTHING }.fault([].into_iter()).is_some(),
                "{bad}"
            );
        }
        assert!(ConfiguredNames { namespace: Some("a%b"), ..NOTHING }.fault([].into_iter()).is_some());
        assert!(ConfiguredNames { deployment: Some(" a"), ..NOTHING }.fault([].into_iter()).is_some());
    }

    #[test]
    fn names_that_are_too_long_with_their_namespace_are_faults() {
        let (topic, group) = ("t".repeat(126), "g".repeat(119));
        let given = ConfiguredNames { namespace: Some("n"), ..NOTHING };
        assert_eq!(given.fault([&*topic].into_iter()).map(|fault| fault.name), Some(&*topic));
        assert_eq!(given.fault(["t"].into_iter()), None);
        assert_eq!(
            ConfiguredNames { group: &group, ..given }.fault([].into_iter()).map(|fault| fault.name),
            Some(&*group)
        );
    }
}
