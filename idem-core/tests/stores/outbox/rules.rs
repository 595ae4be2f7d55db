//! The rules of the outbox on every database.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- outbox::`

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use idem_core::outbox::{BeginOutcome, Fate, Outbox, OutboxMessage};
use tokio::time::{sleep, timeout};

use crate::support::bank::SECOND;
use crate::support::shop::{Options, Shop, begin, connection, key, message, open, pay};

pub(crate) async fn marker_and_work_commit_together_or_not_at_all<S: Shop>() {
    let (shop, outbox) = open::<S>(Options::default()).await;
    let paid = pay::<S>(&outbox, "1").await;
    assert_eq!(outbox.decide(paid.id).await.unwrap(), Fate::Committed);

    let failed = message();
    let mut open = begin(&outbox, &failed, "2").await;
    S::pay(connection::<S>(&mut *open), "2").await.unwrap();
    open.rollback().await;
    assert_eq!(outbox.decide(failed.id).await.unwrap(), Fate::RolledBack);

    let dropped = message();
    let mut open = begin(&outbox, &dropped, "3").await;
    S::pay(connection::<S>(&mut *open), "3").await.unwrap();
    drop(open);
    assert_eq!(outbox.decide(dropped.id).await.unwrap(), Fate::RolledBack);
    assert_eq!(shop.paid().await, 1);
}

pub(crate) async fn what_was_decided_stays_so_and_a_late_transaction_fails_on_its_own_marker<S: Shop>() {
    let (shop, outbox) = open::<S>(Options::default()).await;
    let late = message();
    for _ in 0..2 {
        assert_eq!(outbox.decide(late.id).await.unwrap(), Fate::RolledBack);
    }
    assert!(matches!(outbox.begin(&late, &key("1")).await.unwrap(), BeginOutcome::RolledBack));
    assert_eq!(outbox.decide(late.id).await.unwrap(), Fate::RolledBack);
    let paid = pay::<S>(&outbox, "1").await;
    for _ in 0..2 {
        assert_eq!(outbox.decide(paid.id).await.unwrap(), Fate::Committed);
    }
    assert_eq!(shop.paid().await, 1);
}

pub(crate) async fn a_decision_waits_for_the_transaction_within_a_bound<S: Shop>() {
    let (shop, outbox) = open::<S>(Options::default()).await;
    let hasty = shop.outbox(Options { wait: SECOND, ..Options::default() }).await.unwrap();
    let slow = message();
    let mut open = begin(&outbox, &slow, "1").await;
    S::pay(connection::<S>(&mut *open), "1").await.unwrap();
    // Nobody knows yet, and asking decides nothing.
    assert!(hasty.decide(slow.id).await.unwrap_err().is_unavailable());
    let asking = tokio::spawn(async move { outbox.decide(slow.id).await });
    sleep(SECOND / 4).await;
    assert!(!asking.is_finished());
    open.commit().await.unwrap();
    let fate = timeout(20 * SECOND, asking).await.unwrap().unwrap().unwrap();
    assert_eq!((fate, shop.paid().await), (Fate::Committed, 1));
}

pub(crate) async fn a_key_is_committed_once_and_can_be_tried_again<S: Shop>() {
    let (shop, outbox) = open::<S>(Options::default()).await;
    let first = message();
    let open = begin(&outbox, &first, "1").await;
    open.rollback().await;
    // The broker asks for the first try only now.
    pay::<S>(&outbox, "1").await;
    assert_eq!(outbox.decide(first.id).await.unwrap(), Fate::RolledBack);
    assert!(matches!(outbox.begin(&message(), &key("1")).await.unwrap(), BeginOutcome::KeyCommitted));

    // In another topic or tag it is another key.
    let mut shipped = message();
    shipped.tag = Some("SHIPPED".to_owned());
    begin(&outbox, &shipped, "1").await.rollback().await;

    // Of two at one time, the second waits for the first one's end.
    let open = begin(&outbox, &message(), "2").await;
    let waiting = tokio::spawn({
        let outbox = Arc::clone(&outbox);
        async move { outbox.begin(&message(), &key("2")).await.unwrap() }
    });
    sleep(SECOND / 4).await;
    assert!(!waiting.is_finished());
    open.commit().await.unwrap();
    let second = timeout(20 * SECOND, waiting).await.unwrap().unwrap();
    assert!(matches!(second, BeginOutcome::KeyCommitted));
    assert_eq!(shop.paid().await, 1);
}

