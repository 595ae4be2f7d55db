use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use idem_core::{Disposition, KeyError, Lease};

use super::{CallContext, Prepared};
use crate::codec::{Bytes, Codec, Json, Raw};
use crate::extract::{Call, Extract, ExtractError, Needs};
use crate::handler::{BoxFuture, Handler, KeySource, handler_with};
use crate::prelude::*;
use crate::state::States;

#[derive(Clone, Default)]
struct Gmv(Arc<AtomicI64>);

#[derive(Deserialize, IdempotencyKey)]
struct OrderPaid {
    #[idempotency_key]
    order_id: String,
    amount: i64,
    buyer: Option<Buyer>,
}

#[derive(Deserialize)]
struct Buyer {
    #[serde(rename = "id")]
    r#type: u64,
}

fn order() -> crate::extract::DeliveryBuilder {
    Delivery::builder("orders").tag("PAID").keys("k-1").body(r#"{"order_id":"o-7","amount":5}"#)
}

fn states(gmv: &Gmv) -> States {
    let mut states = States::default();
    states.insert(gmv.clone());
    states
}

fn prepare(route: &Route, delivery: Delivery) -> Prepared {
    route.handler().prepare(&Arc::new(delivery), false).unwrap()
}

fn key(route: &Route, delivery: Delivery) -> Result<IdempotencyKey, KeyError> {
    prepare(route, delivery).key
}

async fn run(route: &Route, delivery: Delivery, states: States) -> HandlerResult {
    let delivery = Arc::new(delivery);
    let context = CallContext {
        delivery: Arc::clone(&delivery),
        states: Arc::new(states),
        lease: Lease::detached(),
        attempt: Attempt::new(2, 16),
        transaction: None,
    };
    route.handler().prepare(&delivery, false).unwrap().run.call(context).await
}

fn only<const N: usize>(routes: Vec<Route>) -> [Route; N] {
    routes.try_into().unwrap()
}

#[tokio::test]
async fn an_annotated_function_gets_its_payload_and_state() {
    #[idempotent(key = "order_id", topic = "orders", tag = "PAID")]
    async fn add_gmv(order: OrderPaid, State(gmv): State<Gmv>) -> HandlerResult {
        gmv.0.fetch_add(order.amount, Ordering::Relaxed);
        Ok(())
    }

    let [route] = only(handlers![add_gmv]);
    let gmv = Gmv::default();
    run(&route, order().build(), states(&gmv)).await.unwrap();
    assert_eq!(gmv.0.load(Ordering::Relaxed), 5);
    assert_eq!(key(&route, order().build()), IdempotencyKey::new("o-7"));
    assert!(route.name().ends_with("handler::tests::add_gmv"), "{}", route.name());
    assert_eq!((route.topic(), route.tag_set().iter().eq(["PAID"])), ("orders", true));
}

#[tokio::test]
async fn every_extractor_gives_what_it_says() {
    #[idempotent(key = order_id, topic = "orders")]
    async fn all(
        _: OrderPaid,
        borrowed: &Delivery,
        shared: Arc<Delivery>,
        attempt: Attempt,
        lease: Lease,
        key: IdempotencyKey,
        maybe_key: Option<IdempotencyKey>,
    ) -> Result<(), Reject> {
        assert_eq!((borrowed.tag(), shared.keys()), (Some("PAID"), Some("k-1")));
        assert_eq!((attempt.number(), attempt.max(), attempt.is_last()), (2, 16, false));
        assert!(!lease.is_lost());
        assert_eq!(Some(&key), maybe_key.as_ref());
        assert_eq!(Ok(key), IdempotencyKey::new("o-7"));
        Err(Reject::new("all seen"))
    }

    let [route] = only(handlers![all]);
    let error = run(&route, order().build(), States::default()).await.unwrap_err();
    assert_eq!((error.disposition(), error.to_string()), (Disposition::Reject, "all seen".to_owned()));
}

#[tokio::test]
async fn functions_closures_and_types_are_handlers_without_a_macro() {
    struct ByHand;
    impl Handler<OrderPaid> for ByHand {
        fn needs(&self, needs: &mut Needs) {
            needs.state::<Gmv>();
        }

        fn call<'d>(&'d self, order: OrderPaid, call: Call<'d>) -> BoxFuture<'d, HandlerResult> {
            Box::pin(async move {
                call.state::<Gmv>()?.0.fetch_add(order.amount, Ordering::Relaxed);
                Ok(())
            })
        }
    }
    async fn function(order: OrderPaid, State(gmv): State<Gmv>, _: Attempt) -> anyhow::Result<()> {
        gmv.0.fetch_add(order.amount, Ordering::Relaxed);
        Ok(())
    }
    let routes = [
        handler("orders", ByHand).key(OrderPaid::idempotency_key),
        handler("orders", function).key(|order| order.order_id.clone()),
        handler("orders", |order: OrderPaid, State(gmv): State<Gmv>| async move {
            gmv.0.fetch_add(order.amount, Ordering::Relaxed);
        })
        .key(|order| IdempotencyKey::new(&order.order_id)),
    ];
    let gmv = Gmv::default();
    for route in &routes {
        run(route, order().build(), states(&gmv)).await.unwrap();
        assert_eq!(key(route, order().build()), IdempotencyKey::new("o-7"));
        let missing = States::default().check([route]).unwrap_err().to_string();
        assert!(missing.contains(&format!("`{}` takes", route.name())), "{missing}");
        states(&gmv).check([route]).unwrap();
    }
    assert_eq!(gmv.0.load(Ordering::Relaxed), 15);
    assert!(routes[1].name().ends_with("::function"), "{}", routes[1].name());
}

#[test]
fn a_missing_state_is_named_with_its_handler_and_what_there_is() {
    #[idempotent(key = order_id, topic = "orders")]
    async fn add_gmv(_: OrderPaid, _: Attempt, _: State<Gmv>) {}

    let routes = handlers![add_gmv];
    let mut states = States::default();
    let missing = states.check(&routes).unwrap_err().to_string();
    assert!(missing.contains("::add_gmv` takes `State<") && missing.contains("tests::Gmv>`"), "{missing}");
    assert!(missing.contains("the consumer has no state"), "{missing}");
    states.insert(7_u8);
    let missing = states.check(&routes).unwrap_err().to_string();
    assert!(missing.contains("has only `u8`"), "{missing}");
    states.insert(Gmv::default());
    assert_eq!(states.check(&routes), Ok(()));
}

#[tokio::test]
async fn a_users_extractor_is_checked_at_start_up_and_its_failure_is_the_handlers() {
    struct Tenant(String);
    impl Extract<'_> for Tenant {
        fn needs(needs: &mut Needs) {
            needs.state::<Gmv>();
        }

        async fn extract(call: &mut Call<'_>) -> Result<Self, ExtractError> {
            call.state::<Gmv>()?;
            let tenant = call.delivery().property("tenant").map(str::to_owned);
            tenant.map(Tenant).ok_or_else(|| ExtractError::new(Reject::new("no tenant")))
        }
    }
    #[idempotent(key = order_id, topic = "orders")]
    async fn pay(_: OrderPaid, Tenant(tenant): Tenant) {
        assert_eq!(tenant, "a");
    }

    let [route] = only(handlers![pay]);
    assert!(States::default().check([&route]).is_err());
    let gmv = Gmv::default();
    run(&route, order().property("tenant", "a").build(), states(&gmv)).await.unwrap();
    let error = run(&route, order().build(), states(&gmv)).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Reject);
    let error = run(&route, order().property("tenant", "a").build(), States::default()).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry(None));
    assert!(error.to_string().contains("has no state"), "{error}");
}

