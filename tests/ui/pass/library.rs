//! Payloads, codecs and extractors of a library's own; handlers without a macro.

use idem_rocketmq::codec::Bytes;
use idem_rocketmq::codec::DecodeError;
use idem_rocketmq::codec::{Codec, Payload, Text};
use idem_rocketmq::extract::Extract;
use idem_rocketmq::extract::{Call, ExtractError, Needs};
use idem_rocketmq::handler::{KeySource, handler_with};
use idem_rocketmq::prelude::*;

struct Amount(u64);

#[derive(Default)]
struct BigEndian;

impl Codec<Amount> for BigEndian {
    fn decode(&self, body: &Bytes) -> Result<Amount, DecodeError> {
        let bytes = body.as_ref().try_into().map_err(|_| DecodeError::new("not 8 bytes"))?;
        Ok(Amount(u64::from_be_bytes(bytes)))
    }
}

impl Payload for Amount {
    type Codec = BigEndian;
}

struct Tenant(String);

impl Extract<'_> for Tenant {
    fn needs(needs: &mut Needs) {
        needs.state::<Vec<String>>();
    }

    async fn extract(call: &mut Call<'_>) -> Result<Self, ExtractError> {
        let known = call.state::<Vec<String>>()?;
        let tenant = call.delivery().property("tenant").unwrap_or_default().to_owned();
        if known.contains(&tenant) { Ok(Self(tenant)) } else { Err(ExtractError::new("no such tenant")) }
    }
}

struct Body<'d>(&'d [u8]);

impl<'d> Extract<'d> for Body<'d> {
    fn needs(_: &mut Needs) {}

    async fn extract(call: &mut Call<'d>) -> Result<Self, ExtractError> {
        Ok(Self(call.delivery().body()))
    }
}

#[idempotent(key = "0", topic = "amounts")]
async fn add(amount: Amount, Tenant(tenant): Tenant, body: Body<'_>) {
    println!("{} {tenant} {}", amount.0, body.0.len());
}

#[idempotent(key = "0", topic = "amounts", codec = BigEndian)]
async fn add_with(amount: Amount) {
    println!("{}", amount.0);
}

async fn function(amount: Amount, _: Tenant) -> HandlerResult {
    println!("{}", amount.0);
    Ok(())
}

#[test]
fn a_library_extends_handlers_without_the_attribute() {
    let mut routes = handlers![add, add_with];
    routes.push(handler_with("amounts", BigEndian, function).key(|amount| amount.0));
    let closure = |text: String, _: Attempt| async move { println!("{text}") };
    routes.push(handler_with("texts", Text, closure).key_from(KeySource::property("id")).tag("A"));
    assert!(routes.iter().all(|route| route.check().is_ok()));
}
