//! Mistakes that a producer finds without a broker.

use std::time::{Duration, SystemTime};

use idem_core::clock::{LONGEST, extreme_moments, extremes};

use super::*;
use crate::codec::{Encode, EncodeError};
use crate::producer::check::MAX_MESSAGE_SIZE;

fn message() -> OutgoingMessage {
    OutgoingMessage::new("orders", "secret-key", "secret-body")
}

fn fault(message: &OutgoingMessage) -> String {
    let text = message.check().expect_err("the message is wrong").to_string();
    assert!(!text.contains("secret"), "{text}");
    text
}

#[test]
fn what_rocketmq_would_refuse_is_refused_with_a_reason() {
    let property = |name: &str, value: &str| fault(&message().property(name, value));
    for (wrong, says) in [
        (fault(&OutgoingMessage::new("my orders", 7, "b")), "the topic `my orders`"),
        (fault(&OutgoingMessage::new("%RETRY%group", 7, "b")), "belongs to a consumer group"),
        (fault(&OutgoingMessage::new("SCHEDULE_TOPIC_XXXX", 7, "b")), "reserved"),
        (fault(&OutgoingMessage::new("orders", "", "b")), "idempotency key is empty"),
        (fault(&OutgoingMessage::new("orders", None::<String>, "b")), "idempotency key is missing"),
        (fault(&OutgoingMessage::new("orders", 7, "")), "body is empty"),
        (fault(&OutgoingMessage::new("orders", 7, vec![0; MAX_MESSAGE_SIZE + 1])), "4194305 bytes"),
        (fault(&message().tag("A || B")), "the tag `A || B`"),
        (fault(&message().order_by("")), "ordered by is empty"),
        (fault(&message().lookup_key("secret key")), "separates them with spaces"),
        (fault(&message().lookup_key("")), "is empty"),
        (property("", "v"), "has no name"),
        (property("p", ""), "has no value"),
        (property("KEYS", "v"), "keeps for itself"),
        (property("TIMER_DELAY_MS", "1"), "keeps for itself"),
        (property("IDEM_PRODUCER_KEY", "v"), "keeps for itself"),
        (property("p", "secret\u{1}"), "the character 1 or 2"),
        (property("p\u{2}", "v"), "the character 1 or 2"),
        (property("p", &"x".repeat(32_000)), "brokers take 31743"),
    ] {
        assert!(wrong.contains(says), "{wrong}");
    }
    assert_eq!(message().tag("PAID").order_by(7).lookup_key("k").property("p", "v").check(), Ok(()));
}

#[test]
fn a_delay_that_no_level_has_is_refused_only_by_level() {
    let long = message().after(Duration::from_hours(3));
    assert!(matches!(long.check_for(100, Duration::from_hours(2)), Err(MessageFault::Delay)));
    assert!(long.check_for(100, Duration::MAX).is_ok());
    assert!(message().after(Duration::from_hours(2)).check_for(100, Duration::from_hours(2)).is_ok());
}

#[test]
fn a_payload_without_a_form_is_said_when_it_is_sent() {
    struct BrokenMessage;
    impl Encode<()> for BrokenMessage {
        fn encode(&self, (): &()) -> Result<bytes::Bytes, EncodeError> {
            Err(EncodeError::new("no form"))
        }
    }
    let text = fault(&OutgoingMessage::encoded("orders", 7, &BrokenMessage, &()));
    assert!(text.contains("cannot be made: no form"), "{text}");
    let map = std::collections::HashMap::from([((1, 2), "secret")]);
    assert!(fault(&OutgoingMessage::json("orders", 7, &map)).contains("no form in JSON"));
}

#[test]
fn debug_shows_no_secrets() {
    let text =
        format!("{:?}", message().property("card", "secret-card").lookup_key("secret").order_by("secret"));
    assert!(text.contains("orders") && text.contains("card") && !text.contains("secret"), "{text}");
}

#[test]
fn mistakes_of_the_setup_are_found_without_a_server() {
    let good = || Producer::builder("shop").name_server("127.0.0.1:9876");
    assert!(good().check().is_ok());
    let check_back = |topic: &str| {
        good()
            .check_back(topic, |_: crate::extract::Delivery| async { Ok(TransactionState::Unknown) })
            .check()
    };
    assert!(check_back("orders").is_ok());
    let credentials = crate::cluster::Credentials::new("secret-access", " ");
    for (wrong, says) in [
        (Producer::builder("my shop").name_server("a:1").check(), "the producer group \"my shop\""),
        (Producer::builder("DEFAULT_PRODUCER").name_server("a:1").check(), "reserved"),
        (Producer::builder("shop").check(), "the producer group `shop` has no name server"),
        (Producer::builder("shop").name_server("nowhere").check(), "host:port"),
        (good().credentials(credentials).check(), "secret key of the group `shop` is empty"),
        (good().delay_levels("1s,5s").check(), "delay levels \"1s,5s\" of the group `shop`"),
        (good().send_timeout(Duration::ZERO).check(), "`send_timeout`"),
        (check_back("my orders"), "the topic \"my orders\""),
    ] {
        let text = wrong.unwrap_err().to_string();
        assert!(text.contains(says) && !text.contains("secret-access"), "{text}");
    }
}

#[tokio::test]
async fn a_name_server_that_is_not_there_is_found_at_the_start() {
    let error = Producer::builder("shop").name_server("127.0.0.1:1").start().await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_check_back_needs_a_runtime() {
    let builder = Producer::builder("shop").name_server("127.0.0.1:9876");
    let builder =
        builder.check_back("t", |_: crate::extract::Delivery| async { Ok(TransactionState::Unknown) });
    let error = pollster::block_on(builder.start()).unwrap_err();
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}

#[test]
fn every_time_that_is_said_to_a_producer_is_refused_or_works() {
    let good = || Producer::builder("shop").name_server("127.0.0.1:9876");
    for time in extremes() {
        assert_eq!(good().send_timeout(time).check().is_ok(), !time.is_zero(), "{time:?}");
        assert_eq!(good().transaction_timeout(time).check().is_ok(), !time.is_zero(), "{time:?}");
        let later = message().after(time);
        assert_eq!(later.check().is_ok(), time <= LONGEST, "{time:?}");
        later.into_wire();
    }
    for moment in extreme_moments() {
        let (later, wait) = (message().at(moment), moment.duration_since(SystemTime::now()));
        let is_endless = wait.is_ok_and(|wait| wait > LONGEST);
        assert_eq!(later.check().is_err(), is_endless, "{moment:?}");
        later.into_wire();
    }
}
