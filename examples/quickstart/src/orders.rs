//! The orders, with duplicates among them.

use idem_rocketmq::embedded::Outgoing;
use idem_rocketmq::prelude::Deserialize;

/// Messages to send, and what is right when they are handled.
pub(crate) struct Orders {
    pub(crate) count: usize,
    pub(crate) messages: Vec<Outgoing>,
    pub(crate) gmv_cents: i64,
}

#[derive(Deserialize)]
struct Amount {
    amount_cents: i64,
}

/// The amount of a message's payload; 0 where it is none.
pub(crate) fn amount_of(body: &[u8]) -> i64 {
    serde_json::from_slice(body).map_or(0, |amount: Amount| amount.amount_cents)
}

impl Orders {
    /// `count` orders: every third is sent twice, every tenth three times, every twentieth is paid by card. The
    /// duplicates come right behind, a little later, or at the end. One message does not decode.
    pub(crate) fn make(count: usize) -> Self {
        let (mut messages, mut late, mut gmv_cents) = (Vec::new(), Vec::new(), 0);
        for number in 0..count {
            let (message, cents) = order(number);
            gmv_cents += cents;
            messages.push(message.clone());
            if number % 3 == 0 {
                messages.push(message.clone());
            }
            if number % 10 == 0 {
                late.extend([message.clone(), message]);
            }
        }
        messages.push(Outgoing::new("orders", "this is no JSON").tag("PAID"));
        messages.extend(late);
        Self { count, messages, gmv_cents }
    }
}

fn order(number: usize) -> (Outgoing, i64) {
    let cents = i64::try_from(number * 7 % 500).unwrap_or_default() + 100;
    let body = format!(r#"{{"order_id":"order-{number}","amount_cents":{cents}}}"#);
    let tag = if number % 20 == 7 { "CARD" } else { "PAID" };
    (Outgoing::new("orders", body).tag(tag), cents)
}
