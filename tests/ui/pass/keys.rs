//! Where keys come from.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;

use idem_rocketmq::KeyPart;
use idem_rocketmq::codec::Bytes;
use idem_rocketmq::key::DisplayKey;
use idem_rocketmq::prelude::*;

#[derive(Deserialize, IdempotencyKey)]
struct Order {
    #[idempotency_key]
    tenant: Tenant,
    #[idempotency_key]
    id: u64,
    buyer: Buyer,
}

#[derive(Deserialize, KeyPart)]
struct Tenant(String);

#[derive(KeyPart)]
struct Id<'a, T: ?Sized>(&'a T);

#[derive(Deserialize)]
struct Buyer {
    id: Option<String>,
    r#type: u8,
}

#[derive(Deserialize, IdempotencyKey)]
struct Envelope<T>(#[idempotency_key] T, #[idempotency_key] u8);

#[derive(IdempotencyKey)]
struct Borrowed<'a, T>
where
    T: ?Sized + 'a,
{
    #[idempotency_key]
    inner: &'a T,
}

#[derive(Deserialize, IdempotencyKey)]
struct Logon {
    #[idempotency_key]
    number: NonZeroU64,
    #[idempotency_key]
    device: Cow<'static, str>,
    from: IpAddr,
    by: Option<Box<u128>>,
    #[serde(skip)]
    user: Option<Arc<str>>,
    peer: SocketAddr,
}

const TOPIC: &str = "orders";

#[idempotent(topic = TOPIC)]
async fn own(_: Order) {}

#[idempotent(topic = TOPIC)]
async fn own_of_generic(_: Envelope<String>) {}

#[idempotent(key = "buyer.id", topic = "orders")]
async fn nested(_: Order) {}

#[idempotent(key = (tenant, buyer.id, "buyer.type"), topic = "orders")]
async fn composite(_: Order) {}

#[idempotent(key_with = tenant_of, topic = "orders")]
async fn computed(_: Order) {}

#[idempotent(key_with = Order::both, topic = "orders")]
async fn computed_by_method(_: Order) {}

#[idempotent(key_from = unique_key, topic = "orders")]
async fn from_the_message(_: Bytes) {}

#[idempotent(key = (from, by, user, number), topic = "logons")]
async fn many_types(_: Logon) {}

#[idempotent(key_with = peer, topic = "logons")]
async fn of_another_crate(_: Logon) {}

#[idempotent(key = "r#type", topic = "orders")]
async fn r#match(_: Buyer) {}

#[idempotent(key_with = |order| &order.tenant, topic = "orders")]
async fn computed_by_closure(_: Order) {}

#[idempotent(key_with = move |order: &Order| (order.id, order.tenant.0.len()), topic = "orders")]
async fn computed_of_parts(_: Order) {}

#[derive(Deserialize)]
struct Parcel {
    to: Option<Customer>,
}

#[derive(Deserialize)]
struct Customer {
    home: Box<Customers>,
}

#[derive(Deserialize)]
struct Customers {
    number: u32,
}

#[idempotent(key = ("to.home.number", to.home.number), topic = "parcels", order_by = to.home.number)]
async fn through_an_option(_: Parcel) {}

const fn peer(logon: &Logon) -> (DisplayKey<&SocketAddr>, NonZeroU64) {
    (DisplayKey(&logon.peer), logon.number)
}

const fn tenant_of(order: &Order) -> &Tenant {
    &order.tenant
}

impl Order {
    const fn both(&self) -> (&Tenant, u64) {
        (&self.tenant, self.id)
    }
}

#[test]
fn derived_keys_have_the_marked_fields_in_their_order() {
    let expected = IdempotencyKey::from_parts(&[&"a", &7]);
    let buyer = Buyer { id: None, r#type: 1 };
    let order = Order { tenant: Tenant("a".to_owned()), id: 7, buyer };
    assert_eq!(order.idempotency_key(), expected);
    assert_eq!((order.buyer.id, order.buyer.r#type), (None, 1));
    assert_eq!(Envelope("a", 7).idempotency_key(), expected);
    assert_eq!(IdempotencyKey::from_parts(&[&Id("a"), &Id(&7)]), expected);
    assert_eq!(Borrowed { inner: "a" }.idempotency_key(), IdempotencyKey::new("a"));
    let routes =
        handlers![own, own_of_generic, nested, composite, computed, computed_by_method, from_the_message];
    assert_eq!((routes.len(), handlers![r#match, many_types, of_another_crate].len()), (7, 3));
    assert_eq!(handlers![computed_by_closure, computed_of_parts, through_an_option].len(), 3);
}
