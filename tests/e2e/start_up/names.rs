//! Names, addresses and credentials that a start refuses.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- start_up::names::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::{Expect, expect};
use idem_rocketmq::cluster::Credentials;
use idem_rocketmq::prelude::*;

use super::{builder, fails, pay, route, with};

#[test]
fn a_bad_group_name_is_told() {
    fails(
        builder("", [pay()]),
        expect![[r#"
        the consumer group "" is empty; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |
    "#]],
    );
    fails(
        builder("a b", [pay()]),
        expect![[r#"
        the consumer group "a b" has a character that RocketMQ forbids; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |
    "#]],
    );
    fails(
        builder("活动", [pay()]),
        expect![[r#"
        the consumer group "活动" has a character that RocketMQ forbids; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |
    "#]],
    );
    fails(
        builder(&"g".repeat(121), [pay()]),
        expect![[r#"
        the consumer group "ggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg" is too long; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |
    "#]],
    );
    fails(
        builder("DEFAULT_CONSUMER", [pay()]),
        expect![[r#"
        the consumer group "DEFAULT_CONSUMER" is reserved for RocketMQ itself; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |
    "#]],
    );
}

#[test]
fn a_missing_or_malformed_name_server_is_told() {
    fails(
        Consumer::builder("g").store(MemoryStore::new()).handlers([pay()]),
        expect![[r#"
        the consumer group `g` has no name server: add one, as in `.name_server("127.0.0.1:9876")`
    "#]],
    );
    for_address(
        "",
        expect![[r#"
        the name server address "" is not of the form host:port, for example "127.0.0.1:9876"
    "#]],
    );
    for_address(
        "localhost",
        expect![[r#"
        the name server address "localhost" is not of the form host:port, for example "127.0.0.1:9876"
    "#]],
    );
    for_address(
        "http://mq:9876",
        expect![[r#"
        the name server address "http://mq:9876" is not of the form host:port, for example "127.0.0.1:9876"
    "#]],
    );
    for_address(
        "mq:99999",
        expect![[r#"
        the name server address "mq:99999" is not of the form host:port, for example "127.0.0.1:9876"
    "#]],
    );
    for_address(
        "10.0.0.1:9876,10.0.0.2:9876",
        expect![[r#"
        the name server address "10.0.0.1:9876,10.0.0.2:9876" is not of the form host:port, for example "127.0.0.1:9876"
    "#]],
    );
}

fn for_address(address: &str, text: Expect) {
    let builder = Consumer::builder("g").name_server(address).store(MemoryStore::new()).handlers([pay()]);
    fails(builder, text);
}

#[test]
fn a_bad_topic_tag_or_scope_is_told() {
    fails(
        builder("g", [route("", "pay")]),
        expect![[r#"
            the topic `` of handler `pay` is empty: a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |
        "#]],
    );
    fails(
        builder("g", [route("or ders", "pay")]),
        expect![[r#"
            the topic `or ders` of handler `pay` has a character that RocketMQ forbids: a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |
        "#]],
    );
    fails(
        builder("g", [route("订单", "pay")]),
        expect![[r#"
            the topic `订单` of handler `pay` has a character that RocketMQ forbids: a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |
        "#]],
    );
    fails(
        builder("g", [route("SCHEDULE_TOPIC_XXXX", "pay")]),
        expect![[r#"
            the topic `SCHEDULE_TOPIC_XXXX` of handler `pay` is reserved for RocketMQ itself: a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |
        "#]],
    );
    fails(
        with(|pay| pay.tag("")),
        expect![[r#"
            the tag `` of handler `pay` is empty: give several tags one by one, and none for all
        "#]],
    );
    fails(
        with(|pay| pay.tag("A || B")),
        expect![[r#"
            the tag `A || B` of handler `pay` holds a `|`, which separates tags: give several tags one by one, and none for all
        "#]],
    );
    fails(
        with(|pay| pay.tag("*")),
        expect![[r#"
            the tag `*` of handler `pay` means every tag and cannot be one tag: give several tags one by one, and none for all
        "#]],
    );
    fails(
        with(|pay| pay.scope("")),
        expect![[r#"
        the scope of handler `pay` is empty: name it, or leave it out for topic and tag
    "#]],
    );
}

/// As of a variable that is not set, and as of one that somebody else has written.
#[test]
fn bad_names_of_instances_namespaces_and_deployments_are_told() {
    let broadcast = || builder("g", [pay().broadcast()]);
    fails(
        broadcast().instance_name(""),
        expect![[r#"
        the instance name "" of the group `g` is empty: give each instance a name of its own of up to 200 letters, digits and other signs but spaces and slashes, such as the pod's name or the host's, and see whether the variable that it comes from is set
    "#]],
    );
    fails(
        broadcast().instance_name("../../../x"),
        expect![[r#"
        the instance name "../../../x" of the group `g` holds a slash: give each instance a name of its own of up to 200 letters, digits and other signs but spaces and slashes, such as the pod's name or the host's, and see whether the variable that it comes from is set
    "#]],
    );
    fails(
        builder("g", [pay()]).namespace("../x"),
        expect![[r#"
        the namespace "../x" of the group `g` has a character that RocketMQ forbids: it has the characters a-z A-Z 0-9 _ - |; leave `.namespace(..)` out where there is none, and see whether a variable that it comes from is set
    "#]],
    );
    fails(
        builder("g", [pay()]).deployment(""),
        expect![[r#"
        the deployment "" of the group `g` is empty: leave `.deployment(..)` out where one deployment has the store for itself, and see whether a variable that it comes from is set
    "#]],
    );
    let error =
        Producer::builder("shop").name_server("127.0.0.1:9876").instance_name("a\nb").check().unwrap_err();
    assert!(
        error.to_string().starts_with("the instance name \"a\\nb\" of the group `shop` holds a space"),
        "{error}"
    );
    let error = Producer::builder("shop").name_server("127.0.0.1:9876").namespace("").check().unwrap_err();
    assert!(error.is_misconfiguration());
}

#[test]
fn delay_levels_that_no_broker_has_are_told() {
    builder("g", [pay()]).delay_levels("1s 5s 1m 2h 1d").check().unwrap();
    fails(
        builder("g", [pay()]).delay_levels("1s,5s"),
        expect![[r#"
            the delay levels "1s,5s" of the group `g` are not of the form that brokers have them in: write the broker's `messageDelayLevel`, as in `.delay_levels("1s 5s 10s 30s 1m")`
        "#]],
    );
}

#[test]
fn empty_credentials_are_told_and_the_others_never_shown() {
    let with = |credentials| builder("g", [pay()]).credentials(credentials);
    fails(
        with(Credentials::new("", "s3cret")),
        expect![[r#"
        the access key of the group `g` is empty: give the broker's own keys, or leave `.credentials(..)` out where it asks for none
    "#]],
    );
    fails(
        with(Credentials::new("user", " ")),
        expect![[r#"
        the secret key of the group `g` is empty: give the broker's own keys, or leave `.credentials(..)` out where it asks for none
    "#]],
    );
    fails(
        with(Credentials::new("user", "s3cret").security_token("")),
        expect![[r#"
        the security token of the group `g` is empty: give the broker's own keys, or leave `.credentials(..)` out where it asks for none
    "#]],
    );
    let good = with(Credentials::new("user", "s3cret"));
    good.check().unwrap();
    assert!(!format!("{good:?}").contains("s3cret"));
}
