//! A message goes to the other broker of its topic where one refuses it. Two brokers of Apache RocketMQ in Java belong to two
//! name servers: a name server of this file hands out the route of both and passes on everything else.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- producer::two_brokers::`

use std::collections::BTreeSet;

use idem_rocketmq::embedded::Bench;
use idem_rocketmq::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::servers::{self, Server, variable};

const GET_ROUTE_BY_TOPIC: u64 = 105;

type Frame = (Value, Vec<u8>);

async fn read(stream: &mut TcpStream) -> std::io::Result<Frame> {
    let mut frame = vec![0; stream.read_u32().await? as usize];
    stream.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    assert_eq!(length >> 24, 0, "a header in JSON");
    let body = frame.split_off(4 + length);
    Ok((serde_json::from_slice(&frame[4..]).unwrap(), body))
}

async fn write(stream: &mut TcpStream, (header, body): &Frame) -> std::io::Result<()> {
    let header = header.to_string().into_bytes();
    let bytes = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    let frame = [&bytes(4 + header.len() + body.len())[..], &bytes(header.len()), &header, body].concat();
    stream.write_all(&frame).await
}

async fn ask(address: &str, request: &Frame) -> std::io::Result<Frame> {
    let mut stream = TcpStream::connect(address).await?;
    write(&mut stream, request).await?;
    read(&mut stream).await
}

/// A name server of both brokers.
async fn name_server() -> String {
    let names = [variable("IDEM_TEST_ROCKETMQ"), variable("IDEM_TEST_ROCKETMQ_ACL")];
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let names = names.clone();
            tokio::spawn(async move {
                while let Ok(request) = read(&mut stream).await {
                    let answer = answered(&names, request).await.unwrap();
                    write(&mut stream, &answer).await.unwrap();
                }
            });
        }
    });
    address
}

async fn answered(names: &[String; 2], mut request: Frame) -> std::io::Result<Frame> {
    if request.0["code"] != GET_ROUTE_BY_TOPIC {
        return ask(&names[0], &request).await;
    }
    request.0["extFields"]["acceptStandardJsonOnly"] = json!("true");
    let (header, first) = ask(&names[0], &request).await?;
    let (_, second) = ask(&names[1], &request).await?;
    let (Ok(mut route), Ok(other)) =
        (serde_json::from_slice::<Value>(&first), serde_json::from_slice::<Value>(&second))
    else {
        return Ok((header, first));
    };
    for name in ["brokerDatas", "queueDatas"] {
        let all = other[name].as_array().unwrap().clone();
        route[name].as_array_mut().unwrap().extend(all);
    }
    Ok((header, route.to_string().into_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_broker_refuses_goes_to_another_and_what_has_an_order_does_not() {
    let topic = servers::unique("topic");
    let plain = Bench::connect(variable("IDEM_TEST_ROCKETMQ")).await.unwrap();
    plain.create_topic(&topic, 4).await.unwrap();
    servers::admin(Server::Acl, &["updateTopic", "-c", "idem", "-t", &topic, "-w", "4", "-r", "4"]);
    let producer =
        Producer::builder(servers::unique("shop")).name_server(name_server().await).start().await.unwrap();
    let order = |id: usize| OutgoingMessage::new(&*topic, id as u64, format!(r#"{{"id":"{id}"}}"#));
    for id in 0..20 {
        producer.send(&order(id)).await.unwrap();
    }
    assert_eq!(plain.read_all(&topic).await.unwrap().len(), 20);

    let mut ends = BTreeSet::new();
    for id in 20..60 {
        match producer.send(&order(id).order_by(id as u64)).await {
            Ok(_) => ends.insert("sent"),
            Err(error) => {
                assert!(error.is_refused() && error.to_string().contains("16"), "{error}");
                ends.insert("refused")
            }
        };
    }
    assert_eq!(ends, BTreeSet::from(["refused", "sent"]));
    producer.shutdown().await;
}
