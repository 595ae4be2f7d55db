//! Whether the name servers can be reached, and what they know: the client itself starts without one and says
//! nothing.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::Value;

use super::wire::{Connection, Response, SUCCESS};
use crate::error::{ClientError, ServerKind};
use crate::tls::LoadedTls;

const GET_ROUTE_BY_TOPIC: i32 = 105;
const GET_BROKER_CLUSTER: i32 = 106;

/// The topic that new ones are made after.
const DEFAULT_TOPIC: &str = "TBW102";

/// Brokers by their address.
pub(crate) type Brokers = BTreeMap<String, Broker>;

/// A broker, with the topics that it has and the number of queues to read of each, which is 0 if the topic does not exist yet.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(super) name: String,
    pub(super) topics: Vec<(String, u64)>,
}

impl Broker {
    pub(super) fn queues(&self, topic: &str) -> u64 {
        self.topics.iter().find(|(name, _)| name == topic).map_or(0, |(_, queues)| *queues)
    }
}

/// The brokers that were asked.
pub(super) struct AskedBrokers<'a> {
    /// Those that let the group in.
    pub(super) there: Vec<(&'a Broker, Connection<'a>)>,
    /// Those that did not answer.
    pub(super) away: Vec<(&'a Broker, ClientError)>,
}

/// A broker's name and address, with a topic's number of queues there.
type RoutedBroker = (String, String, u64);

/// Asks all addresses at once. One that answers is enough, as the client needs only one; each other is a warning.
pub(crate) async fn check(
    addresses: &[String],
    tls: Option<&LoadedTls>,
    topics: &[String],
) -> Result<Brokers, ClientError> {
    let answers = join_all(addresses.iter().map(|address| ask(address, tls, topics))).await;
    let (reached, mut missed): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let Some(brokers) = reached.into_iter().find_map(Result::ok) else {
        return Err(missed.pop().and_then(Result::err).unwrap_or(ClientError::NoNameServer));
    };
    for error in missed.into_iter().filter_map(Result::err) {
        tracing::warn!(%error, "a name server cannot be used; going on with the others");
    }
    Ok(brokers)
}

/// The brokers of a topic that does not exist yet are those that may make it, or else any.
async fn ask(address: &str, tls: Option<&LoadedTls>, topics: &[String]) -> Result<Brokers, ClientError> {
    let mut connection = Connection::open(ServerKind::Name, address, tls, None).await?;
    let mut brokers = Brokers::new();
    if topics.is_empty() {
        // Still it is to be a name server, and none that is too old.
        route(&mut connection, address, DEFAULT_TOPIC).await?;
    }
    for topic in topics {
        let mut known = route(&mut connection, address, topic).await?;
        if known.is_empty() {
            let makers = route(&mut connection, address, DEFAULT_TOPIC).await?;
            known = makers.into_iter().map(|(name, broker, _)| (name, broker, 0)).collect();
        }
        if known.is_empty() {
            known = cluster(&mut connection, address).await?.into_iter().take(1).collect();
        }
        for (name, broker, queues) in known {
            let broker = brokers.entry(broker).or_insert_with(|| Broker { name, topics: Vec::new() });
            broker.topics.push((topic.clone(), queues));
        }
    }
    Ok(brokers)
}

/// The brokers of a topic, with their queues.
async fn route(
    connection: &mut Connection<'_>,
    address: &str,
    topic: &str,
) -> Result<Vec<RoutedBroker>, ClientError> {
    let fields = [("topic", topic), ("acceptStandardJsonOnly", "true")];
    let answer = connection.ask(GET_ROUTE_BY_TOPIC, &fields, &[]).await?;
    let route = body(address, &answer)?;
    let queues = |broker: &Value| {
        let mut all = route["queueDatas"].as_array().into_iter().flatten();
        let of_broker = all.find(|queues| queues["brokerName"] == broker["brokerName"]);
        of_broker.and_then(|queues| queues["readQueueNums"].as_u64()).unwrap_or(0)
    };
    let brokers = route["brokerDatas"].as_array().into_iter().flatten();
    Ok(brokers.filter_map(|broker| Some((name(broker), master(broker)?, queues(broker)))).collect())
}

async fn cluster(connection: &mut Connection<'_>, address: &str) -> Result<Vec<RoutedBroker>, ClientError> {
    let answer = connection.ask(GET_BROKER_CLUSTER, &[], &[]).await?;
    let cluster = body(address, &answer)?;
    Ok(cluster["brokerAddrTable"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, broker)| Some((name(broker), master(broker)?, 0)))
        .collect())
}

fn name(broker: &Value) -> String {
    broker["brokerName"].as_str().unwrap_or_default().to_owned()
}

/// The address of the master, or of the first slave if there is no master.
fn master(broker: &Value) -> Option<String> {
    let addresses = broker["brokerAddrs"].as_object()?;
    let first = addresses.iter().min_by_key(|(id, _)| id.parse::<u64>().unwrap_or(u64::MAX))?;
    first.1.as_str().map(str::to_owned)
}

/// An answer's body. Name servers before 5.0.0 leave out a field of each broker that the client insists on.
fn body(address: &str, answer: &Response) -> Result<Value, ClientError> {
    if answer.code != SUCCESS || answer.body.is_empty() {
        return Ok(Value::Null);
    }
    let text = String::from_utf8_lossy(&answer.body);
    if text.contains("brokerAddrs") && !text.contains("enableActingMaster") {
        return Err(ClientError::NameServerTooOld { address: address.to_owned() });
    }
    Ok(serde_json::from_str(&quote_numbers(&text)).unwrap_or_default())
}

/// Java's name server writes the ids of brokers as names without quotes: `{0:"10.0.0.1:10911"}`.
fn quote_numbers(json: &str) -> String {
    let (mut quoted, mut number) = (String::with_capacity(json.len() + 16), String::new());
    let (mut in_text, mut escaped, mut before) = (false, false, ' ');
    for c in json.chars() {
        if !in_text && c.is_ascii_digit() && (matches!(before, '{' | ',') || !number.is_empty()) {
            number.push(c);
            continue;
        }
        if !number.is_empty() {
            let quote = if c == ':' { "\"" } else { "" };
            quoted.extend([quote, &number, quote]);
            number.clear();
        }
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = in_text,
            '"' => in_text = !in_text,
            _ => {}
        }
        if !c.is_whitespace() {
            before = c;
        }
        quoted.push(c);
    }
    quoted + &number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_name_server_is_told_although_no_topic_is_asked_for() {
        use tokio::io::AsyncWriteExt as _;
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        let error = check(std::slice::from_ref(&address), None, &[]).await.unwrap_err();
        assert!(error.to_string().contains(&address), "{error}");
    }

    #[test]
    fn javas_names_without_quotes_are_read() {
        let route = r#"{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:10911",1:"x,2:"},"n":[1,22]}]}"#;
        let read: Value = serde_json::from_str(&quote_numbers(route)).unwrap();
        assert_eq!(master(&read["brokerDatas"][0]).unwrap(), "127.0.0.1:10911");
        assert_eq!(read["brokerDatas"][0]["n"][1], 22);
        assert_eq!(read["brokerDatas"][0]["brokerAddrs"]["1"], "x,2:");
    }
}
