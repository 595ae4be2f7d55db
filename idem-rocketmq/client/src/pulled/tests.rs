use rocketmq_model::common::message::MessageTrait as _;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_protocol::common::message::message_decoder::decodes_batch;

use super::*;
use crate::LARGEST_BODY;

const BATCH: i32 = Flag::INNER_BATCH_FLAG | Flag::NEED_UNWRAP_FLAG;

/// A stored message of the topic `orders`.
fn stored(offset: i64, sys_flag: i32, body: &[u8], properties: &[u8]) -> Vec<u8> {
    let made = frame::made("orders");
    let frame = Frame::parse(&made).unwrap();
    let mut out = BytesMut::new();
    frame.write(&mut out, &InnerMessage { body, ..frame.whole() }, offset, sys_flag, properties);
    out.to_vec()
}

fn plain(offset: i64) -> Vec<u8> {
    stored(offset, 0, b"{}", b"TAGS\x01PAID\x02")
}

fn request(asked: i64) -> RemotingCommand {
    let fields = [("topic", "orders".to_owned()), ("queueOffset", asked.to_string())];
    let fields = fields.into_iter().map(|(name, value)| (name.into(), value.into()));
    RemotingCommand::create_remoting_command(PULL_MESSAGE).set_ext_fields(fields.collect())
}

fn answer(next: i64, frames: &[Vec<u8>]) -> RemotingCommand {
    let fields =
        [("suggestWhichBrokerId", 0), ("nextBeginOffset", next), ("minOffset", 0), ("maxOffset", next)];
    let fields = fields.into_iter().map(|(name, value)| (name.into(), value.to_string().into()));
    let answer = RemotingCommand::create_remoting_command(SUCCESS).set_ext_fields(fields.collect());
    answer.set_body(frames.concat())
}

/// The messages that the client's decoder reads from an answer, and where the next request begins.
fn decoded(asked: i64, mut answer: RemotingCommand) -> (Vec<MessageExt>, i64) {
    let tags = [("orders".to_owned(), "PAID".to_owned())].into();
    let pulled = PullSorter::new("g".to_owned(), tags, LARGEST_BODY);
    pulled.sort_out(&request(asked), &mut answer).unwrap();
    let header = answer.decode_command_custom_header::<PullMessageResponseHeader>().unwrap();
    (decodes_batch(&mut answer.take_body().unwrap_or_default(), true, false), header.next_begin_offset)
}

fn offsets(messages: &[MessageExt]) -> Vec<i64> {
    messages.iter().map(|message| message.queue_offset).collect()
}

fn reason(message: &MessageExt) -> Option<String> {
    message.property_ref(&UNREADABLE.into()).map(ToString::to_string)
}

#[test]
fn what_the_decoder_takes_goes_through_as_it_is() {
    let frames = [plain(3), stored(4, 0x101, b"compressed", b""), plain(9)];
    let before = answer(10, &frames);
    let (messages, next) = decoded(3, before.clone());
    assert_eq!((offsets(&messages), next), (vec![3, 4, 9], 10));
    assert!(messages.iter().all(|message| reason(message).is_none()));
    assert_eq!(messages[1].sys_flag, 0x101);
}

#[test]
fn properties_that_are_no_text_are_told_and_their_neighbours_come() {
    let wrong = stored(1, 0, b"{}", b"TAGS\x01PAID\x02colour\x01\xff\xfe\x02KEYS\x01k\x02");
    let (messages, _) = decoded(0, answer(3, &[plain(0), wrong, plain(2)]));
    assert_eq!(offsets(&messages), [0, 1, 2]);
    assert_eq!(reason(&messages[1]).as_deref(), Some("the property `colour` is not UTF-8"));
    assert_eq!(messages[1].property_ref(&"KEYS".into()).unwrap(), "k");
    assert!(reason(&messages[0]).is_none() && reason(&messages[2]).is_none());
}

#[test]
fn properties_that_are_no_text_and_fill_all_room_are_told_too() {
    let mut properties = b"a\x01\xff\x02b\x01".to_vec();
    properties.resize(32_766, b'x');
    properties.push(2);
    let (messages, _) = decoded(0, answer(2, &[stored(0, 0, b"{}", &properties), plain(1)]));
    assert_eq!(offsets(&messages), [0, 1]);
    assert!(reason(&messages[0]).unwrap().contains("`a`"));
}

