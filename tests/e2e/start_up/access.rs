//! Access control and TLS of Apache RocketMQ in Java, and the errors of a start that is not let in.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- start_up::access::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use idem_rocketmq::cluster::{Credentials, Tls};
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;
use idem_rocketmq::producer::ProducerBuilder;
use idem_rocketmq::store::Store;
use idem_rocketmq::{Backoff, Error};

use crate::support::kit::{self, Runs, SOON};
use crate::support::servers::{self, variable};

fn builder(name_server: &str, group: &str, topic: &str) -> Builder<Arc<dyn Store>> {
    let routes = [kit::counting(topic, &Runs::default())];
    Consumer::builder(group).name_server(name_server).store(MemoryStore::new()).handlers(routes)
}

/// The user `tests` or `restricted` of the broker with access control.
fn user(name: &str) -> Credentials {
    let part = |part: &str| variable(&format!("IDEM_TEST_ROCKETMQ_ACL_{name}_{part}_KEY"));
    Credentials::new(part("ACCESS"), part("SECRET"))
}

fn acl() -> String {
    variable("IDEM_TEST_ROCKETMQ_ACL")
}

fn trusting() -> Tls {
    Tls::new().root_certificates_file(variable("IDEM_TEST_ROCKETMQ_CA"))
}

/// The error of a start, which must come soon, with the addresses in it masked.
async fn refused(builder: Builder<Arc<dyn Store>>, expected: Expect) -> Error {
    builder.check().unwrap();
    let begun = Instant::now();
    let error = builder.start().await.map(drop).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(error.to_string(), format!("{error:?}"));
    expected.assert_eq(&servers::masked(&format!("{error}\n")));
    error
}

