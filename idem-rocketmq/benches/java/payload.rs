//! The payload of the messages.

use idem_rocketmq::prelude::*;

/// An order, of about 100 bytes.
#[derive(Deserialize)]
pub(crate) struct OrderPayload {
    pub(crate) order_id: String,
    pub(crate) buyer_id: u64,
    pub(crate) amount_cents: i64,
}

impl OrderPayload {
    pub(crate) fn json(number: usize, buyer: usize) -> String {
        format!(
            r#"{{"order_id":"order-{number:012}","buyer_id":{buyer},"amount_cents":{},"note":"paid by card, thank you"}}"#,
            number % 1_000
        )
    }
}
