//! Where a group begins in a topic that is new to it.
//!
//! The client decides for each queue by itself, when the queue is given to it: a queue that it finds no offset of begins at
//! the first message, the last one or a time, whatever the group has done in the topic's other queues. Told to begin at the
//! last one, it would skip what came to a queue while nobody looked: a queue that the topic was given later, one of a new
//! broker, one that had been empty. So here it is always told to begin at the first message, and for a group that is new to
//! the whole topic an offset of each queue is stored before the client starts. A queue that has none later is then one that
//! is new to a known group.
//!
//! The offsets are asked from the brokers also because a broker that still has a queue's first message in memory answers a
//! group it does not know with 0 (`ConsumerManageProcessor` of Apache's broker).

use std::time::Duration;

use tokio::time::sleep;

use super::offsets::Offsets;
use super::reach::AskedBrokers;
use super::wire::{Connection, QUERY_CONSUMER_OFFSET, Response, SUCCESS};
use crate::error::ClientError;
use crate::settings::{ClientSettings, ConsumeFrom, millis};

const UPDATE_CONSUMER_OFFSET: i32 = 15;
const SEARCH_OFFSET_BY_TIMESTAMP: i32 = 29;
const GET_MAX_OFFSET: i32 = 30;

const QUERY_NOT_FOUND: i64 = 22;

/// Another member of a new group may be storing its offsets at this moment; it takes milliseconds for a queue.
const A_MOMENT: Duration = Duration::from_millis(300);

/// Stores where the group begins in each of its topics that it has no offset in. In broadcasting each instance keeps its own
/// offsets, and `own` are those.
pub(super) async fn prepare(
    settings: &ClientSettings,
    asked: &mut AskedBrokers<'_>,
    mut own: Option<&mut Offsets>,
) -> Result<(), ClientError> {
    if settings.consume_from == ConsumeFrom::First {
        return Ok(());
    }
    let group = settings.full_group();
    for (topic, _) in &settings.subscriptions {
        let mut topic = TopicStart { settings, group: &group, name: settings.in_namespace(topic), asked };
        let is_known = match &own {
            Some(own) => own.know(&topic.name),
            None => topic.is_known().await?,
        };
        if !is_known {
            topic.is_there()?;
            topic.begin(own.as_deref_mut()).await?;
        }
    }
    Ok(())
}

struct TopicStart<'a, 'b> {
    settings: &'a ClientSettings,
    group: &'a str,
    /// With its namespace.
    name: String,
    asked: &'a mut AskedBrokers<'b>,
}

impl TopicStart<'_, '_> {
    /// Whether the group has an offset of any queue of the topic.
    async fn is_known(&mut self) -> Result<bool, ClientError> {
        let mut before = None;
        loop {
            let (known, all) = self.known().await?;
            if known == 0 || known == all || before == Some(known) {
                return Ok(known > 0);
            }
            before = Some(known);
            sleep(A_MOMENT).await;
        }
    }

    /// The number of queues that the group has an offset of, and of all.
    async fn known(&mut self) -> Result<(u64, u64), ClientError> {
        let (mut known, mut all) = (0, 0);
        for (broker, connection) in &mut self.asked.there {
            for queue in 0..broker.queues(&self.name) {
                let queue = queue.to_string();
                let fields = [
                    ("topic", &*self.name),
                    ("queueId", &queue),
                    ("consumerGroup", self.group),
                    ("setZeroIfNotFound", "false"),
                ];
                let answer = connection.ask(QUERY_CONSUMER_OFFSET, &fields, &[]).await?;
                all += 1;
                known += match answer.code {
                    QUERY_NOT_FOUND => 0,
                    SUCCESS => u64::from(number(&answer).is_some_and(|offset| offset >= 0)),
                    _ => return Err(refused(self.settings, &self.name, connection, &answer)),
                };
            }
        }
        Ok((known, all))
    }

    /// A new group is not to begin anywhere on a broker that comes back later.
    fn is_there(&mut self) -> Result<(), ClientError> {
        let away = self.asked.away.iter().position(|(broker, _)| broker.queues(&self.name) > 0);
        away.map_or(Ok(()), |place| Err(self.asked.away.swap_remove(place).1))
    }

    /// Stores an offset for each queue.
    async fn begin(&mut self, mut own: Option<&mut Offsets>) -> Result<(), ClientError> {
        for (broker, connection) in &mut self.asked.there {
            for queue in 0..broker.queues(&self.name) {
                let id = queue.to_string();
                let mut queue =
                    QueueStart { settings: self.settings, topic: &self.name, id: &id, connection };
                let offset = queue.wanted().await?;
                match &mut own {
                    Some(own) => own.begin(&self.name, &broker.name, &id, offset),
                    None => queue.store(self.group, offset).await?,
                }
            }
        }
        Ok(())
    }
}

struct QueueStart<'a, 'b> {
    settings: &'a ClientSettings,
    topic: &'a str,
    id: &'a str,
    connection: &'a mut Connection<'b>,
}

impl QueueStart<'_, '_> {
    async fn wanted(&mut self) -> Result<i64, ClientError> {
        let ConsumeFrom::Timestamp(time) = self.settings.consume_from else {
            let answer = last(self.connection, self.topic, self.id).await?;
            return self.offset(&answer);
        };
        let millis = millis(time).to_string();
        let fields = [("topic", self.topic), ("queueId", self.id), ("timestamp", &*millis)];
        let answer = self.connection.ask(SEARCH_OFFSET_BY_TIMESTAMP, &fields, &[]).await?;
        self.offset(&answer)
    }

    fn offset(&self, answer: &Response) -> Result<i64, ClientError> {
        let offset = number(answer).filter(|_| answer.code == SUCCESS);
        offset.map(|offset| offset.max(0)).ok_or_else(|| self.refused(answer))
    }

    /// The broker has made the group, when it was asked for messages: of one that it has never seen it stores nothing.
    async fn store(&mut self, group: &str, offset: i64) -> Result<(), ClientError> {
        let offset = offset.to_string();
        let fields = [
            ("topic", self.topic),
            ("queueId", self.id),
            ("consumerGroup", group),
            ("commitOffset", &*offset),
        ];
        let answer = self.connection.ask(UPDATE_CONSUMER_OFFSET, &fields, &[]).await?;
        if answer.code == SUCCESS { Ok(()) } else { Err(self.refused(&answer)) }
    }

    fn refused(&self, answer: &Response) -> ClientError {
        refused(self.settings, self.topic, self.connection, answer)
    }
}

/// Asks for the offset that the next message of the queue will have.
pub(super) async fn last(
    connection: &mut Connection<'_>,
    topic: &str,
    queue: &str,
) -> Result<Response, ClientError> {
    connection.ask(GET_MAX_OFFSET, &[("topic", topic), ("queueId", queue)], &[]).await
}

pub(super) fn number(answer: &Response) -> Option<i64> {
    let offset = &answer.fields["offset"];
    offset.as_i64().or_else(|| offset.as_str()?.parse().ok())
}

fn refused(
    settings: &ClientSettings,
    topic: &str,
    connection: &Connection<'_>,
    answer: &Response,
) -> ClientError {
    ClientError::Beginning {
        group: settings.group.clone(),
        topic: topic.to_owned(),
        address: connection.address().to_owned(),
        code: answer.code,
        cause: answer.reason().to_owned(),
    }
}