pub(crate) async fn work_that_ends_the_transaction_itself_is_not_confirmed<S: Shop>() {
    let (shop, outbox) = open::<S>(Options::default()).await;
    let ended = message();
    let mut open = begin(&outbox, &ended, "1").await;
    S::execute(connection::<S>(&mut *open), "ROLLBACK").await.unwrap();
    let _ = S::pay(connection::<S>(&mut *open), "behind").await;
    open.commit().await.unwrap_err();
    assert_eq!(outbox.decide(ended.id).await.unwrap(), Fate::RolledBack);

    // Committed at work, and asked for before the end: the end fails.
    let halfway = message();
    let mut open = begin(&outbox, &halfway, "2").await;
    let committed = S::execute(connection::<S>(&mut *open), "COMMIT").await;
    assert_eq!(committed.is_ok(), S::LETS_COMMIT, "SQLite refuses it");
    // Work after its end is not kept.
    let _ = S::pay(connection::<S>(&mut *open), "behind").await;
    assert_eq!(outbox.decide(halfway.id).await.unwrap(), Fate::RolledBack);
    open.commit().await.unwrap_err();
    assert_eq!(outbox.decide(halfway.id).await.unwrap(), Fate::RolledBack);
    assert!(outbox.due().await.unwrap().is_empty());
    assert_eq!(shop.paid().await, 0);
}

const AT_ONCE: Options =
    Options { table: "idem_outbox", wait: Duration::from_secs(20), resend_after: TINY, retention: TINY };
const TINY: Duration = Duration::from_millis(1);

async fn due(outbox: &Arc<dyn Outbox>) -> Vec<OutboxMessage> {
    sleep(TINY * 20).await;
    outbox.due().await.unwrap()
}

pub(crate) async fn a_committed_message_is_due_until_it_is_confirmed<S: Shop>() {
    let (shop, outbox) = open::<S>(AT_ONCE).await;
    let patient = shop.outbox(Options::default()).await.unwrap();
    begin(&outbox, &message(), "0").await.rollback().await;
    let later = pay::<S>(&patient, "1").await;
    assert!(due(&outbox).await.is_empty(), "the broker has time to confirm");
    let first = pay::<S>(&outbox, "2").await;
    assert_eq!(due(&outbox).await, std::slice::from_ref(&first));
    let mut plain = message();
    (plain.tag, plain.lookup_keys, plain.order_by) = (None, None, None);
    plain.properties.clear();
    begin(&outbox, &plain, "3").await.commit().await.unwrap();
    assert_eq!(due(&outbox).await, [first.clone(), plain.clone()]);

    patient.postpone(first.id).await.unwrap();
    assert_eq!(due(&outbox).await, std::slice::from_ref(&plain));
    for _ in 0..2 {
        patient.sent(&[plain.id, later.id, first.id]).await.unwrap();
        assert!(due(&outbox).await.is_empty());
        assert_eq!(outbox.decide(plain.id).await.unwrap(), Fate::Committed);
    }
    // More than one statement takes.
    let many: Vec<_> = (0..70).map(|_| message().id).chain([first.id]).collect();
    outbox.sent(&many).await.unwrap();
    assert!(outbox.due().await.unwrap().is_empty());
}

pub(crate) async fn only_what_is_decided_and_confirmed_is_deleted<S: Shop>() {
    let (shop, outbox) = open::<S>(AT_ONCE).await;
    let patient = shop.outbox(Options::default()).await.unwrap();
    let (open, sent, kept) =
        (pay::<S>(&outbox, "1").await, pay::<S>(&outbox, "2").await, pay::<S>(&outbox, "3").await);
    outbox.sent(&[sent.id]).await.unwrap();
    patient.sent(&[kept.id]).await.unwrap();
    for _ in 0..40 {
        outbox.decide(message().id).await.unwrap();
    }
    sleep(TINY * 20).await;
    let mut deleted = 0;
    loop {
        match outbox.purge().await.unwrap() {
            0 => break,
            some => deleted += some,
        }
    }
    assert_eq!(deleted, 41);
    assert_eq!(shop.count("SELECT count(*) FROM idem_outbox").await, 2);
    assert_eq!(due(&outbox).await, [open]);
}

