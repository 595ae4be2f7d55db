//! Apache RocketMQ in Java, as `scripts/services` starts it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

#[derive(Clone, Copy)]
pub(crate) enum Server {
    Plain,
    Levels,
    Acl,
    Tls,
    Mtls,
    Oldest,
}

/// A variable of the environment. A test without its server fails, so that none is skipped silently.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `scripts/services start DIR redis rocketmq rocketmq-acl ..` and `. DIR/env` first")
    })
}

/// A name that no other run has used.
pub(crate) fn unique(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{what}_{since}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The text with each `127.0.0.1:port` as `ADDRESS`.
pub(crate) fn masked(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "ADDRESS" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

pub(crate) fn admin(server: Server, arguments: &[&str]) -> String {
    command(server, arguments).unwrap_or_else(|text| panic!("mqadmin {}: {text}", arguments[0]))
}

/// The output of `mqadmin`, or its error.
pub(crate) fn try_admin(server: Server, arguments: &[&str]) -> Result<String, String> {
    command(server, arguments)
}

fn command(server: Server, arguments: &[&str]) -> Result<String, String> {
    let variable = match server {
        Server::Plain => variable("IDEM_TEST_MQADMIN"),
        Server::Levels => variable("IDEM_TEST_MQADMIN_LEVELS"),
        Server::Acl => variable("IDEM_TEST_MQADMIN_ACL"),
        Server::Tls => variable("IDEM_TEST_MQADMIN_TLS"),
        Server::Mtls => variable("IDEM_TEST_MQADMIN_MTLS"),
        Server::Oldest => variable("IDEM_TEST_MQADMIN_OLDEST"),
    };
    let output = Command::new(variable).args(arguments).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { Err(text) }
}

/// Sends an order, which makes the topic; with mqadmin, which knows the keys and certificates of each server. It takes
/// seconds, and at times a try more on a busy machine.
pub(crate) fn send(server: Server, topic: &str, id: &str) {
    let body = format!(r#"{{"id":"{id}"}}"#);
    let sent = (0..3).any(|_| {
        let output = command(server, &["sendMessage", "-t", topic, "-p", &body]);
        output.is_ok_and(|text| text.contains("SEND_OK"))
    });
    assert!(sent, "mqadmin could not send");
}

/// The access key and the secret key of a user of the oldest release.
pub(crate) fn oldest_user(name: &str) -> (String, String) {
    let part = |part: &str| variable(&format!("IDEM_TEST_ROCKETMQ_OLDEST_{name}_{part}_KEY"));
    (part("ACCESS"), part("SECRET"))
}

/// How many messages a topic has had; none while it does not exist.
pub(crate) fn stored(server: Server, topic: &str) -> usize {
    let status = command(server, &["topicStatus", "-t", topic]).unwrap_or_default();
    // The columns are broker, queue, least offset, next offset and time.
    let rows = status.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|row| row.split_whitespace().nth(3)?.parse::<usize>().ok()).sum()
}

/// Sends orders to a server without access control and TLS, quickly; each with its tag and properties.
///
/// This speaks the protocol itself (`RemotingCommand` and `SendMessageRequestHeader` in Apache's sources), so that what
/// is sent does not depend on the client under test.
pub(crate) fn send_all(name_server: &str, topic: &str, orders: &[(&str, &[(&str, &str)])]) {
    let mut broker = broker(name_server);
    for (id, properties) in orders {
        ask(&mut broker, 10, &sending(topic, properties, PLAIN), order(id).as_bytes());
    }
}

/// Sends one message, whatever its flag says about the body; an error is the broker's code.
pub(crate) fn send_flagged(
    name_server: &str,
    topic: &str,
    sys_flag: u32,
    properties: &[(&str, &str)],
    body: &[u8],
) -> Result<(), i64> {
    let (header, _) = exchange(&mut broker(name_server), 10, &sending(topic, properties, sys_flag), body);
    match header["code"].as_i64().unwrap() {
        0 => Ok(()),
        code => Err(code),
    }
}

/// Sends messages in one batch, each with its body and its properties as bytes, which are kept as they are.
pub(crate) fn send_batch(name_server: &str, topic: &str, messages: &[(&[u8], &[u8])]) {
    let mut all = Vec::new();
    for (body, properties) in messages {
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
        all.extend(
            [&length(22 + body.len() + properties.len())[..], &[0; 12], &length(body.len()), body].concat(),
        );
        all.extend([&u16::try_from(properties.len()).unwrap().to_be_bytes()[..], properties].concat());
    }
    let long = sending(topic, &[("UNIQ_KEY", &unique("batch"))], PLAIN);
    // `SendMessageRequestHeaderV2`, as batches are sent.
    let names = [
        ("a", "producerGroup"),
        ("b", "topic"),
        ("c", "defaultTopic"),
        ("d", "defaultTopicQueueNums"),
        ("e", "queueId"),
        ("f", "sysFlag"),
        ("g", "bornTimestamp"),
        ("h", "flag"),
        ("i", "properties"),
        ("j", "reconsumeTimes"),
        ("k", "unitMode"),
        ("l", "maxReconsumeTimes"),
    ];
    let mut fields = json!({ "m": "true" });
    for (short, name) in names {
        fields[short] = long[name].clone();
    }
    ask(&mut broker(name_server), 320, &fields, &all);
}

/// Creates a topic of one queue whose batches stay together (`queue.type=BatchCQ`).
pub(crate) fn create_batch_topic(name_server: &str, topic: &str) {
    let fields = json!({
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": "1", "writeQueueNums": "1", "perm": "6",
        "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false", "attributes": "+queue.type=BatchCQ",
    });
    ask(&mut broker(name_server), 17, &fields, b"");
}

/// Stores a half message of this producer group, and says nothing more, as a producer that dies.
pub(crate) fn prepare(name_server: &str, topic: &str, group: &str, properties: &[(&str, &str)]) {
    let mut properties = properties.to_vec();
    properties.extend([("TRAN_MSG", "true"), ("PGROUP", group)]);
    ask(&mut broker(name_server), 10, &sending(topic, &properties, PREPARED), b"half");
}

/// Sends an order as a half message, and commits it twice, as brokers do by themselves when a check and the commit cross:
/// two copies of one message.
pub(crate) fn commit_twice(name_server: &str, topic: &str, id: &str) {
    const COMMIT: u32 = 8;
    let mut broker = broker(name_server);
    let fields = sending(topic, &[("TRAN_MSG", "true"), ("PGROUP", "tests"), ("UNIQ_KEY", id)], PREPARED);
    let (stored, _) = answer(&mut broker, 10, &fields, order(id).as_bytes());
    let stored = &stored["extFields"];
    let message_id = stored["msgId"].as_str().unwrap();
    // The message's place in the commit log is in its id.
    let place = i64::from_str_radix(&message_id[message_id.len() - 16..], 16).unwrap();
    let end = json!({
        "producerGroup": "tests", "tranStateTableOffset": stored["queueOffset"], "msgId": id,
        "commitLogOffset": place.to_string(), "commitOrRollback": COMMIT.to_string(), "topic": topic,
        "fromTransactionCheck": "false", "transactionId": id,
    });
    for _ in 0..2 {
        ask(&mut broker, 37, &end, b"");
    }
}

fn order(id: &str) -> String {
    format!(r#"{{"id":"{id}"}}"#)
}

/// Kinds of messages, by their `sysFlag`.
const PLAIN: u32 = 0;
const PREPARED: u32 = 4;

fn sending(topic: &str, properties: &[(&str, &str)], kind: u32) -> Value {
    let parts = properties.iter().flat_map(|(name, value)| [*name, "\u{1}", *value, "\u{2}"]);
    // One that is older than the broker keeps messages is not asked for.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().to_string();
    json!({
        "producerGroup": "tests", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
        "queueId": "0", "sysFlag": kind.to_string(), "bornTimestamp": now, "flag": "0", "reconsumeTimes": "0",
        "unitMode": "false", "batch": "false", "maxReconsumeTimes": "16", "properties": parts.collect::<String>(),
    })
}

/// A member of a group that only says that it is there, as long as this lives: its heartbeat (`HeartbeatData` in Apache's
/// sources) is all that a broker has of a member.
pub(crate) struct Member {
    _connection: TcpStream,
}

impl Member {
    /// Subscribes the topic with these tags.
    pub(crate) fn join(name_server: &str, group: &str, model: &str, topic: &str, tags: &str) -> Self {
        let mut connection = broker(name_server);
        let subscription = |topic: &str, tags: &str| {
            json!({
                "topic": topic, "subString": tags, "tagsSet": [], "codeSet": [], "subVersion": 1,
                "expressionType": "TAG", "classFilterMode": false,
            })
        };
        let consumer = json!({
            "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": model,
            "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "unitMode": false,
            "subscriptionDataSet": [subscription(topic, tags), subscription(&format!("%RETRY%{group}"), "*")],
        });
        let heartbeat = json!({
            "clientID": unique("127.0.0.1@tests"), "producerDataSet": [], "consumerDataSet": [consumer],
            "heartbeatFingerprint": 0, "withoutSub": false,
        });
        ask(&mut connection, 34, &json!({}), heartbeat.to_string().as_bytes());
        Self { _connection: connection }
    }
}

/// A member that consumes in order and says so when it is asked, and has queue 0 of its topic locked; it consumes nothing.
pub(crate) struct OrderlyMember {
    connection: TcpStream,
}

impl OrderlyMember {
    pub(crate) fn join(name_server: &str, group: &str, topic: &str) -> Self {
        let Member { _connection: connection } = Member::join(name_server, group, "CLUSTERING", topic, "*");
        lock(name_server, group, topic);
        let mut answering = connection.try_clone().unwrap();
        std::thread::spawn(move || {
            let info = br#"{"mqTable":{},"properties":{"PROP_CONSUMEORDERLY":"true"}}"#;
            while let Some((request, _)) = try_read(&mut answering) {
                if request["code"] == 307 {
                    let header = json!({
                        "code": 0, "language": "JAVA", "version": 493, "opaque": request["opaque"], "flag": 1,
                        "serializeTypeCurrentRPC": "JSON",
                    });
                    answering.write_all(&frame(&header, info)).unwrap();
                }
            }
        });
        Self { connection }
    }
}

impl Drop for OrderlyMember {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(std::net::Shutdown::Both);
    }
}

/// Locks queue 0 of the topic for a member that is not seen again, as one that is killed leaves it.
pub(crate) fn lock(name_server: &str, group: &str, topic: &str) {
    let (name, mut broker) = named_broker(name_server);
    let body = json!({
        "consumerGroup": group, "clientId": unique("127.0.0.1@killed"), "onlyThisBroker": true,
        "mqSet": [{ "topic": topic, "brokerName": name, "queueId": 0 }],
    });
    let locked = ask(&mut broker, 41, &json!({}), body.to_string().as_bytes());
    let locked: Value = serde_json::from_slice(&locked).unwrap();
    assert_eq!(locked["lockOKMQSet"].as_array().map(Vec::len), Some(1), "{locked}");
}

/// A connection to the one broker of a name server.
fn broker(name_server: &str) -> TcpStream {
    named_broker(name_server).1
}

fn named_broker(name_server: &str) -> (String, TcpStream) {
    let fields = json!({ "topic": "TBW102", "acceptStandardJsonOnly": "true" });
    let route = ask(&mut connect(name_server), 105, &fields, b"");
    let route: Value = serde_json::from_slice(&route).unwrap();
    let broker = &route["brokerDatas"][0];
    let name = broker["brokerName"].as_str().unwrap().to_owned();
    (name, connect(broker["brokerAddrs"]["0"].as_str().unwrap()))
}

fn connect(address: &str) -> TcpStream {
    TcpStream::connect(address).unwrap()
}

fn ask(stream: &mut TcpStream, code: i32, fields: &Value, body: &[u8]) -> Vec<u8> {
    answer(stream, code, fields, body).1
}

/// The answer's header and body, where it is no error.
fn answer(stream: &mut TcpStream, code: i32, fields: &Value, body: &[u8]) -> (Value, Vec<u8>) {
    let (header, body) = exchange(stream, code, fields, body);
    assert_eq!(header["code"], 0, "{header}");
    (header, body)
}

fn exchange(stream: &mut TcpStream, code: i32, fields: &Value, body: &[u8]) -> (Value, Vec<u8>) {
    let header = json!({
        "code": code, "language": "JAVA", "version": 493, "opaque": 0, "flag": 0,
        "serializeTypeCurrentRPC": "JSON", "extFields": fields,
    });
    stream.write_all(&frame(&header, body)).unwrap();
    let (mut header, mut body) = read(stream);
    // A broker tells its members of each other, also before it answers.
    while header["flag"].as_u64().unwrap() & 1 == 0 {
        (header, body) = read(stream);
    }
    (header, body)
}

fn frame(header: &Value, body: &[u8]) -> Vec<u8> {
    let header = header.to_string().into_bytes();
    let bytes = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    [&bytes(4 + header.len() + body.len())[..], &bytes(header.len()), &header, body].concat()
}

fn read(stream: &mut TcpStream) -> (Value, Vec<u8>) {
    try_read(stream).expect("the server closed the connection")
}

fn try_read(stream: &mut TcpStream) -> Option<(Value, Vec<u8>)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    let header = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize & 0x00FF_FFFF;
    let body = frame.split_off(4 + header);
    Some((serde_json::from_slice(&frame[4..]).unwrap(), body))
}
