//! Whether some members of the group consume in order and others do not.
//!
//! From 5.1.1 on a broker takes a retry for a dead letter while any queue of its group is locked, as queues are that are
//! consumed in order (`isLockAllExpired` in `SendMessageProcessor` of Apache's broker). What a member fails that consumes in
//! any order would have no second attempt. The lock of a member that was killed outlives it by a minute.
//!
//! So a start refuses to join members that consume the other way, waits for the locks of those that are gone, and looks
//! again regularly, because others may not look at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use idem_core::panics::tireless;
use rocketmq_client_rust::AclClientRPCHook;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::reach::Broker;
use super::wire::{Connection, GET_CONSUMER_LIST_BY_GROUP, Response, SUCCESS};
use crate::credentials::Credentials;
use crate::error::{ClientError, ServerKind};
use crate::settings::{ClientSettings, Mode};
use crate::tls::LoadedTls;

const LOCK_BATCH_MQ: i32 = 41;
const UNLOCK_BATCH_MQ: i32 = 42;
const GET_CONSUMER_RUNNING_INFO: i32 = 307;

/// A lock ends a minute after it was last renewed.
const LONGEST_LOCK: Duration = Duration::from_secs(70);
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// A member that joins without looking is seen after at most so long.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

/// Members are alike, so that one that answers is enough; a client that hangs does not.
const ASKED: usize = 8;

/// How the members of a group take their messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConsumeOrder {
    Kept,
    Free,
}

impl ConsumeOrder {
    /// None in broadcasting, where nothing is locked and nothing sent again.
    fn of(mode: Mode) -> Option<Self> {
        match mode {
            Mode::Orderly => Some(Self::Kept),
            Mode::Concurrent => Some(Self::Free),
            Mode::Broadcast => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "in order",
            Self::Free => "in any order",
        }
    }
}

