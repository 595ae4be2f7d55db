use std::time::Duration;

use idem_core::{MemoryStore, Settings};

use super::*;
use crate::extract::State;
use crate::{Consumer, handler};

fn route(topic: &str) -> Route {
    handler(topic, async |_: u32| {}).key(|number| *number)
}

fn plan(routes: impl IntoIterator<Item = Route>) -> Plan {
    let builder = Consumer::builder("g").store(MemoryStore::new()).instance_name("one");
    builder.handlers(routes).plan_without_broker().unwrap().0
}

#[test]
fn a_topics_subscription_has_the_tags_of_all_its_handlers() {
    let plan = plan([
        route("b").tags(["PAID", "DUE"]).named("first"),
        route("a").filter("amount > 1").named("filtered"),
        route("b").tag("CUT").named("second"),
        route("c").named("all"),
    ]);
    let wanted = plan.subscriptions.iter().map(|(topic, expression)| match expression {
        Expression::Tags(tags) => format!("{topic}: {tags}"),
        Expression::Sql(condition) => format!("{topic}? {condition}"),
    });
    assert_eq!(wanted.collect::<Vec<_>>(), ["a? amount > 1", "b: CUT||DUE||PAID", "c: *"]);
}

#[test]
fn a_handler_says_more_than_its_consumer_and_that_more_than_idem() {
    let defaults = Settings::new().concurrency(7).timeout(Duration::from_secs(9));
    let builder = Consumer::builder("g").store(MemoryStore::new()).defaults(defaults);
    let builder = builder.handlers([route("a").concurrency(3)]);
    let policy = builder.plan_without_broker().unwrap().0.handlers.remove(0).policy;
    assert_eq!((policy.concurrency, policy.timeout), (3, Duration::from_secs(9)));
    assert_eq!(policy.retention, Policy::default().retention);
}

#[test]
fn an_instance_has_records_of_its_own_in_broadcasting_only() {
    assert_eq!(plan([route("a")]).identity.instance, None);
    assert_eq!(plan([route("a").orderly()]).identity.instance, None);
    let plan = plan([route("a").broadcast()]);
    assert_eq!((plan.mode, plan.identity.instance.as_deref()), (Mode::Broadcast, Some("one")));
}

#[test]
fn all_missing_states_are_named_at_once() {
    let both = handler("a", async |_: u32, _: State<u8>, _: State<u16>, _: State<u8>| {});
    let one = handler("b", async |_: u32, _: State<u16>, _: State<u32>| {});
    let routes = [both.key(|number| *number).named("both"), one.key(|number| *number).named("one")];
    let builder = Consumer::builder("g").store(MemoryStore::new()).state(7_u32).handlers(routes);
    let error = builder.plan_without_broker().err().unwrap();
    assert_eq!(
        error.to_string(),
        "the handler `both` takes `State<u8>`, the handlers `both` and `one` take `State<u16>`, and the consumer has only `u32`: \
         give it each of them with `.state(..)` on the consumer's builder"
    );
}

#[test]
fn a_cluster_says_where_the_brokers_are_and_a_later_call_what_differs_here() {
    let cluster = Cluster::at("a:1").namespace("ns").instance_name("all");
    let builder = Consumer::builder("g").store(MemoryStore::new()).handlers([route("a")]);
    let builder = builder.instance_name("earlier").cluster(cluster).name_server("b:2").instance_name("one");
    let plan = builder.setup.resolve(&MemoryStore::new()).unwrap();
    assert_eq!(plan.cluster.name_servers, ["a:1", "b:2"]);
    assert_eq!(plan.cluster.instance_name.as_deref(), Some("one"));
    assert_eq!(plan.identity.deployment, "ns");
}

#[test]
fn placeholders_of_a_route_are_filled_in_with_the_consumers_values() {
    let route = |topic: &str| route(topic).tag("${tag:PAID}").scope("${orders}-gmv").named("pay");
    let builder = Consumer::builder("g").store(MemoryStore::new()).value("orders", "shop-orders");
    let plan = builder.handlers([route("${orders}"), route("others").scope("x").tag("${orders}")]);
    let plan = plan.plan_without_broker().unwrap().0;
    let [first, second] = [0, 1].map(|handler| &plan.handlers[handler].route);
    assert_eq!((first.topic(), first.explicit_scope()), ("shop-orders", Some("shop-orders-gmv")));
    assert!(first.tag_set().iter().eq(["PAID"]));
    assert!(second.tag_set().iter().eq(["PAID", "shop-orders"]));

    let fault = |topic: &str| {
        let builder = Consumer::builder("g").store(MemoryStore::new()).value("orders", "a b").value("eu", "");
        builder.handlers([route(topic)]).plan_without_broker().err().unwrap().to_string()
    };
    assert_eq!(
        fault("${order}"),
        "the topic of the handler `pay` has `${order}`, and the consumer has only values for `eu`, `orders`: give it one with \
         `.value(\"order\", ..)` on its builder, or write a default, as in `topic = \"${order:default}\"`"
    );
    assert_eq!(
        fault("${orders"),
        "the topic of the handler `pay` has a `${` without its `}`: write `${name}`"
    );
    assert!(fault("${orders}").contains("the topic `a b`"), "what was filled in is checked like any other");
}
