use bytes::Bytes;

use super::*;

fn message(properties: &[(&str, &str)]) -> MessageExt {
    let mut inner = Message::default();
    inner.set_topic("orders".into());
    inner.set_body(Some(Bytes::from_static(b"body")));
    let properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    inner.set_properties(properties.collect());
    inner.set_flag(7);
    let mut message =
        MessageExt { message: inner, born_timestamp: 1_700_000_000_123, ..MessageExt::default() };
    message.set_msg_id("offset-id".into());
    message
}

fn copy_of(message: &MessageExt, purpose: &CopyPurpose, extent: CopyExtent) -> Message {
    let copying = CopyRequest { message, group: "ns%g", topic: "ns%orders", purpose, extent };
    copying.copy(DelayBy::Level, &Levels::default())
}

fn retry_of(message: &MessageExt) -> Message {
    copy_of(message, &CopyPurpose::Retry(Retry::default()), CopyExtent::Full)
}

fn letter_of(message: &MessageExt, properties: Vec<(String, String)>) -> Message {
    copy_of(message, &CopyPurpose::DeadLetter(properties), CopyExtent::Full)
}

fn property(copy: &Message, name: &str) -> Option<String> {
    copy.property(name).map(str::to_owned)
}

fn bytes(copy: &Message) -> usize {
    let all = copy.properties().as_map().iter().filter(|(name, _)| *name != STAMP);
    all.map(|(name, value)| name.len() + value.len() + 2).sum()
}

#[test]
fn a_copy_keeps_what_is_the_messages_and_has_its_own_of_the_rest() {
    let mut received = message(&[("colour", "blue")]);
    for (name, _) in names::all() {
        received.put_property(name.into(), "of before".into());
    }
    for copy in [retry_of(&received), letter_of(&received, Vec::new())] {
        assert_eq!(property(&copy, "colour").as_deref(), Some("blue"));
        for (name, fate) in names::all() {
            let value = property(&copy, name);
            match fate {
                CopyRule::Kept => assert_eq!(value.as_deref(), Some("of before"), "{name}"),
                CopyRule::Dropped => assert_eq!(value, None, "{name}"),
                CopyRule::New => assert_ne!(value.as_deref(), Some("of before"), "{name}"),
            }
        }
        assert_eq!(property(&copy, "WAIT").as_deref(), Some("true"), "an ack relies on it");
        assert_eq!(copy.topic().as_str(), "%RETRY%ns%g");
        assert_eq!(property(&copy, "ORIGIN_MESSAGE_ID").as_deref(), Some("offset-id"));
        assert_eq!(copy.flag(), 7);
        assert_eq!(copy.body().as_deref(), Some(b"body".as_slice()));
        assert_eq!(
            property(&copy, STAMP).as_deref(),
            Some("0,1700000000123"),
            "born when its producer made it"
        );
    }
}

#[test]
fn a_retry_comes_back_under_the_topic_that_its_message_was_consumed_from() {
    let dead_letter_of_orders = message(&[("RETRY_TOPIC", "other"), ("IDEM_ATTEMPTS", "16")]);
    let copy = retry_of(&dead_letter_of_orders);
    assert_eq!(property(&copy, "RETRY_TOPIC").as_deref(), Some("ns%orders"));
    assert_eq!(property(&copy, "IDEM_ATTEMPTS"), None);
}

#[test]
fn a_second_copy_keeps_the_origin_of_the_first() {
    let mut received = message(&[("RETRY_TOPIC", "ns%orders"), ("ORIGIN_MESSAGE_ID", "first")]);
    received.set_reconsume_times(4);
    let copy = retry_of(&received);
    assert_eq!(property(&copy, "ORIGIN_MESSAGE_ID").as_deref(), Some("first"));
    assert_eq!(property(&copy, "RECONSUME_TIME").as_deref(), Some("5"));
}

#[test]
fn a_body_stays_compressed_and_one_whose_flag_lies_is_told_as_it_is_in_the_end() {
    let mut received = message(&[("MIN_OFFSET", "0")]);
    received.set_sys_flag(0x201 | 0x8 | 0x10);
    assert_eq!(property(&retry_of(&received), STAMP).unwrap(), "513,1700000000123");
    assert_eq!(property(&letter_of(&received, Vec::new()), STAMP).unwrap(), "0,1700000000123");
    // It came by hand, and decompressed.
    let mut received = message(&[]);
    received.set_sys_flag(0x101);
    assert_eq!(property(&retry_of(&received), STAMP).unwrap(), "0,1700000000123");
}

#[test]
fn only_a_dead_letters_count_is_above_its_bound() {
    let number = |copy: &Message, name| property(copy, name).unwrap().parse::<i32>().unwrap();
    for times in [0, 15, 1000] {
        let mut received = message(&[]);
        received.set_reconsume_times(times);
        let (retry, dead) = (retry_of(&received), letter_of(&received, Vec::new()));
        assert!(number(&retry, "RECONSUME_TIME") <= number(&retry, "MAX_RECONSUME_TIMES"));
        assert!(number(&dead, "RECONSUME_TIME") > number(&dead, "MAX_RECONSUME_TIMES"));
    }
}

