//! Questions to a broker that no client of this crate asks.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_protocol::common::message::message_decoder::decodes_batch;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::EmbeddedError;
use super::remoting::{Connection, Request, Response};
use idem_rocketmq_client as client;

/// `RequestCode` of Apache RocketMQ.
mod code {
    pub(super) const PULL_MESSAGE: i32 = 11;
    pub(super) const QUERY_CONSUMER_OFFSET: i32 = 14;
    pub(super) const UPDATE_AND_CREATE_TOPIC: i32 = 17;
    pub(super) const GET_BROKER_RUNTIME_INFO: i32 = 28;
    pub(super) const GET_MAX_OFFSET: i32 = 30;
    pub(super) const GET_MIN_OFFSET: i32 = 31;
    pub(super) const GET_ROUTE_BY_TOPIC: i32 = 105;
    #[cfg(test)]
    pub(super) const DELETE_TOPIC_IN_NAMESRV: i32 = 216;
    pub(super) const GET_TOPIC_CONFIG: i32 = 351;
}

const SUCCESS: i64 = 0;
const TOPIC_NOT_EXIST: i64 = 17;

/// A message as the broker has it. `Debug` shows neither its body nor the values of its properties.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMessage {
    /// The topic that it is stored in.
    pub topic: String,
    /// The queue within the topic.
    pub queue_id: i32,
    /// The place within the queue.
    pub offset: i64,
    /// How often it was delivered before.
    pub reconsume_times: i32,
    /// The id of this copy.
    pub message_id: String,
    /// Everything that producer, idem and brokers wrote beside the body, with TAGS and KEYS.
    pub properties: BTreeMap<String, String>,
    /// The payload, without compression; as the broker has it where it does not decompress.
    pub body: Bytes,
}

impl fmt::Debug for StoredMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredMessage")
            .field("topic", &self.topic)
            .field("queue_id", &self.queue_id)
            .field("offset", &self.offset)
            .field("reconsume_times", &self.reconsume_times)
            .field("message_id", &self.message_id)
            .field("properties", &self.properties.keys())
            .field("body_len", &self.body.len())
            .finish()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Admin {
    name_server: String,
    broker: String,
}

impl Admin {
    pub(super) fn new(name_server: String, broker: String) -> Self {
        Self { name_server, broker }
    }

    /// The name server's only broker: the one that has the topic from which others are made.
    pub(super) async fn find(name_server: String) -> Result<Self, EmbeddedError> {
        let route = route(&name_server, "TBW102").await?;
        let broker = route["brokerDatas"][0]["brokerAddrs"]["0"].as_str().map(str::to_owned);
        let unknown = || EmbeddedError::Connection(format!("{name_server} knows no broker: {route}"));
        let broker = broker.ok_or_else(unknown)?;
        Ok(Self { name_server, broker })
    }

    pub(super) fn name_server(&self) -> &str {
        &self.name_server
    }

    pub(super) async fn create_topic(&self, name: &str, queues: u32) -> Result<(), EmbeddedError> {
        /// Clients keep a value for each queue of a topic.
        const MOST_QUEUES: u32 = 1_024;
        if !(1..=MOST_QUEUES).contains(&queues) {
            let remark = format!("a topic has 1 to {MOST_QUEUES} queues here, and not {queues}");
            return Err(EmbeddedError::Refused { request: "create the topic", code: 1, remark });
        }
        let wanted = u64::from(queues);
        let queues = queues.to_string();
        let fields = json!({
            "topic": name, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues,
            "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
        });
        let answer = self.broker().await?.ask(code::UPDATE_AND_CREATE_TOPIC, fields).await?;
        accepted("create the topic", answer)?;
        for _ in 0..3_000 {
            let route = route(&self.name_server, name).await?;
            let mut brokers = route["queueDatas"].as_array().into_iter().flatten();
            if brokers.any(|queues| queues["readQueueNums"] == wanted) {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(EmbeddedError::Connection(format!(
            "the name server does not learn of topic {name} with {wanted} queues"
        )))
    }

    pub(super) async fn read_all(&self, topic: &str) -> Result<Vec<StoredMessage>, EmbeddedError> {
        let mut broker = self.broker().await?;
        broker.dispatched().await?;
        broker.read_queued(topic).await
    }

    pub(super) async fn read_queued(&self, topic: &str) -> Result<Vec<StoredMessage>, EmbeddedError> {
        self.broker().await?.read_queued(topic).await
    }

    pub(super) async fn backlog(&self, group: &str, topic: &str) -> Result<u64, EmbeddedError> {
        let mut broker = self.broker().await?;
        let mut backlog = 0;
        for queue in 0..broker.queues(topic).await? {
            let queue = json!({ "consumerGroup": group, "topic": topic, "queueId": queue.to_string() });
            let end = broker.offset(code::GET_MAX_OFFSET, queue.clone()).await?.unwrap_or(0);
            let acked = match broker.offset(code::QUERY_CONSUMER_OFFSET, queue.clone()).await? {
                Some(acked) if acked >= 0 => acked,
                _ => broker.offset(code::GET_MIN_OFFSET, queue).await?.unwrap_or(0),
            };
            backlog += u64::try_from(end - acked).unwrap_or(0);
        }
        Ok(backlog)
    }

    /// The name server knows the topic no more, until the broker registers it again, which it does every 30 s.
    #[cfg(test)]
    pub(super) async fn forget(&self, topic: &str) -> Result<(), EmbeddedError> {
        let request = Request {
            code: code::DELETE_TOPIC_IN_NAMESRV,
            fields: json!({ "topic": topic }),
            body: Vec::new(),
        };
        accepted("forget the topic", Connection::open(&self.name_server).await?.ask(request).await?)
    }

    async fn broker(&self) -> Result<Broker<'_>, EmbeddedError> {
        Ok(Broker { address: &self.broker, connection: Connection::open(&self.broker).await? })
    }
}

/// A connection to the broker, for the questions of one call.
struct Broker<'a> {
    address: &'a str,
    connection: Connection,
}