#[test]
fn the_messages_of_a_batch_have_an_offset_each() {
    let body = frame::batch_body(&[
        (b"one", b"TAGS\x01PAID\x02"),
        (b"two", b"TAGS\x01DUE\x02"),
        (b"three", b"TAGS\x01\xff\x02"),
    ]);
    let batch = stored(5, BATCH, &body, b"INNER_NUM\x013\x02");
    let (messages, next) = decoded(4, answer(9, &[plain(4), batch, plain(8)]));
    assert_eq!((offsets(&messages), next), (vec![4, 5, 6, 7, 8], 9));
    let bodies: Vec<_> = messages.iter().map(|message| message.body().unwrap()).collect();
    assert_eq!(bodies, [&b"{}"[..], b"one", b"two", b"three", b"{}"]);
    assert_eq!(messages[6 - 4].property_ref(&"TAGS".into()).unwrap(), "DUE");
    assert!(reason(&messages[7 - 4]).unwrap().contains("`TAGS`"));
    assert!(messages.iter().all(|message| message.sys_flag == 0), "none is a batch or compressed any more");
}

#[test]
fn a_batch_that_was_asked_for_in_its_middle_begins_there() {
    let body = frame::batch_body(&[(b"one", b""), (b"two", b""), (b"three", b"")]);
    let (messages, _) = decoded(6, answer(8, &[stored(5, BATCH, &body, b"")]));
    assert_eq!(offsets(&messages), [6, 7]);
    let (messages, next) = decoded(8, answer(8, &[stored(5, BATCH, &body, b"")]));
    assert_eq!((offsets(&messages), next), (vec![], 8));
}

#[test]
fn a_compressed_batch_is_taken_apart_and_a_damaged_one_is_told() {
    use rocketmq_model::common::compression::compression_type::CompressionType;
    let body = frame::batch_body(&[(b"one", b""), (b"two", b"")]);
    let packed = CompressionType::Zstd.try_compression(&body).unwrap();
    let good = stored(0, BATCH | 0x201, &packed, b"");
    let bad = stored(2, BATCH | 0x201, &packed[..packed.len() - 1], b"");
    let (messages, _) = decoded(0, answer(5, &[good, bad, plain(4)]));
    assert_eq!(offsets(&messages), [0, 1, 2, 4]);
    assert_eq!(messages[1].body().unwrap(), &b"two"[..]);
    assert!(reason(&messages[2]).unwrap().contains("ZSTD"));
    assert_eq!(
        messages[2].property_ref(&"TAGS".into()).unwrap(),
        "PAID",
        "so that the client lets it through"
    );
}

#[test]
fn of_a_batch_with_rubbish_at_its_end_the_good_messages_come_and_the_rest_is_told() {
    let mut body = frame::batch_body(&[(b"one", b""), (b"two", b"")]).to_vec();
    body.extend([0, 0, 0, 99, 1, 2, 3]);
    let (messages, _) = decoded(0, answer(4, &[stored(0, BATCH, &body, b""), plain(3)]));
    assert_eq!(offsets(&messages), [0, 1, 2, 3]);
    assert!(reason(&messages[2]).is_some() && reason(&messages[3]).is_none());
}

#[test]
fn a_message_in_no_format_becomes_one_that_says_so() {
    let wrong: [fn(&mut Vec<u8>); 5] = [
        |frame| frame[4] = 0,                                    // The magic number.
        |frame| frame[84..88].copy_from_slice(&[0, 0, 99, 0]),   // The body's length.
        |frame| frame[84..88].copy_from_slice(&[255; 4]),        // The same, below zero.
        |frame| frame[91] = 0xff,                                // A letter of the topic.
        |frame| frame[36..40].copy_from_slice(&[0, 0, 0, 0x30]), // Hosts of another length.
    ];
    for (number, spoil) in wrong.into_iter().enumerate() {
        let mut spoilt = plain(7);
        spoil(&mut spoilt);
        let (messages, next) = decoded(3, answer(9, &[plain(3), spoilt.clone(), plain(8)]));
        assert_eq!((offsets(&messages), next), (vec![3, 7, 8], 9), "{number}");
        assert!(reason(&messages[1]).unwrap().contains("format"), "{number}");
        assert_eq!(messages[1].body().unwrap(), spoilt, "{number}");
        assert_eq!(messages[1].property_ref(&"TAGS".into()).unwrap(), "PAID");
        assert_eq!(messages[1].topic(), "orders");
    }
}

#[test]
fn what_cannot_be_told_apart_is_not_skipped() {
    for length in [[0, 0, 0, 0], [255, 255, 255, 255], [0, 1, 0, 0]] {
        let mut torn = plain(5);
        torn[..4].copy_from_slice(&length);
        let (messages, next) = decoded(3, answer(7, &[plain(3), plain(4), torn.clone(), plain(6)]));
        assert_eq!((offsets(&messages), next), (vec![3, 4], 5), "the next request begins at it");
        let pulled = PullSorter::new("g".to_owned(), HashMap::new(), LARGEST_BODY);
        let mut answer = answer(7, &[torn, plain(6)]);
        assert_eq!(pulled.sort_out(&request(5), &mut answer), Err(FrameFault));
    }
}