#[test]
fn keys_come_from_fields_functions_messages_and_the_payload() {
    #[idempotent(key = ("order_id", "amount"), topic = "orders")]
    async fn composite(_: OrderPaid) {}
    #[idempotent(key_with = prefix, topic = "orders")]
    async fn computed(_: OrderPaid) {}
    #[idempotent(key_from = message_keys, topic = "orders")]
    async fn message_keys(_: OrderPaid) {}
    #[idempotent(key_from = property("tenant"), topic = "orders")]
    async fn property(_: OrderPaid) {}
    #[idempotent(topic = "orders")]
    async fn own(_: OrderPaid) {}
    #[idempotent(key = "type", topic = "orders")]
    async fn keyword(_: Buyer) {}
    fn prefix(order: &OrderPaid) -> &str {
        assert!(order.buyer.is_none());
        &order.order_id[..1]
    }

    let routes = handlers![composite, computed, message_keys, property, own, keyword];
    let delivery = || order().property("tenant", "a");
    let keys: Vec<_> = routes[..5].iter().map(|route| key(route, delivery().build())).collect();
    let expected = ["o", "k-1", "a", "o-7"].map(IdempotencyKey::new);
    assert_eq!(keys[0], IdempotencyKey::from_parts(&[&"o-7", &5]));
    assert_eq!(keys[1..], expected);
    let delivery = Delivery::builder("orders").body(r#"{"id":9}"#).build();
    assert_eq!(key(&routes[5], delivery), IdempotencyKey::new(9));
    let none = Delivery::builder("orders").body(r#"{"order_id":"","amount":5}"#);
    assert_eq!(key(&routes[2], none.clone().build()), Err(KeyError::Missing { part: 1 }));
    assert_eq!(
        key(&routes[3], none.clone().property("tenant", "").build()),
        Err(KeyError::Empty { part: 1 })
    );
    assert_eq!(key(&routes[4], none.build()), Err(KeyError::Empty { part: 1 }));
}

#[test]
fn a_unique_key_is_joined_with_a_digest_of_the_body() {
    let route = handler_with("orders", Raw, |_: Bytes| async {}).key_from(KeySource::UniqueKey);
    let key = |unique: &str, body: &'static str| key(&route, order().unique_key(unique).body(body).build());
    assert_eq!(key("u", "a"), key("u", "a"));
    assert_ne!(key("u", "a"), key("u", "b"));
    assert_ne!(key("u", "a"), key("v", "a"));
    assert_eq!(self::key(&route, order().build()), Err(KeyError::Missing { part: 1 }));
}

#[test]
fn panics_of_codecs_and_key_functions_are_this_messages_error() {
    fn error(route: &Route) -> String {
        route.handler().prepare(&Arc::new(order().build()), false).unwrap_err().to_string()
    }
    struct BrokenCodec;
    impl Codec<u8> for BrokenCodec {
        fn decode(&self, _: &Bytes) -> Result<u8, crate::codec::DecodeError> {
            panic!("secret")
        }
    }
    struct PanickingFingerprint;
    impl Codec<u8> for PanickingFingerprint {
        fn decode(&self, _: &Bytes) -> Result<u8, crate::codec::DecodeError> {
            Ok(1)
        }

        fn fingerprint(&self, _: &Bytes) -> crate::codec::Fingerprint {
            panic!("secret")
        }
    }
    let route = handler_with("orders", BrokenCodec, |_: u8| async {}).key(|n| *n);
    assert_eq!(error(&route), "the codec panicked");
    let route = handler_with("orders", PanickingFingerprint, |_: u8| async {}).key(|n| *n);
    let compared = |compares| route.handler().prepare(&Arc::new(order().build()), compares);
    assert!(compared(false).is_ok());
    assert_eq!(compared(true).unwrap_err().to_string(), "the codec panicked over the payload's fingerprint");
    let key = |order: &OrderPaid| -> u64 { order.buyer.as_ref().unwrap().r#type };
    let route = handler("orders", |_: OrderPaid| async {}).key(key);
    assert_eq!(error(&route), "the function that computes the key panicked");
    let route = handler("orders", |_: Buyer| async {}).key(|buyer| buyer.r#type);
    assert!(error(&route).starts_with("the JSON does not fit the payload's type"));
}

#[test]
fn options_become_tags_scope_and_settings() {
    const TOPIC: &str = "orders";
    #[idempotent(
        key = "order_id",
        topic = TOPIC,
        tags = ["B", "A"],
        scope = "gmv",
        shared_scope,
        retention = "5d",
        lease = "1m30s",
        timeout = "10m",
        concurrency = 8,
        max_attempts = 3,
        backoff = ["1s", "5s"],
        in_progress = wait("2s"),
        store_failure = open,
        undecodable = retry,
        missing_key = run,
        fingerprint,
        codec = Json
    )]
    async fn pay(_: OrderPaid) {}

    let [route] = only(handlers![pay]);
    assert!(route.tag_set().iter().eq(["A", "B"]));
    assert_eq!((route.explicit_scope(), route.shares_scope()), (Some("gmv"), true));
    let policy = route.own_settings().resolve().unwrap();
    assert_eq!((policy.lease, policy.timeout), (Duration::from_secs(90), Duration::from_mins(10)));
    assert_eq!((policy.retention, policy.concurrency), (Duration::from_hours(120), 8));
    assert_eq!((policy.max_attempts, policy.backoff.after(9)), (3, Duration::from_secs(5)));
    assert_eq!(policy.in_progress, crate::settings::InProgress::Wait(Duration::from_secs(2)));
    assert_eq!(policy.store_failure, crate::settings::StoreFailure::Open);
    assert_eq!(policy.undecodable, crate::settings::Undecodable::Retry);
    assert_eq!(policy.missing_key, crate::settings::MissingKey::RunWithoutDedup);
    assert_eq!(policy.fingerprint, crate::settings::FingerprintMismatch::DeadLetter);
}

#[test]
fn routes_and_runs_move_between_threads() {
    fn is_send_and_sync<T: Send + Sync>() {}
    fn is_send<T: Send>() {}
    is_send_and_sync::<Route>();
    is_send_and_sync::<States>();
    is_send_and_sync::<Delivery>();
    is_send::<Prepared>();
}

#[test]
fn topics_tags_and_scopes_that_rocketmq_would_not_take_are_errors() {
    let route = |topic: &str| handler(topic, |_: OrderPaid| async {}).key(|order| order.amount);
    assert_eq!(route("orders").tag("A").tags(["B"]).scope("s").check(), Ok(()));
    for topic in ["", "a.b", "a b", &"x".repeat(128)] {
        assert!(route(topic).check().is_err(), "{topic}");
    }
    for tag in ["", "*", "A||B", " A"] {
        let error = route("orders").tag(tag).check().unwrap_err();
        assert!(error.to_string().contains("the tag"), "{error}");
    }
    assert!(route("orders").scope("").check().is_err());
}
