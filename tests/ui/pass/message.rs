//! Messages in every form, without a warning.

#![deny(warnings, clippy::all, clippy::pedantic)]

use idem_rocketmq::Message;
use idem_rocketmq::codec::Bytes;
use idem_rocketmq::codec::{Encode, EncodeError};
use idem_rocketmq::prelude::{IdempotencyKey, OutgoingMessage, Serialize};

const TOPIC: &str = "orders";

#[derive(Serialize)]
struct Buyer {
    id: u64,
}

#[derive(Serialize, Message)]
#[message(topic = TOPIC, tag = "PAID", key = (tenant, "order_id"), order_by = buyer.id)]
struct Nested {
    tenant: String,
    order_id: u64,
    buyer: Buyer,
}

#[derive(Serialize, IdempotencyKey, Message)]
#[message(topic = "orders")]
struct Own {
    text: String,
    #[idempotency_key]
    id: u64,
}

#[derive(Serialize, Message)]
#[message(topic = "orders", key = 0)]
struct Tuple<T>(String, T)
where
    T: Serialize;

#[derive(Message)]
#[message(crate = ::idem_rocketmq, topic = "orders", key_with = key, codec = Line)]
enum Event {
    Paid(u64),
}

const fn key(event: &Event) -> (&'static str, u64) {
    let Event::Paid(id) = event;
    ("paid", *id)
}

struct Line;

impl Encode<Event> for Line {
    fn encode(&self, event: &Event) -> Result<Bytes, EncodeError> {
        let Event::Paid(id) = event;
        Ok(format!("paid {id}").into())
    }
}

#[derive(Serialize, Message)]
#[message(topic = "orders", key = "buyer.id", order_by = buyer.id)]
struct Guest {
    buyer: Option<Buyer>,
}

#[derive(Serialize, Message)]
#[message(topic = "orders", key_with = |closed| ("closed", closed.0))]
struct Closed(u64);

#[test]
fn a_key_leads_through_an_option() {
    let key = |id| Guest { buyer: Some(Buyer { id }) }.to_outgoing().key().cloned();
    assert_eq!(key(7), IdempotencyKey::new(7).ok());
    let none = Guest { buyer: None }.to_outgoing();
    assert_eq!(none.key(), None);
    assert!(none.check().is_err());
}

#[test]
fn a_closure_computes_a_key() {
    let expected = IdempotencyKey::from_parts(&[&"closed", &7]).ok();
    assert_eq!(Closed(7).to_outgoing().key(), expected.as_ref());
}

#[test]
fn each_form_is_a_message() {
    let nested = Nested { tenant: "a".into(), order_id: 7, buyer: Buyer { id: 1 } }.to_outgoing();
    assert_eq!(nested.key(), Some(&IdempotencyKey::from_parts(&[&"a", &7]).expect("it is right")));
    assert_eq!(nested.body().expect("it is right"), r#"{"tenant":"a","order_id":7,"buyer":{"id":1}}"#);
    let own = Own { text: "a".into(), id: 7 }.to_outgoing();
    assert_eq!(own.key(), Some(&IdempotencyKey::new(7).expect("it is right")));
    let tuple = Tuple("7".into(), 1).to_outgoing();
    assert_eq!(tuple.key(), Some(&IdempotencyKey::new("7").expect("it is right")));
    let event = Event::Paid(7).to_outgoing();
    assert_eq!(event.key(), Some(&IdempotencyKey::from_parts(&[&"paid", &7]).expect("it is right")));
    assert_eq!(event.body().expect("it is right"), "paid 7");
    for message in [nested, own, tuple, event, OutgoingMessage::new("t", 7, "b")] {
        assert_eq!(message.check(), Ok(()));
    }
}
