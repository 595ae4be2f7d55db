//! The errors of a start whose group may not read.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- start_up::refused::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::{Expect, expect};
use idem_rocketmq::cluster::Credentials;
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Runs, SOON};
use crate::support::place::Place;
use crate::support::servers::{self, Server, variable};

async fn refused(place: &Place, route: Route, expected: Expect) {
    let member = place.member(&MemoryStore::new(), [route]).instance_name(place.instance("one"));
    let error = member.start().await.unwrap_err();
    let text =
        servers::masked(&format!("{error}\n")).replace(&place.topic, "TOPIC").replace(&place.group, "GROUP");
    expected.assert_eq(&text);
    assert!(error.is_misconfiguration() && !error.is_unreachable());
}

fn route(place: &Place) -> Route {
    kit::counting(&place.topic, &Runs::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_read_is_told() {
    let place = Place::plain(2).await;
    servers::admin(Server::Plain, &["updateTopicPerm", "-c", "idem", "-t", &place.topic, "-p", "2"]);
    refused(&place, route(&place), expect![[r#"
        the broker ADDRESS does not let the consumer group GROUP read topic TOPIC (the topic[TOPIC] pulling message is forbidden): allow it, with `mqadmin updateTopicPerm -p 6` for the topic, `mqadmin updateSubGroup -s true` for the group or `brokerPermission=6` for the broker
    "#]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_may_not_consume_is_told() {
    let place = Place::plain(2).await;
    servers::admin(Server::Plain, &["updateSubGroup", "-c", "idem", "-g", &place.group, "-s", "false"]);
    refused(&place, route(&place), expect![[r#"
        the broker ADDRESS does not let the consumer group GROUP read topic TOPIC (subscription group no permission, GROUP): allow it, with `mqadmin updateTopicPerm -p 6` for the topic, `mqadmin updateSubGroup -s true` for the group or `brokerPermission=6` for the broker
    "#]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_may_not_broadcast_is_told() {
    let place = Place::plain(2).await;
    servers::admin(Server::Plain, &["updateSubGroup", "-c", "idem", "-g", &place.group, "-d", "false"]);
    refused(&place, route(&place).broadcast(), expect![[r#"
        the broker ADDRESS does not let the consumer group GROUP consume by broadcasting: allow it, with `mqadmin updateSubGroup -g GROUP -d true`, or give the handlers a group of their own
    "#]]).await;
}

/// The oldest release, with ACL 1.0, where groups are made by hand.
#[tokio::test(flavor = "multi_thread")]
async fn access_control_of_the_first_kind_and_a_group_that_does_not_exist_are_told() {
    let (topic, group) = (servers::unique("orders"), servers::unique("group"));
    servers::send(Server::Oldest, &topic, "1");
    let start = async |credentials: Option<Credentials>| {
        let builder = Consumer::builder(&group).name_server(variable("IDEM_TEST_ROCKETMQ_OLDEST"));
        let builder = builder.store(MemoryStore::new()).handlers([kit::counting(&topic, &Runs::default())]);
        match credentials {
            Some(credentials) => builder.credentials(credentials).start().await,
            None => builder.start().await,
        }
    };
    let told = async |credentials: Option<Credentials>, expected: Expect| {
        let error = start(credentials).await.map(drop).unwrap_err();
        let text = servers::masked(&format!("{error}\n")).replace(&topic, "TOPIC").replace(&group, "GROUP");
        expected.assert_eq(&text);
        assert!(error.is_misconfiguration());
    };
    told(None, expect![[r#"
        the broker ADDRESS asks the consumer group GROUP who it is: give the access key and the secret key of a user with `.credentials(Credentials::new(access_key, secret_key))`
    "#]]).await;
    let (key, _) = servers::oldest_user("TESTS");
    told(Some(Credentials::new(key, "a-wrong-secret")), expect![[r#"
        the broker ADDRESS does not accept the credentials of the consumer group GROUP: check that the user of the access key exists there, is enabled and has this secret key
    "#]]).await;
    let user = |name| {
        let (key, secret) = servers::oldest_user(name);
        Some(Credentials::new(key, secret))
    };
    told(user("TESTS"), expect![[r#"
        the broker ADDRESS has no consumer group GROUP and makes none by itself: create it first, as with `mqadmin updateSubGroup -g GROUP -c CLUSTER`
    "#]]).await;
    servers::admin(Server::Oldest, &["updateSubGroup", "-c", "idem", "-g", &group]);
    told(user("RESTRICTED"), expect![[r#"
        the user whose credentials the consumer group GROUP has may not read the topic TOPIC on the broker ADDRESS: allow the user the action Sub on this topic, or give the credentials of another one
    "#]]).await;
    kit::until("the group is there", SOON, async || match start(user("TESTS")).await {
        Ok(running) => {
            running.shutdown().await;
            true
        }
        Err(_) => false,
    })
    .await;
}
