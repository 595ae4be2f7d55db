//! The errors of a start whose name servers are out of reach, silent, too old or something else.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- start_up::reach::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use expect_test::expect;
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::Store;

use crate::support::kit::{self, Runs};

fn builder(name_server: &str) -> Builder<Arc<dyn Store>> {
    let routes = [kit::counting("orders", &Runs::default())];
    Consumer::builder("g").name_server(name_server).store(MemoryStore::new()).handlers(routes)
}

async fn unreachable(address: &str) -> String {
    let begun = Instant::now();
    let builder = builder(address);
    builder.check().unwrap();
    let error = builder.start().await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(error.is_unreachable() && !error.is_misconfiguration(), "{error}");
    format!("{error}\n").replace(address, "ADDRESS")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_out_of_reach_is_told_within_three_seconds() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    expect![[r#"
        cannot reach the name server ADDRESS (Connection refused (os error 111)); check that it runs, that the address is its own and that no firewall is between
    "#]].assert_eq(&unreachable(&address).await);
}

/// The system's own error text differs between machines.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_told_within_three_seconds() {
    let text = unreachable("no-such-host.invalid:9876").await;
    let (before, rest) = text.split_once('(').unwrap();
    let (_, after) = rest.rsplit_once(')').unwrap();
    expect![[r#"
        cannot reach the name server ADDRESS (..); check that it runs, that the address is its own and that no firewall is between
    "#]].assert_eq(&format!("{before}(..){after}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_never_answers_is_told_within_three_seconds() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    expect![[r#"
        cannot reach the name server ADDRESS (no answer within 2.5s); check that it runs, that the address is its own and that no firewall is between
    "#]].assert_eq(&unreachable(&address).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_no_name_server_is_told() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        stream.write_all(b"-ERR unknown command\r\n").unwrap();
        let _ = stream.read(&mut [0; 1024]);
    });
    expect![[r#"
        cannot reach the name server ADDRESS (what answers there is no RocketMQ name server); check that it runs, that the address is its own and that no firewall is between
    "#]].assert_eq(&unreachable(&address).await);
    answering.join().unwrap();
}

/// Answers each request with the route of a 4.9 name server, as it came from 4.9.7.
fn old_name_server(listener: &TcpListener) {
    const ROUTE: &str = r#"{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:10911"},"brokerName":"a","cluster":"c"}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#;
    let (mut stream, _) = listener.accept().unwrap();
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize]).unwrap();
        let header = br#"{"code":0,"flag":1,"language":"JAVA","opaque":0,"serializeTypeCurrentRPC":"JSON","version":401}"#;
        let [whole, part] =
            [4 + header.len() + ROUTE.len(), header.len()].map(|n| u32::try_from(n).unwrap().to_be_bytes());
        stream.write_all(&[&whole[..], &part, header, ROUTE.as_bytes()].concat()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_of_an_old_release_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || old_name_server(&listener));
    let error = builder(&address).start().await.unwrap_err();
    expect![[r#"
        the name server ADDRESS is older than RocketMQ 5.0.0, and its routes cannot be read: RocketMQ 5.0.0 or later is needed, for the name servers and the brokers
    "#]].assert_eq(&format!("{error}\n").replace(&address, "ADDRESS"));
    assert!(error.is_misconfiguration() && !error.is_unreachable());
    answering.join().unwrap();
}
