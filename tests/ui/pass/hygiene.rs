//! Names of the user's that the expansion uses itself.

use idem_rocketmq::{handlers, idempotent};

type Result = u8;
struct Option;
struct Vec;
struct Box;
struct Handler;
struct Route;
struct Extract;
struct IdempotencyKey;
struct Duration;
struct State<T>(T);

#[derive(serde::Deserialize)]
struct Order {
    payload: u64,
    call: u64,
}

#[idempotent(
    key = ("payload", "call"),
    topic = "orders",
    timeout = "5s",
    in_progress = wait("1s"),
    backoff = exponential("1s", "2s")
)]
async fn call(payload: Order, arg1: idem_rocketmq::extract::Attempt, needs: idem_rocketmq::extract::Lease) {
    let _ = (payload, arg1, needs);
}

#[idempotent(key = "call", topic = "orders")]
async fn payload(call: Order, payload: &idem_rocketmq::extract::Delivery) {
    let _ = (call, payload);
}

mod inner {
    #[idem_rocketmq::idempotent(key = "0", topic = "orders")]
    pub(super) async fn pay(_: (u64, String)) {}
}

#[test]
fn the_expansion_uses_none_of_the_names_around_it() {
    let _ = (Option, Vec, Box, Handler, Route, Extract, IdempotencyKey, Duration, State(Result::MIN).0);
    assert_eq!(handlers![call, payload, inner::pay].len(), 3);
}

#[test]
fn a_variable_may_have_the_name_of_a_handler() {
    let (payload, call) = (1, 2);
    assert_eq!(handlers![call, payload].len(), payload * call);
}

#[test]
fn a_handler_may_live_in_a_function() {
    #[derive(serde::Deserialize)]
    struct Local {
        id: u64,
    }

    #[idempotent(key = id, topic = "orders")]
    async fn local(order: Local) {
        let _ = order.id;
    }

    assert_eq!(handlers![local].len(), 1);
}