/// The client ids of an answer to [`GET_CONSUMER_LIST_BY_GROUP`].
pub(super) fn ids(listed: &Response) -> Vec<String> {
    let listed: Value = serde_json::from_slice(&listed.body).unwrap_or_default();
    let ids = listed["consumerIdList"].as_array().into_iter().flatten();
    ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Refuses to join live members that consume the other way. The connection is one for this alone: a member that is asked
/// may answer too late.
pub(super) async fn check(
    settings: &ClientSettings,
    connection: Result<Connection<'_>, ClientError>,
    members: &[String],
) -> Result<(), ClientError> {
    let Some(ours) = ConsumeOrder::of(settings.mode) else { return Ok(()) };
    match theirs(&settings.full_group(), connection, members.iter().take(ASKED)).await {
        Some(theirs) if theirs != ours => Err(ClientError::Order {
            group: settings.group.clone(),
            members: members.len(),
            theirs: theirs.as_str(),
            ours: ours.as_str(),
        }),
        _ => Ok(()),
    }
}

/// Returns the order of the first member that answers. With access control the question takes the action Get on the group.
async fn theirs(
    group: &str,
    connection: Result<Connection<'_>, ClientError>,
    members: impl Iterator<Item = &String>,
) -> Option<ConsumeOrder> {
    let mut connection = connection.ok()?;
    for member in members {
        let fields = [("consumerGroup", group), ("clientId", member), ("jstackEnable", "false")];
        match connection.ask(GET_CONSUMER_RUNNING_INFO, &fields, &[]).await {
            Ok(answer) if answer.code == SUCCESS => match said(&answer.body) {
                None => {}
                order => return order,
            },
            Ok(answer) => {
                let (code, cause) = (answer.code, answer.reason());
                tracing::debug!(
                    group,
                    member,
                    code,
                    cause,
                    "a member does not tell whether it consumes in order"
                );
            }
            Err(error) => {
                tracing::debug!(group, member, %error, "a member does not tell whether it consumes in order");
                return None;
            }
        }
    }
    None
}

/// Out of a `ConsumerRunningInfo`, which is no JSON: Java writes objects as keys.
fn said(info: &[u8]) -> Option<ConsumeOrder> {
    let info = String::from_utf8_lossy(info);
    let (_, value) = info.split_once("\"PROP_CONSUMEORDERLY\"")?;
    let value = value.trim_start_matches([':', ' ', '"']);
    if value.starts_with("true") {
        Some(ConsumeOrder::Kept)
    } else {
        value.starts_with("false").then_some(ConsumeOrder::Free)
    }
}

/// Waits until no queue is locked by a member that is gone.
///
/// A broker tells of a lock only to a client that asks for the lock, so that each queue is locked for a moment: in a group
/// without members, where nobody sends a retry meanwhile. All starts ask by one name and so do not keep each other out.
pub(super) async fn until_unlocked(
    settings: &ClientSettings,
    broker: &Broker,
    connection: &mut Connection<'_>,
) -> Result<(), ClientError> {
    if settings.mode != Mode::Concurrent {
        return Ok(());
    }
    let group = settings.full_group();
    let queue =
        |topic: &str, queue: u64| json!({ "topic": topic, "brokerName": broker.name, "queueId": queue });
    let mut queues = vec![queue(&format!("%RETRY%{group}"), 0)];
    for (topic, count) in &broker.topics {
        queues.extend((0..*count).map(|id| queue(topic, id)));
    }
    let begun = Instant::now();
    let mut waits = false;
    while !are_free(connection, &group, &queues).await? {
        let address = connection.address();
        if begun.elapsed() > LONGEST_LOCK {
            return Err(ClientError::Locked { group: settings.group.clone(), address: address.to_owned() });
        }
        if !waits {
            waits = true;
            tracing::warn!(
                group,
                address,
                "queues are locked for a member of the group that consumed in order and is gone; until the locks end, in a minute \
                 at most, the broker would make a dead letter of each message that is to be tried again, so the start waits"
            );
        }
        sleep(BETWEEN_TRIES).await;
    }
    Ok(())
}

/// Also where the broker does not tell.
async fn are_free(
    connection: &mut Connection<'_>,
    group: &str,
    queues: &[Value],
) -> Result<bool, ClientError> {
    let body = json!({
        "consumerGroup": group, "clientId": "idem", "onlyThisBroker": true, "mqSet": queues,
    });
    let body = body.to_string().into_bytes();
    let answer = connection.ask(LOCK_BATCH_MQ, &[], &body).await?;
    if answer.code != SUCCESS {
        let (code, cause) = (answer.code, answer.reason());
        tracing::debug!(group, code, cause, "the broker does not tell whether queues are locked");
        return Ok(true);
    }
    let locked: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let taken = locked["lockOKMQSet"].as_array().map_or(0, Vec::len);
    connection.ask(UNLOCK_BATCH_MQ, &[], &body).await?;
    Ok(taken == queues.len())
}

/// Whether members that consume in order have been seen beside this one, which does not: the broker is then not to be sent
/// retries as messages.
pub(crate) type OrderConflict = Arc<AtomicBool>;

/// Looks regularly, with connections of its own. Must be called on the client's runtime.
pub(crate) fn watch(
    settings: &ClientSettings,
    tls: Option<Arc<LoadedTls>>,
    brokers: Vec<String>,
    conflict: OrderConflict,
) -> Option<JoinHandle<()>> {
    let ours = ConsumeOrder::of(settings.mode)?;
    let signer = settings.cluster.credentials.as_ref().map(Credentials::hook);
    let watch = MemberWatch { group: settings.full_group(), tls, signer, brokers, known: HashMap::new() };
    let watch = Arc::new(Mutex::new(watch));
    Some(tokio::spawn(tireless("members", move || {
        let (watch, conflict) = (Arc::clone(&watch), Arc::clone(&conflict));
        async move { watch.lock().await.go_on(ours, &conflict).await }
    })))
}

struct MemberWatch {
    group: String,
    tls: Option<Arc<LoadedTls>>,
    signer: Option<AclClientRPCHook>,
    brokers: Vec<String>,
    /// The order of each live member, or how often it has not told. A member is asked when it is new, because every member asks.
    known: HashMap<String, Result<ConsumeOrder, u8>>,
}

impl MemberWatch {
    const TRIES: u8 = 3;

    async fn go_on(&mut self, ours: ConsumeOrder, conflict: &AtomicBool) {
        let mut seen: Option<Instant> = None;
        loop {
            sleep(BETWEEN_LOOKS).await;
            let is_mixed = self.orders().await.iter().any(|theirs| *theirs != ours);
            if is_mixed && seen.is_none() {
                tracing::error!(
                    group = self.group,
                    ours = ours.as_str(),
                    "members of the group consume in order and others do not: brokers take retries of such a group for dead letters; \
                     stop one kind, or give it a group of its own. Retries of this member are sent back by delay level meanwhile"
                );
            }
            // A lock outlives its member.
            seen = if is_mixed {
                Some(Instant::now())
            } else {
                seen.filter(|seen| seen.elapsed() < LONGEST_LOCK)
            };
            conflict.store(seen.is_some(), Ordering::Release);
        }
    }

    /// Of the live members that tell.
    async fn orders(&mut self) -> Vec<ConsumeOrder> {
        let mut live = HashMap::new();
        for address in &self.brokers {
            let open =
                || Connection::open(ServerKind::Broker, address, self.tls.as_deref(), self.signer.as_ref());
            let Ok(mut connection) = open().await else { continue };
            let fields = [("consumerGroup", &*self.group)];
            let Ok(listed) = connection.ask(GET_CONSUMER_LIST_BY_GROUP, &fields, &[]).await else { continue };
            for member in ids(&listed) {
                let known = live.get(&member).or_else(|| self.known.get(&member)).copied();
                let known = match known.unwrap_or(Err(0)) {
                    Err(tries) if tries < Self::TRIES => {
                        let theirs = theirs(&self.group, open().await, std::iter::once(&member)).await;
                        theirs.ok_or(tries + 1)
                    }
                    known => known,
                };
                live.insert(member, known);
            }
        }
        self.known = live;
        self.known.values().filter_map(|known| known.ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_java_writes_is_read_although_it_is_no_json() {
        let info = |orderly: &str| {
            format!(
                r#"{{"mqTable":{{{{"brokerName":"b","queueId":0,"topic":"t"}}:{{"locked":true}}}},"properties":{{"PROP_CONSUMEORDERLY":"{orderly}"}}}}"#
            )
        };
        assert_eq!(said(info("true").as_bytes()), Some(ConsumeOrder::Kept));
        assert_eq!(said(info("false").as_bytes()), Some(ConsumeOrder::Free));
        assert_eq!(said(info("").as_bytes()), None);
        assert_eq!(said(b"{}"), None);
    }
}
