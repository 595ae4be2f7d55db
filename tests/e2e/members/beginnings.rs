//! A group begins where it is told to, also in queues that are new to a known group.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- members::beginnings::`

use idem_rocketmq::RunningConsumer;
use idem_rocketmq::consumer::ConsumeFrom;
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Runs, SOON};
use crate::support::place::{Place, on_both};

const QUEUES: u32 = 4;
const MANY: usize = 40;

/// Gives the topic more queues, and sends to all of them.
async fn raise(place: &Place) {
    place.bench.create_topic(&place.topic, QUEUES).await.unwrap();
    // Begun now, so that it knows of all queues.
    let sender = place.sender().start().await.unwrap();
    for number in 0..MANY {
        let id = format!("new-{number}");
        let order = OutgoingMessage::new(&*place.topic, &*id, format!(r#"{{"id":"{id}"}}"#));
        sender.send(&order).await.unwrap();
    }
    sender.shutdown().await;
    let stored = place.bench.read_all(&place.topic).await.unwrap();
    let queues: std::collections::BTreeSet<_> = stored.iter().map(|message| message.queue_id).collect();
    assert_eq!(queues.len(), 4, "{queues:?}");
}

async fn start(place: &Place, from: ConsumeFrom, route: Route) -> RunningConsumer {
    place.member(&MemoryStore::new(), [route]).consume_from(from).start().await.unwrap()
}

async fn start_broadcast(place: &Place, from: ConsumeFrom, route: Route) -> RunningConsumer {
    let member = place.member(&MemoryStore::new(), [route.broadcast()]).instance_name(place.instance("one"));
    member.consume_from(from).start().await.unwrap()
}

/// The first message is from before the group; the second makes it known in the topic's only queue.
async fn known(place: &Place, runs: &Runs, start: impl AsyncFn() -> RunningConsumer) -> RunningConsumer {
    place.send(place.order("before")).await;
    let running = start().await;
    place.send(place.order("first")).await;
    kit::until("the first message", SOON, async || runs.of("first") == 1).await;
    running
}

on_both! {
    async fn queues_that_a_topic_was_given_while_its_group_was_down_begin_at_their_first_message(place: Plain of 1) {
        let runs = Runs::default();
        let start = async || start(&place, ConsumeFrom::Last, kit::counting(&place.topic, &runs)).await;
        known(&place, &runs, start).await.shutdown().await;
        raise(&place).await;
        let running = start().await;
        runs.until_total(1 + MANY, SOON).await;
        running.shutdown().await;
        assert_eq!(runs.of("before"), 0);
    }

    async fn queues_that_a_topic_is_given_while_its_group_consumes_begin_at_their_first_message(place: Plain of 1) {
        let runs = Runs::default();
        let start = async || start(&place, ConsumeFrom::Last, kit::counting(&place.topic, &runs)).await;
        let running = known(&place, &runs, start).await;
        raise(&place).await;
        runs.until_total(1 + MANY, SOON).await;
        running.shutdown().await;
        assert_eq!(runs.of("before"), 0);
    }

    /// The time is long before all of them, and still each is taken once.
    async fn queues_that_are_new_to_a_group_that_began_at_a_time_begin_at_their_first_message(place: Plain of 1) {
        let runs = Runs::default();
        let from = ConsumeFrom::Timestamp(std::time::SystemTime::now() + std::time::Duration::from_mins(5));
        let start = async || start(&place, from, kit::counting(&place.topic, &runs)).await;
        known(&place, &runs, start).await.shutdown().await;
        raise(&place).await;
        let running = start().await;
        runs.until_total(1 + MANY, SOON).await;
        running.shutdown().await;
        assert_eq!(runs.of("before"), 0);
    }

    async fn queues_that_are_new_to_an_instance_of_a_broadcast_group_begin_at_their_first_message(place: Plain of 1) {
        let runs = Runs::default();
        let start = async || start_broadcast(&place, ConsumeFrom::Last, kit::counting(&place.topic, &runs)).await;
        known(&place, &runs, start).await.shutdown().await;
        raise(&place).await;
        let running = start().await;
        runs.until_total(1 + MANY, SOON).await;
        running.shutdown().await;
        assert_eq!(runs.of("before"), 0);
    }

    async fn queues_that_a_topic_is_given_while_it_is_broadcast_begin_at_their_first_message(place: Plain of 1) {
        let runs = Runs::default();
        let start = async || start_broadcast(&place, ConsumeFrom::Last, kit::counting(&place.topic, &runs)).await;
        let running = known(&place, &runs, start).await;
        raise(&place).await;
        runs.until_total(1 + MANY, SOON).await;
        running.shutdown().await;
        assert_eq!(runs.of("before"), 0);
    }

    /// All of its messages are later than the group's start.
    async fn a_topic_that_comes_after_its_group_begins_at_its_first_message(place: Plain of 1) {
        let (runs, topic) = (Runs::default(), crate::support::servers::unique("later"));
        let running = start(&place, ConsumeFrom::Last, kit::counting(&topic, &runs)).await;
        place.bench.create_topic(&topic, QUEUES).await.unwrap();
        place.send_all(kit::orders(&topic, MANY)).await;
        runs.until_total(MANY, SOON).await;
        running.shutdown().await;
    }
}