/// A consumer that is let in gets its messages.
async fn consumes(
    name_server: &str,
    topic: &str,
    change: impl Fn(Builder<Arc<dyn Store>>) -> Builder<Arc<dyn Store>>,
) {
    kit::seeing();
    let runs = Runs::default();
    let group = servers::unique("group");
    let builder = Consumer::builder(&group).name_server(name_server).store(MemoryStore::new());
    let running = change(builder.handlers([kit::counting(topic, &runs)])).start().await.unwrap();
    runs.until_total(1, SOON).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_rights_consumes() {
    let topic = servers::unique("orders");
    servers::send(servers::Server::Acl, &topic, "1");
    consumes(&acl(), &topic, |builder| builder.credentials(user("TESTS"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_wrong_credentials_are_told() {
    let of = |credentials| builder(&acl(), "campaign", "orders").credentials(credentials);
    let error = refused(builder(&acl(), "campaign", "orders"), expect![[r#"
        the broker ADDRESS asks the consumer group campaign who it is: give the access key and the secret key of a user with `.credentials(Credentials::new(access_key, secret_key))`
    "#]]).await;
    assert!(error.is_misconfiguration() && !error.is_unreachable());
    refused(of(Credentials::new("nobody", "s3cret")), expect![[r#"
        the broker ADDRESS does not accept the credentials of the consumer group campaign: check that the user of the access key exists there, is enabled and has this secret key
    "#]]).await;
    let known = variable("IDEM_TEST_ROCKETMQ_ACL_TESTS_ACCESS_KEY");
    let error = refused(of(Credentials::new(known, "s3cret")), expect![[r#"
        the broker ADDRESS does not accept the credentials of the consumer group campaign: check that the user of the access key exists there, is enabled and has this secret key
    "#]]).await;
    assert!(error.is_misconfiguration() && !error.to_string().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_told() {
    let of = |topic| builder(&acl(), "campaign", topic).credentials(user("RESTRICTED"));
    let error = refused(of("secret_orders"), expect![[r#"
        the user whose credentials the consumer group campaign has may not read the topic secret_orders on the broker ADDRESS: allow the user the action Sub on this topic, or give the credentials of another one
    "#]]).await;
    assert!(error.is_misconfiguration());
    // One who may read every topic, in no group.
    let (name, secret) = (servers::unique("loner"), "s3cret-of-a-loner");
    servers::admin(
        servers::Server::Acl,
        &["createUser", "-c", "idem", "-u", &name, "-p", secret, "-t", "Normal"],
    );
    let subject = format!("User:{name}");
    servers::admin(
        servers::Server::Acl,
        &["createAcl", "-c", "idem", "-s", &subject, "-r", "Topic:*", "-a", "Sub", "-d", "Allow"],
    );
    let loner = builder(&acl(), "campaign", "orders").credentials(Credentials::new(name, secret));
    refused(loner, expect![[r#"
        the user whose credentials the consumer group campaign has may not read the consumer group campaign on the broker ADDRESS: allow the user the action Sub on this consumer group, or give the credentials of another one
    "#]]).await;
    of("allowed_orders").start().await.unwrap().shutdown().await;
}

/// Who is in a group is told to those who have the action Get on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_see_the_groups_members_consumes_all_the_same() {
    kit::seeing();
    let group = servers::unique("group");
    let start = || builder(&acl(), &group, "allowed_orders").credentials(user("RESTRICTED")).start();
    let (first, second) = (start().await.unwrap(), start().await.unwrap());
    let said = kit::events(|event| {
        event.is("group", &group) && event.field("message").is_some_and(|text| text.contains("action Get"))
    });
    assert!(said.len() == 2 && said.iter().all(|event| event.level == tracing::Level::DEBUG), "{said:?}");
    first.shutdown().await;
    second.shutdown().await;
}

/// Retries and dead letters are messages that idem sends; a right to send is not needed for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_only_read_has_retries_and_dead_letters() {
    let (topic, group, name) =
        (servers::unique("orders"), servers::unique("group"), servers::unique("reader"));
    let secret = "s3cret-of-a-reader";
    servers::admin(
        servers::Server::Acl,
        &["createUser", "-c", "idem", "-u", &name, "-p", secret, "-t", "Normal"],
    );
    let subject = format!("User:{name}");
    let resources = format!("Topic:{topic},Group:{group}");
    servers::admin(
        servers::Server::Acl,
        &["createAcl", "-c", "idem", "-s", &subject, "-r", &resources, "-a", "Sub", "-d", "Allow"],
    );
    servers::send(servers::Server::Acl, &topic, "1");
    let runs = Runs::default();
    let seen = runs.clone();
    let failing = handler(&topic, move |order: kit::Order| {
        seen.add(&order.id);
        async { Err("always") }
    });
    let failing = failing
        .key(|order| order.id.clone())
        .named("fail")
        .backoff(Backoff::fixed(Duration::from_secs(1)))
        .max_attempts(2);
    let running = Consumer::builder(&group)
        .name_server(acl())
        .credentials(Credentials::new(name, secret))
        .store(MemoryStore::new())
        .handlers([failing])
        .start()
        .await
        .unwrap();
    runs.until_total(2, SOON).await;
    let letters = format!("%DLQ%{group}");
    // mqadmin may have sent the order twice: each is a dead letter then.
    kit::until("dead letters", SOON, async || servers::stored(servers::Server::Acl, &letters) >= 1).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_is_told_to_who_speaks_none() {
    let error = refused(builder(&variable("IDEM_TEST_ROCKETMQ_TLS"), "campaign", "orders"), expect![[r#"
        cannot reach the name server ADDRESS (it closed the connection without an answer, as a server does that asks for TLS: add `.tls(Tls::new())` if it is one); check that it runs, that the address is its own and that no firewall is between
    "#]]).await;
    assert!(error.is_unreachable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_by_file_and_by_text() {
    let address = variable("IDEM_TEST_ROCKETMQ_TLS");
    let topic = servers::unique("orders");
    servers::send(servers::Server::Tls, &topic, "1");
    consumes(&address, &topic, |builder| builder.tls(trusting())).await;
    let pem = std::fs::read(variable("IDEM_TEST_ROCKETMQ_CA")).unwrap();
    consumes(&address, &topic, |builder| builder.tls(Tls::new().root_certificates(pem.clone()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_server_is_told() {
    let address = variable("IDEM_TEST_ROCKETMQ_TLS");
    let with = |tls| builder(&address, "campaign", "orders").tls(tls);
    let error = refused(with(Tls::new()), expect![[r#"
        the name server ADDRESS shows a certificate that is not trusted (its authority is unknown): give the authority that signed it with `Tls::new().root_certificates_file(..)`, and check that the address is the right one
    "#]]).await;
    assert!(error.is_misconfiguration());
    let stranger = Tls::new().root_certificates_file(variable("IDEM_TEST_ROCKETMQ_STRANGER_CA"));
    refused(with(stranger), expect![[r#"
        the name server ADDRESS shows a certificate that is not trusted (its authority is unknown): give the authority that signed it with `Tls::new().root_certificates_file(..)`, and check that the address is the right one
    "#]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_opens_a_server_that_asks_for_one() {
    let address = variable("IDEM_TEST_ROCKETMQ_MTLS");
    let topic = servers::unique("orders");
    servers::send(servers::Server::Mtls, &topic, "1");
    let [chain, key] = ["CERT", "KEY"].map(|part| variable(&format!("IDEM_TEST_ROCKETMQ_CLIENT_{part}")));
    consumes(&address, &topic, |builder| builder.tls(trusting().client_certificate_files(&chain, &key)))
        .await;
    let [chain, key] = [chain, key].map(|path| std::fs::read(path).unwrap());
    consumes(&address, &topic, |builder| {
        builder.tls(trusting().client_certificate(chain.clone(), key.clone()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_untrusted_client_certificate_is_told() {
    let address = variable("IDEM_TEST_ROCKETMQ_MTLS");
    let with = |tls| builder(&address, "campaign", "orders").tls(tls);
    let error = refused(with(trusting()), expect![[r#"
        the name server ADDRESS asks for a client certificate: give one with `Tls::new().client_certificate_files(..)`
    "#]]).await;
    assert!(error.is_misconfiguration());
    let [chain, key] = ["CERT", "KEY"].map(|part| variable(&format!("IDEM_TEST_ROCKETMQ_STRANGER_{part}")));
    refused(with(trusting().client_certificate_files(chain, key)), expect![[r#"
        the name server ADDRESS refuses the client certificate: have it signed by an authority that the server trusts, for the use of clients, and check that it has not expired
    "#]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_cannot_be_read_are_told() {
    let with = |tls| builder("127.0.0.1:9", "campaign", "orders").tls(tls);
    refused(with(Tls::new().root_certificates_file("/no/such/ca.pem")), expect![[r#"
        the root certificates in /no/such/ca.pem cannot be used (No such file or directory (os error 2)): give PEM, in a file that this process may read or as text
    "#]]).await;
    refused(with(Tls::new().root_certificates("no certificate")), expect![[r#"
        the root certificates given as text cannot be used (no certificate in PEM form is in it): give PEM, in a file that this process may read or as text
    "#]]).await;
    refused(with(Tls::new().client_certificate_files("/no/such.pem", "/no/such.key")), expect![[r#"
        the client certificate in /no/such.pem cannot be used (No such file or directory (os error 2)): give PEM, in a file that this process may read or as text
    "#]]).await;
}

/// TLS is asked of a server that has none: the oldest release has it, too, with a certificate of its own making.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_servers_own_making_is_told() {
    refused(builder(&variable("IDEM_TEST_ROCKETMQ"), "campaign", "orders").tls(Tls::new()), expect![[r#"
        the name server ADDRESS shows a certificate that is not trusted (it cannot be verified): give the authority that signed it with `Tls::new().root_certificates_file(..)`, and check that the address is the right one
    "#]]).await;
}

/// The oldest release that the README promises, with the access control of its time.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_release_works() {
    let (topic, group, runs) = (servers::unique("orders"), servers::unique("group"), Runs::default());
    servers::send(servers::Server::Oldest, &topic, "1");
    servers::admin(servers::Server::Oldest, &["updateSubGroup", "-c", "idem", "-g", &group]);
    let (key, secret) = servers::oldest_user("TESTS");
    let consumer = Consumer::builder(&group).name_server(variable("IDEM_TEST_ROCKETMQ_OLDEST"));
    let consumer = consumer.credentials(Credentials::new(key, secret)).store(MemoryStore::new());
    let running = consumer.handlers([kit::counting(&topic, &runs)]).start().await.unwrap();
    runs.until_total(1, SOON).await;
    running.shutdown().await;
}

/// A producer sends an order, which a consumer gets.
async fn sends(address: &str, tls: impl Fn() -> Tls) {
    let topic = servers::unique("orders");
    let producer = sender(address).tls(tls()).start().await.unwrap();
    producer.send(&OutgoingMessage::new(&*topic, "1", r#"{"id":"1"}"#)).await.unwrap();
    producer.shutdown().await;
    consumes(address, &topic, |builder| builder.tls(tls())).await;
}

fn sender(address: &str) -> ProducerBuilder {
    Producer::builder("shop").name_server(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_sends_over_tls_with_and_without_a_certificate_of_its_own() {
    sends(&variable("IDEM_TEST_ROCKETMQ_TLS"), trusting).await;
    let [chain, key] = ["CERT", "KEY"].map(|part| variable(&format!("IDEM_TEST_ROCKETMQ_CLIENT_{part}")));
    let [chain, key] = [chain, key].map(|path| std::fs::read(path).unwrap());
    let with = || trusting().client_certificate(chain.clone(), key.clone());
    sends(&variable("IDEM_TEST_ROCKETMQ_MTLS"), with).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_producer_from_tls_is_told_at_its_start() {
    let told = async |builder: ProducerBuilder, expected: Expect| {
        let begun = Instant::now();
        let error = builder.start().await.map(drop).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        expected.assert_eq(&servers::masked(&format!("{error}\n")));
    };
    let (tls, mtls) = (variable("IDEM_TEST_ROCKETMQ_TLS"), variable("IDEM_TEST_ROCKETMQ_MTLS"));
    told(sender(&tls), expect![[r#"
        cannot reach the name server ADDRESS (it closed the connection without an answer, as a server does that asks for TLS: add `.tls(Tls::new())` if it is one); check that it runs, that the address is its own and that no firewall is between
    "#]]).await;
    told(sender(&tls).tls(Tls::new()), expect![[r#"
        the name server ADDRESS shows a certificate that is not trusted (its authority is unknown): give the authority that signed it with `Tls::new().root_certificates_file(..)`, and check that the address is the right one
    "#]]).await;
    told(sender(&mtls).tls(trusting()), expect![[r#"
        the name server ADDRESS asks for a client certificate: give one with `Tls::new().client_certificate_files(..)`
    "#]]).await;
    let [chain, key] = ["CERT", "KEY"].map(|part| variable(&format!("IDEM_TEST_ROCKETMQ_STRANGER_{part}")));
    told(sender(&mtls).tls(trusting().client_certificate_files(chain, key)), expect![[r#"
        the name server ADDRESS refuses the client certificate: have it signed by an authority that the server trusts, for the use of clients, and check that it has not expired
    "#]]).await;
    told(sender(&tls).tls(Tls::new().root_certificates("no certificate")), expect![[r#"
        the root certificates given as text cannot be used (no certificate in PEM form is in it): give PEM, in a file that this process may read or as text
    "#]]).await;
}