impl Broker<'_> {
    /// Waits until what was stored before this call is in its queues: a broker puts it there a moment after it has confirmed
    /// it (`ReputMessageService` in Apache's sources).
    async fn dispatched(&mut self) -> Result<(), EmbeddedError> {
        let mut stored = None;
        for _ in 0..500 {
            // Some tens of milliseconds of a broker in Java, which goes through all slots of its timer for the answer.
            let info = self.ask(code::GET_BROKER_RUNTIME_INFO, json!({})).await?;
            if info.code != SUCCESS {
                return accepted("tell of itself", info);
            }
            let info: Value = serde_json::from_slice(&info.body).unwrap_or_default();
            let number = |name| info["table"][name].as_str().and_then(|number| number.parse::<u64>().ok());
            let (end, behind) = (number("commitLogMaxOffset"), number("dispatchBehindBytes"));
            if let (Some(end), Some(behind)) = (end, behind)
                && end.saturating_sub(behind) >= *stored.get_or_insert(end)
            {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        let late = "has not put all that it stored into queues within 10 s: look whether it is overloaded or its disk is full";
        Err(EmbeddedError::Connection(format!("the broker {} {late}", self.address)))
    }

    async fn offset(&mut self, code: i32, fields: Value) -> Result<Option<i64>, EmbeddedError> {
        let answer = self.ask(code, fields).await?;
        Ok(answer.fields["offset"].as_str().and_then(|offset| offset.parse().ok()))
    }

    async fn read_queued(&mut self, topic: &str) -> Result<Vec<StoredMessage>, EmbeddedError> {
        let mut messages = Vec::new();
        for queue in 0..self.queues(topic).await? {
            self.read_queue(topic, queue, &mut messages).await?;
        }
        Ok(messages)
    }

    async fn read_queue(
        &mut self,
        topic: &str,
        queue: u64,
        messages: &mut Vec<StoredMessage>,
    ) -> Result<(), EmbeddedError> {
        let mut next = 0_i64;
        loop {
            // The flag 4 says that the request brings its own subscription.
            let fields = json!({
                "consumerGroup": "idem_embedded_reader", "topic": topic, "queueId": queue.to_string(),
                "queueOffset": next.to_string(), "maxMsgNums": "32", "sysFlag": "4", "commitOffset": "0",
                "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "0", "expressionType": "TAG",
            });
            let answer = self.ask(code::PULL_MESSAGE, fields).await?;
            let begin = answer.fields["nextBeginOffset"].as_str().and_then(|begin| begin.parse().ok());
            let batch = decodes_batch(&mut Bytes::from(answer.body), true, false);
            messages.extend(batch.iter().map(StoredMessage::of));
            match begin {
                Some(begin) if begin > next => next = begin,
                _ => return Ok(()),
            }
        }
    }

    /// The topic's number of queues; 0 if there is none. The name server hears of a topic that the broker makes for a
    /// message, as it does for dead letters, after the message is confirmed.
    async fn queues(&mut self, topic: &str) -> Result<u64, EmbeddedError> {
        let answer = self.ask(code::GET_TOPIC_CONFIG, json!({ "topic": topic })).await?;
        if answer.code == TOPIC_NOT_EXIST {
            return Ok(0);
        }
        let config: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        accepted("tell of the topic", answer)?;
        let queues = |name| config[name].as_u64().unwrap_or(0);
        Ok(queues("readQueueNums").max(queues("writeQueueNums")))
    }

    async fn ask(&mut self, code: i32, fields: Value) -> Result<Response, EmbeddedError> {
        self.connection.ask(Request { code, fields, body: Vec::new() }).await
    }
}

/// Null where the name server does not know the topic.
async fn route(name_server: &str, topic: &str) -> Result<Value, EmbeddedError> {
    let mut connection = Connection::open(name_server).await?;
    // Without the word, a broker's number is written as a bare key, which is no JSON.
    let fields = json!({ "topic": topic, "acceptStandardJsonOnly": "true" });
    let answer = connection.ask(Request { code: code::GET_ROUTE_BY_TOPIC, fields, body: Vec::new() }).await?;
    Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
}

fn accepted(request: &'static str, answer: Response) -> Result<(), EmbeddedError> {
    match answer.code {
        SUCCESS => Ok(()),
        code => Err(EmbeddedError::Refused { request, code, remark: answer.remark }),
    }
}

impl StoredMessage {
    fn of(message: &MessageExt) -> Self {
        let properties = message.properties().iter();
        Self {
            topic: message.topic().to_string(),
            queue_id: message.queue_id(),
            offset: message.queue_offset(),
            reconsume_times: message.reconsume_times(),
            message_id: message.msg_id().to_string(),
            properties: properties.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            body: client::stored_body(message),
        }
    }

    /// A property's value.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }
}