#[test]
fn a_delay_becomes_a_level_or_a_timer_and_a_time_when_it_is_over() {
    let with = |delay, by| {
        let purpose =
            CopyPurpose::Retry(Retry { delay: Duration::from_millis(delay), properties: Vec::new() });
        let message = message(&[]);
        let copying = CopyRequest {
            message: &message,
            group: "g",
            topic: "t",
            purpose: &purpose,
            extent: CopyExtent::Full,
        };
        copying.copy(by, &Levels::default())
    };
    assert_eq!(property(&with(3500, DelayBy::Level), "DELAY").as_deref(), Some("2"));
    assert_eq!(property(&with(3500, DelayBy::Timer), "TIMER_DELAY_MS").as_deref(), Some("3500"));
    assert_eq!(property(&with(0, DelayBy::Level), "DELAY"), None);
    assert_eq!(property(&with(0, DelayBy::Timer), "TIMER_DELAY_MS"), None);
    assert_eq!(property(&with(0, DelayBy::Timer), "IDEM_DUE"), None);
    let due = property(&with(60_000, DelayBy::Level), "IDEM_DUE").unwrap();
    let (due, delay) = due.split_once(',').unwrap();
    let due: u64 = due.parse().unwrap();
    assert_eq!(delay, "60000");
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    assert!((now + 50_000..=now + 60_000).contains(&due));
}

#[test]
fn a_retry_that_goes_on_waiting_stays_what_it_was() {
    let mut received =
        message(&[("IDEM_DUE", "99"), ("IDEM_ATTEMPTS", "2"), ("IDEM_REASON", "no"), ("DELAY", "3")]);
    received.set_reconsume_times(4);
    let copy = copy_of(&received, &CopyPurpose::Onward(Duration::from_secs(100)), CopyExtent::Full);
    for (name, value) in [
        ("IDEM_DUE", "99"),
        ("IDEM_ATTEMPTS", "2"),
        ("IDEM_REASON", "no"),
        ("RECONSUME_TIME", "4"),
        ("DELAY", "6"),
        ("RETRY_TOPIC", "ns%orders"),
    ] {
        assert_eq!(property(&copy, name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn separators_and_length_of_added_properties_cannot_break_the_message() {
    let extras = vec![
        ("IDEM_ATTEMPTS".to_owned(), "16".to_owned()),
        ("IDEM_REASON".to_owned(), format!("a\u{1}b\u{2}c{}", "é".repeat(40_000))),
        ("IDEM_\u{1}KEY".to_owned(), "k".to_owned()),
        ("EMPTY".to_owned(), String::new()),
    ];
    let copy = letter_of(&message(&[]), extras);
    assert!(property(&copy, "IDEM_REASON").unwrap().starts_with("a b cé"));
    assert!(bytes(&copy) <= PROPERTIES_BYTES);
    assert_eq!(property(&copy, "IDEM_ATTEMPTS").as_deref(), Some("16"));
    assert_eq!(property(&copy, "EMPTY"), None);
}

#[test]
fn where_there_is_no_room_idems_properties_go_and_never_the_users() {
    let extras = || {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            pair("IDEM_ATTEMPTS", "3"),
            pair("IDEM_OUTCOME", "failed"),
            pair("IDEM_REASON", &"r".repeat(900)),
        ]
    };
    for length in [31_000, 31_600, 31_680, 31_730, 32_695] {
        let received = message(&[("big", &"b".repeat(length - 5))]);
        let copy = letter_of(&received, extras());
        assert_eq!(property(&copy, "big").unwrap().len(), length - 5);
        let own = bytes(&copy) - length;
        assert!(bytes(&copy) <= PROPERTIES_BYTES.max(length + 64), "{length}: {own}");
        let bare = copy_of(&received, &CopyPurpose::DeadLetter(extras()), CopyExtent::Bare);
        let headers = "RECONSUME_TIME".len() + "MAX_RECONSUME_TIMES".len() + 2 * 3;
        assert_eq!(bytes(&bare), length + headers, "nothing but what goes into the header");
    }
}

#[test]
fn a_reference_says_where_the_message_is() {
    let received = message(&[("KEYS", "k"), ("big", &"b".repeat(32_000))]);
    let copy = copy_of(&received, &CopyPurpose::DeadLetter(Vec::new()), CopyExtent::Reference);
    let body = copy.body().unwrap();
    let body = std::str::from_utf8(&body).unwrap();
    assert!(body.starts_with("message offset-id of topic ns%orders"), "{body}");
    assert_eq!(property(&copy, "IDEM_REFERENCE").as_deref(), Some(body));
    assert_eq!((property(&copy, "KEYS").as_deref(), property(&copy, "big")), (Some("k"), None));
}
