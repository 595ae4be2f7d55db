//! Messages that no producer of idem makes: compressed in every way, with wrong flags, with properties that are not text, and
//! in topics of batches. Whatever one of them holds, its neighbours are handled.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::foreign::`

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use idem_rocketmq::Backoff;
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Order, Runs, SOON, why};
use crate::support::place::{Place, on_both};
use crate::support::servers;

const ZLIB: u32 = 0x301;
const OLD_ZLIB: u32 = 0x001;
const LZ4: u32 = 0x101;
const ZSTD: u32 = 0x201;

fn body(id: &str) -> Vec<u8> {
    format!(r#"{{"id":"{id}","text":"{}"}}"#, "idem ".repeat(2_000)).into_bytes()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// As Apache's client does it.
fn lz4_frame(plain: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}

fn send(place: &Place, sys_flag: u32, case: &str, body: &[u8]) {
    servers::send_flagged(place.name_server(), &place.topic, sys_flag, &[("case", case)], body).unwrap();
}

on_both! {
    async fn whatever_a_body_is_compressed_by_its_neighbours_and_itself_are_handled(place: Plain of 1) {
        send(&place, 0, "plain", &body("plain"));
        send(&place, LZ4, "lz4 frame", &lz4_frame(&body("lz4 frame")));
        send(&place, OLD_ZLIB, "lies", &body("lies"));
        send(&place, OLD_ZLIB, "old zlib", &zlib(&body("old zlib")));
        send(&place, ZSTD, "zstd", &zstd(&body("zstd")));
        let whole = zlib(&body("cut"));
        send(&place, ZLIB, "cut", &whole[..whole.len() / 2]);
        send(&place, 0x701, "unknown", &body("unknown"));
        send(&place, LZ4, "lz4 block", &lz4_flex::block::compress_prepend_size(&body("lz4 block")));
        send(&place, ZSTD, "grows", &zstd(&vec![b' '; 2 << 20]));
        send(&place, ZLIB, "last", &zlib(&body("last")));
        let runs = Runs::default();
        let member = place.member(&MemoryStore::new(), [kit::counting(&place.topic, &runs)]);
        let consumer = member.largest_body(1 << 20).start().await.unwrap();

        runs.until_total(6, SOON).await;
        let letters = place.until_dead_letters(4).await;
        place.until_acked().await;
        consumer.shutdown().await;
        for id in ["plain", "lz4 frame", "old zlib", "zstd", "lz4 block", "last"] {
            assert_eq!(runs.of(id), 1, "{id}");
        }
        for (case, part) in [("lies", "no zlib"), ("cut", "no zlib"), ("unknown", "kind 7"), ("grows", "larger than 1048576 bytes")] {
            let letter = letters.iter().find(|letter| letter.property("case") == Some(case)).unwrap();
            let (outcome, attempts, reason) = why(letter);
            assert_eq!((outcome, attempts), ("undecodable", "1"), "{case}");
            assert!(reason.contains(part), "{case}: {reason}");
        }
        let of = |case: &str| letters.iter().find(|letter| letter.property("case") == Some(case)).unwrap();
        assert_eq!(of("lies").body, body("lies"));
        assert_eq!(of("cut").body, whole[..whole.len() / 2], "what there is of it");
    }

    async fn a_copy_of_a_compressed_message_is_read_by_whoever_comes_next(place: Plain of 1) {
        let all = [("lz4", LZ4, lz4_frame(&body("lz4"))), ("zstd", ZSTD, zstd(&body("zstd"))), ("zlib", ZLIB, zlib(&body("zlib")))];
        for (case, flag, body) in &all {
            send(&place, *flag, case, body);
        }
        let runs = Runs::default();
        let seen = runs.clone();
        let route = handler(&place.topic, move |order: Order| {
            seen.add(&order.id);
            async { Err::<(), _>("never") }
        });
        let route = route.key(|order| order.id.clone()).max_attempts(3).backoff(kit::secondly());
        let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        let letters = place.until_dead_letters(3).await;
        consumer.shutdown().await;
        for (case, ..) in all {
            assert_eq!(runs.of(case), 3, "{case}");
            let letter = letters.iter().find(|letter| letter.property("case") == Some(case)).unwrap();
            assert_eq!(letter.body, body(case));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_that_are_no_text_make_a_dead_letter_and_their_neighbours_are_handled() {
    let place = Place::plain(1).await;
    let small = |id: &str| format!(r#"{{"id":"{id}"}}"#).into_bytes();
    let (first, wrong, name, last) = (small("first"), small("wrong"), small("name"), small("last"));
    let messages: [(&[u8], &[u8]); 4] = [
        (&first, b"colour\x01blue\x02"),
        (&wrong, b"KEYS\x01k\x02colour\x01\xc0\xff\x02"),
        (&name, b"\xff\x01blue\x02"),
        (&last, b""),
    ];
    servers::send_batch(place.name_server(), &place.topic, &messages);
    let runs = Runs::default();
    let consumer =
        place.member(&MemoryStore::new(), [kit::counting(&place.topic, &runs)]).start().await.unwrap();
    runs.until_total(2, SOON).await;
    let letters = place.until_dead_letters(2).await;
    place.until_acked().await;
    consumer.shutdown().await;
    assert_eq!((runs.of("first"), runs.of("last")), (1, 1));
    let reason = |body: &[u8]| why(letters.iter().find(|letter| letter.body == body).unwrap()).2;
    assert_eq!(reason(&wrong), "the property `colour` is not UTF-8");
    assert_eq!(reason(&name), "the name of a property is not UTF-8");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_topic_of_batches_is_handled_in_its_order() {
    const BATCHES: usize = 5;
    const EACH: usize = 7;
    let place = Place::without_topic().await;
    servers::create_batch_topic(place.name_server(), &place.topic);
    let ids: Vec<_> = (0..BATCHES * EACH).map(|number| number.to_string()).collect();
    let bodies: Vec<_> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#).into_bytes()).collect();
    let sent = || {
        for batch in bodies.chunks(EACH) {
            let messages: Vec<_> = batch.iter().map(|body| (&**body, &b"TAGS\x01PAID\x02"[..])).collect();
            servers::send_batch(place.name_server(), &place.topic, &messages);
        }
    };
    sent();
    let seen = Arc::<Mutex<Vec<(String, u64, u32)>>>::default();
    let log = seen.clone();
    let route = handler(&place.topic, move |order: Order, delivery: Arc<Delivery>, attempt: Attempt| {
        log.lock().unwrap().push((order.id.clone(), delivery.offset(), attempt.number()));
        async move { if order.id == "10" && attempt.number() == 1 { Err("once more") } else { Ok(()) } }
    });
    let route = route
        .key(|order| order.id.clone())
        .orderly()
        .backoff(Backoff::fixed(std::time::Duration::from_millis(200)));
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    kit::until_equal("runs", BATCHES * EACH + 1, SOON, async || seen.lock().unwrap().len()).await;
    place.until_acked().await;
    consumer.shutdown().await;
    let seen = seen.lock().unwrap().clone();
    let mut wanted: Vec<_> = (0..35).map(|number| (number.to_string(), number, 1)).collect();
    wanted.insert(11, ("10".to_owned(), 10, 2));
    assert_eq!(seen, wanted);
}
