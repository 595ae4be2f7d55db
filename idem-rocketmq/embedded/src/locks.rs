//! Makes the embedded broker accept retries that are ordinary messages.
//!
//! Apache's broker moves a message for `%RETRY%group` to the dead-letter queue when the group holds a queue lock,
//! as only ordered consumers do. The broker embedded here asks the question the wrong way round: it moves every
//! retry of a group that holds *no* lock. So each group gets a lock on a queue that does not exist.

use std::collections::HashMap;
use std::time::Duration;

use idem_core::panics::loud;
use idem_rocketmq_client::{Adoption, keep_locks};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use super::EmbeddedError;
use super::remoting::{Connection, Request};

const GET_ALL_SUBSCRIPTION_GROUPS: i32 = 201;
const LOCK_BATCH_MQ: i32 = 41;

/// How often new groups of other processes are looked for.
const LOOK: Duration = Duration::from_millis(200);

/// A lock ends after 60 s.
const RENEW: Duration = Duration::from_secs(20);

/// Keeps the locks of all groups until the runtime that this is called on ends.
pub(super) async fn keep(name_server: String, broker: String) -> Result<(), EmbeddedError> {
    let keeper = LockKeeper { connection: Connection::open(&broker).await?, locked: HashMap::new() };
    tokio::spawn(loud("embedded", keeper.run(keep_locks(name_server)), || {}));
    Ok(())
}

struct LockKeeper {
    connection: Connection,
    locked: HashMap<String, Instant>,
}

impl LockKeeper {
    async fn run(mut self, mut adoptions: mpsc::UnboundedReceiver<Adoption>) {
        let mut look = interval(LOOK);
        loop {
            let alive = tokio::select! {
                Some((group, done)) = adoptions.recv() => {
                    let locked = self.lock(group).await;
                    let _ = done.send(());
                    locked
                }
                _ = look.tick() => self.lock_all().await,
            };
            if alive.is_err() {
                return;
            }
        }
    }

    async fn lock_all(&mut self) -> Result<(), EmbeddedError> {
        let request = Request { code: GET_ALL_SUBSCRIPTION_GROUPS, fields: json!({}), body: Vec::new() };
        let answer = self.connection.ask(request).await?;
        let groups: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let known = groups["subscriptionGroupTable"].as_object().into_iter().flat_map(|groups| groups.keys());
        let groups: Vec<_> = known.chain(self.locked.keys()).cloned().collect();
        for group in groups {
            if self.locked.get(&group).is_none_or(|since| since.elapsed() > RENEW) {
                self.lock(group).await?;
            }
        }
        Ok(())
    }

    async fn lock(&mut self, group: String) -> Result<(), EmbeddedError> {
        let queue = json!({ "topic": "idem_no_such_topic", "brokerName": "embedded", "queueId": 0 });
        let body = json!({
            "consumerGroup": group, "clientId": "idem-embedded", "onlyThisBroker": true, "mqSet": [queue],
        });
        let body = body.to_string().into_bytes();
        self.connection.ask(Request { code: LOCK_BATCH_MQ, fields: json!({}), body }).await?;
        self.locked.insert(group, Instant::now());
        Ok(())
    }
}
