//! A start refuses mistakes and warns of doubtful settings, by their text.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- start_up::`

mod access;
mod handlers;
mod names;
mod reach;
mod refused;
mod warnings;

use std::sync::Arc;

use expect_test::Expect;
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::Store;

use crate::support::kit::Order;

/// One that would start, but for what a test breaks.
fn builder(group: &str, routes: impl IntoIterator<Item = Route>) -> Builder<Arc<dyn Store>> {
    Consumer::builder(group).name_server("127.0.0.1:9876").store(MemoryStore::new()).handlers(routes)
}

fn route(topic: &str, name: &'static str) -> Route {
    handler(topic, async |_: Order| {}).key(|order| order.id.clone()).named(name)
}

fn pay() -> Route {
    route("orders", "pay")
}

#[expect(clippy::needless_pass_by_value, reason = "a test's builder and text are used once")]
fn fails(builder: Builder<Arc<dyn Store>>, text: Expect) {
    let error = builder.check().unwrap_err();
    text.assert_eq(&format!("{error}\n"));
    assert_eq!(format!("{error}"), format!("{error:?}"), "`main` prints what a reader can read");
    assert!(error.is_misconfiguration() && !error.is_unreachable());
}

fn with(change: impl FnOnce(Route) -> Route) -> Builder<Arc<dyn Store>> {
    builder("g", [change(pay())])
}
