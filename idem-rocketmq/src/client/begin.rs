//! Where a group begins that has no offset yet.
//!
//! The client asks the broker for the group's offset before it applies its own rule, and a broker that still has the
//! queue's first message in memory answers a group it does not know with 0 (`ConsumerManageProcessor` of Apache's broker):
//! on a quiet topic the last offset and a time would mean the first. So the offsets are stored before the client starts.

use std::time::UNIX_EPOCH;

use super::access::{QUERY_CONSUMER_OFFSET, SUCCESS};
use super::wire::{Answer, Connection};
use super::{ClientError, ConsumeFrom};

const PULL_MESSAGE: i32 = 11;
const UPDATE_CONSUMER_OFFSET: i32 = 15;
const SEARCH_OFFSET_BY_TIMESTAMP: i32 = 29;
const GET_MAX_OFFSET: i32 = 30;

const QUERY_NOT_FOUND: i64 = 22;

/// Stores an offset for each queue that the group has none of.
pub(super) async fn at(
    from: ConsumeFrom,
    connection: &mut Connection<'_>,
    group: &str,
    topic: &str,
    queues: u64,
) -> Result<(), ClientError> {
    if from == ConsumeFrom::First {
        return Ok(());
    }
    for queue in 0..queues {
        let queue = queue.to_string();
        let of_group = [("topic", topic), ("queueId", &*queue), ("consumerGroup", group)];
        if !is_known(connection, &of_group).await?
            && let Some(last) = last(connection, topic, &queue).await?
            && let Some(offset) = wanted(from, connection, topic, &queue, &last).await?
        {
            make_group(connection, &of_group, &last).await?;
            store(connection, &of_group, &offset).await?;
        }
    }
    Ok(())
}

type Fields<'a> = [(&'a str, &'a str)];

async fn is_known(connection: &mut Connection<'_>, of_group: &Fields<'_>) -> Result<bool, ClientError> {
    let fields = [of_group, &[("setZeroIfNotFound", "false")]].concat();
    Ok(connection.ask(QUERY_CONSUMER_OFFSET, &fields, &[]).await?.code != QUERY_NOT_FOUND)
}

/// The offset that the next message of the queue will have.
async fn last(
    connection: &mut Connection<'_>,
    topic: &str,
    queue: &str,
) -> Result<Option<String>, ClientError> {
    let fields = [("topic", topic), ("queueId", queue)];
    Ok(offset(&connection.ask(GET_MAX_OFFSET, &fields, &[]).await?))
}

async fn wanted(
    from: ConsumeFrom,
    connection: &mut Connection<'_>,
    topic: &str,
    queue: &str,
    last: &str,
) -> Result<Option<String>, ClientError> {
    let ConsumeFrom::Timestamp(time) = from else { return Ok(Some(last.to_owned())) };
    let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
    let fields = [("topic", topic), ("queueId", queue), ("timestamp", &*millis)];
    Ok(offset(&connection.ask(SEARCH_OFFSET_BY_TIMESTAMP, &fields, &[]).await?))
}

/// A broker stores no offset for a group that it has never seen, and makes one when it is asked for messages. At the
/// queue's end there are none.
async fn make_group(
    connection: &mut Connection<'_>,
    of_group: &Fields<'_>,
    last: &str,
) -> Result<(), ClientError> {
    /// The subscription is in the request.
    const HAS_SUBSCRIPTION: &str = "4";
    let rest = [
        ("queueOffset", last),
        ("maxMsgNums", "1"),
        ("sysFlag", HAS_SUBSCRIPTION),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ];
    connection.ask(PULL_MESSAGE, &[of_group, &rest].concat(), &[]).await.map(drop)
}

async fn store(
    connection: &mut Connection<'_>,
    of_group: &Fields<'_>,
    offset: &str,
) -> Result<(), ClientError> {
    let fields = [of_group, &[("commitOffset", offset)]].concat();
    let answer = connection.ask(UPDATE_CONSUMER_OFFSET, &fields, &[]).await?;
    if answer.code != SUCCESS {
        let [(_, topic), _, (_, group)] = of_group else { return Ok(()) };
        tracing::warn!(
            group,
            topic,
            code = answer.code,
            "the broker did not store where the group is to begin; it may begin at the first message"
        );
    }
    Ok(())
}

fn offset(answer: &Answer) -> Option<String> {
    let offset = &answer.fields["offset"];
    offset.as_str().map(str::to_owned).or_else(|| offset.as_i64().map(|offset| offset.to_string()))
}
