//! Options that are expressions: constants, calls and what is read when the program starts.

use std::time::Duration;

use idem_rocketmq::Backoff;
use idem_rocketmq::codec::Bytes;
use idem_rocketmq::prelude::*;

const TOPIC: &str = "orders";
const TAG: &str = "PAID";
const TAGS: [&str; 2] = [TAG, "SHIPPED"];
static MORE_TAGS: &[&str] = &TAGS;
const MINUTE: Duration = Duration::from_mins(1);
const WORKERS: usize = 8;
const TENANT: &str = "tenant";

mod limits {
    pub(super) const ATTEMPTS: u32 = 3;
}

fn topic(name: &str) -> String {
    format!("{TOPIC}-{name}")
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message(topic = topic("paid"), tag = TAGS[0], key = "id")]
struct Order {
    id: u64,
}

#[idempotent(
    key = "id",
    topic = topic("paid"),
    tags = TAGS,
    scope = format!("{}-{TAG}", "gmv"),
    retention = 60 * MINUTE,
    lease = MINUTE / 2,
    timeout = Duration::from_millis(500),
    concurrency = WORKERS * 2,
    max_attempts = limits::ATTEMPTS,
    backoff = MINUTE,
    in_progress = wait(MINUTE)
)]
async fn pay(_: Order) {}

#[idempotent(key_from = property(TENANT), topic = TOPIC, tags = MORE_TAGS, max_attempts = u32::MAX, batch = WORKERS, backoff = [MINUTE, "5m"])]
async fn index(_: Vec<Bytes>) {}

#[idempotent(key = "id", topic = TOPIC, tags = Vec::<String>::new(), backoff = exponential("1s", MINUTE))]
async fn no_tag(_: Order) {}

#[idempotent(key = "id", topic = TOPIC, tags = [TAG, "SHIPPED"], backoff = Backoff::fixed(MINUTE))]
async fn each_tag(_: Order) {}

#[test]
fn expressions_are_options_as_literals_are() {
    let routes = handlers![pay, index, each_tag];
    assert!(routes.iter().all(|route| route.check().is_ok()), "{routes:?}");
    let first = format!("{:?}", routes[0]);
    assert!(
        first.contains("orders-paid") && first.contains("SHIPPED") && first.contains("gmv-PAID"),
        "{first}"
    );
    assert_eq!(Order { id: 7 }.to_outgoing().topic(), "orders-paid");
}

#[test]
fn a_list_of_tags_without_any_is_refused() {
    let error = handlers![no_tag][0].check().expect_err("it would take all messages");
    assert!(error.to_string().contains("is empty"), "{error}");
}