pub(crate) async fn one_member_sweeps_at_a_time<S: Shop>() {
    let (shop, one) = open::<S>(Options::default()).await;
    let two = shop.outbox(Options::default()).await.unwrap();
    let lease = SECOND / 2;
    assert!(one.lead([1; 16], lease).await.unwrap());
    assert!(!two.lead([2; 16], lease).await.unwrap());
    assert!(one.lead([1; 16], lease).await.unwrap());
    let begun = Instant::now();
    while !two.lead([2; 16], 20 * SECOND).await.unwrap() {
        assert!(begun.elapsed() < 20 * SECOND);
        sleep(SECOND / 20).await;
    }
    assert!(!one.lead([1; 16], lease).await.unwrap());
}

pub(crate) async fn an_outbox_belongs_to_one_producer_group<S: Shop>() {
    let (shop, outbox) = open::<S>(Options::default()).await;
    for _ in 0..2 {
        outbox.own("shop").await.unwrap();
    }
    let error = outbox.own("other").await.unwrap_err();
    assert!(error.is_config(), "{error}");
    let text = error.to_string();
    assert!(text.contains("`shop`") && text.contains("`other`") && text.contains(".table("), "{text}");
    shop.migrate("others").await.unwrap();
    let of_others = shop.outbox(Options { table: "others", ..Options::default() }).await.unwrap();
    of_others.own("other").await.unwrap();
}

pub(crate) async fn tables_that_do_not_fit_are_errors_that_say_what_to_do<S: Shop>() {
    let (shop, _) = open::<S>(Options::default()).await;
    shop.migrate("idem_outbox").await.unwrap();
    for (version, remedy) in [(0, ".migrate()"), (99, "upgrade this process")] {
        shop.run(&format!("UPDATE idem_outbox_meta SET value = {version} WHERE name = 'schema'")).await;
        let error = shop.outbox(Options::default()).await.err().unwrap();
        assert!(error.is_config() && error.to_string().contains(remedy), "{error}");
        assert!(error.to_string().contains("idem_outbox"), "{error}");
    }
}

pub(crate) async fn names_and_times_that_are_refused<S: Shop>() {
    let (shop, _) = open::<S>(Options::default()).await;
    for table in [r#"x"; drop table payments; --"#, "", "`x`", "a.b"] {
        let error = shop.outbox(Options { table, ..Options::default() }).await.err().unwrap();
        assert!(error.is_config() && error.to_string().contains("refused"), "{error}");
        assert!(shop.migrate(table).await.unwrap_err().is_config());
    }
    let never = Options { resend_after: Duration::ZERO, ..Options::default() };
    let error = shop.outbox(never).await.err().unwrap();
    assert!(error.to_string().contains("`resend_after`"), "{error}");
    let forgets = Options { retention: SECOND, ..Options::default() };
    let error = shop.outbox(forgets).await.err().unwrap();
    assert!(error.to_string().contains("`retention`"), "{error}");
    // A name that is odd, and taken as it is.
    shop.migrate("idem_records-2").await.unwrap();
    let odd = shop.outbox(Options { table: "idem_records-2", ..Options::default() }).await.unwrap();
    pay::<S>(&odd, "1").await;
}

pub(crate) async fn long_keys_and_large_messages_are_kept<S: Shop>() {
    let (_shop, outbox) = open::<S>(AT_ONCE).await;
    let mut large = message();
    large.body = Bytes::from(vec![7; 4 << 20]);
    large.properties = vec![("p".to_owned(), "é".repeat(16_000))];
    let long = "k".repeat(1_000);
    begin(&outbox, &large, &long).await.commit().await.unwrap();
    let other = format!("{}x", &long[1..]);
    begin(&outbox, &message(), &other).await.rollback().await;
    assert!(matches!(outbox.begin(&message(), &key(&long)).await.unwrap(), BeginOutcome::KeyCommitted));
    assert!(due(&outbox).await == [large], "a large message has changed");
}

pub(crate) async fn a_probe_leaves_nothing_behind<S: Shop>() {
    let (shop, _outbox) = open::<S>(Options::default()).await;
    assert_eq!(shop.count("SELECT count(*) FROM idem_outbox").await, 0);
}
