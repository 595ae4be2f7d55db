//! Makes the embedded broker accept retries that are ordinary messages.
//!
//! Apache's broker moves a message for `%RETRY%group` to the dead-letter queue when the group holds a queue lock,
//! as only ordered consumers do. The broker embedded here asks the question the wrong way round: it moves every
//! retry of a group that holds *no* lock. So each group gets a lock on a queue that does not exist.

use std::collections::HashMap;
use std::time::Duration;

use idem_core::panics::loud;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval};

use super::EmbeddedError;
use super::remoting::{Connection, Request};

const GET_ALL_SUBSCRIPTION_GROUPS: i32 = 201;
const LOCK_BATCH_MQ: i32 = 41;

/// How often new groups of other processes are looked for.
const LOOK: Duration = Duration::from_millis(200);

/// A lock ends after 60 s.
const RENEW: Duration = Duration::from_secs(20);

type Adoption = (String, oneshot::Sender<()>);

/// The embedded brokers of this process by the address of their name server.
static RUNNING: Mutex<Vec<(String, mpsc::UnboundedSender<Adoption>)>> = Mutex::new(Vec::new());

/// Takes the lock for a group of this process before it consumes. Does nothing for other brokers.
pub(crate) async fn adopt(name_servers: &[String], group: &str) {
    let keepers: Vec<_> = {
        let mut running = RUNNING.lock();
        running.retain(|(_, keeper)| !keeper.is_closed());
        running.iter().filter(|(address, _)| name_servers.contains(address)).cloned().collect()
    };
    for (_, keeper) in keepers {
        let (done, adopted) = oneshot::channel();
        if keeper.send((group.to_owned(), done)).is_ok() {
            let _ = adopted.await;
        }
    }
}

/// Whether one of the addresses is an embedded broker's of this process.
pub(crate) fn has_one_of(name_servers: &[String]) -> bool {
    RUNNING.lock().iter().any(|(address, keeper)| !keeper.is_closed() && name_servers.contains(address))
}

/// Keeps the locks of all groups until the runtime that this is called on ends.
pub(super) async fn keep(name_server: String, broker: String) -> Result<(), EmbeddedError> {
    let (sender, adoptions) = mpsc::unbounded_channel();
    let keeper = Keeper { connection: Connection::open(&broker).await?, locked: HashMap::new() };
    RUNNING.lock().push((name_server, sender));
    tokio::spawn(loud("embedded", keeper.run(adoptions), || {}));
    Ok(())
}

struct Keeper {
    connection: Connection,
    locked: HashMap<String, Instant>,
}

impl Keeper {
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
