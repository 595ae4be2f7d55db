//! Listeners that deduplicate as one writes it by hand: a marker before the work and another one behind it.
//!
//! None of them has a lease, a token or a count of attempts: a message whose work fails is taken for a duplicate afterwards. They
//! say what the least deduplication costs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use redis::{Client, Connection, RedisResult};

use crate::bare::{ListenerWork, each};
use crate::measure::MessageCount;
use crate::payload::OrderPayload;

/// For how long a message is taken to be under way, in ms.
const CONSUMING: u64 = 30_000;
/// For how long a message that is done is known, in ms.
const DONE: u64 = 345_600_000;

thread_local! {
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// In a map of this process.
pub(crate) fn in_memory(count: MessageCount) -> ListenerWork {
    let markers: Mutex<HashMap<String, &str>> = Mutex::default();
    each(move |payload| {
        let Ok(order) = serde_json::from_slice::<OrderPayload>(payload) else { return };
        let markers = || markers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Vacant(unknown) = markers().entry(order.order_id.clone()) {
            unknown.insert("consuming");
        } else {
            return;
        }
        black_box(order.amount_cents);
        count.one();
        markers().insert(order.order_id, "done");
    })
}

/// As is usual: two commands for each message, one by one.
pub(crate) fn in_redis(url: &str, group: &str, count: MessageCount) -> anyhow::Result<ListenerWork> {
    let (client, group) = (Client::open(url)?, group.to_owned());
    Ok(each(move |payload| {
        let Ok(order) = serde_json::from_slice::<OrderPayload>(payload) else { return };
        let key = key(&group, &order);
        connected(&client, |connection| {
            let is_new: Option<String> = redis::cmd("SET")
                .arg(&key)
                .arg("consuming")
                .arg("NX")
                .arg("PX")
                .arg(CONSUMING)
                .query(connection)?;
            if is_new.is_some() {
                black_box(order.amount_cents);
                count.one();
                redis::cmd("SET").arg(&key).arg("done").arg("PX").arg(DONE).exec(connection)?;
            }
            Ok(())
        });
    }))
}

/// The same two commands, those of a call's messages together.
pub(crate) fn in_redis_pipelined(
    url: &str,
    group: &str,
    count: MessageCount,
) -> anyhow::Result<ListenerWork> {
    let (client, group) = (Client::open(url)?, group.to_owned());
    Ok(Box::new(move |payloads| {
        let orders: Vec<OrderPayload> =
            payloads.iter().filter_map(|payload| serde_json::from_slice(payload).ok()).collect();
        connected(&client, |connection| {
            let mut claims = redis::pipe();
            for order in &orders {
                claims.cmd("SET").arg(key(&group, order)).arg("consuming").arg("NX").arg("PX").arg(CONSUMING);
            }
            let are_new: Vec<Option<String>> = claims.query(connection)?;
            let mut completions = redis::pipe();
            for (order, _) in orders.iter().zip(are_new).filter(|(_, is_new)| is_new.is_some()) {
                black_box(order.amount_cents);
                count.one();
                completions.cmd("SET").arg(key(&group, order)).arg("done").arg("PX").arg(DONE).ignore();
            }
            completions.exec(connection)
        });
    }))
}

fn key(group: &str, order: &OrderPayload) -> String {
    format!("{group}:{}", order.order_id)
}

/// Each thread has a connection of its own.
fn connected(client: &Client, work: impl FnOnce(&mut Connection) -> RedisResult<()>) {
    CONNECTION.with_borrow_mut(|connection| {
        let connection = connection.get_or_insert_with(|| client.get_connection().expect("Redis is there"));
        work(connection).expect("Redis answers");
    });
}
