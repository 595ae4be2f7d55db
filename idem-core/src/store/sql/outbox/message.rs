//! A message as its row has it.

use bytes::Bytes;

use crate::key::RecordKey;
use crate::outbox::{OutboxMessage, TransactionId};
use crate::store::sql::{key, plain::StatementValue};

/// Between a property's name and value, and behind the value, as RocketMQ has it.
const NAME_END: u8 = 1;
const VALUE_END: u8 = 2;

type Text = Option<String>;
type Blob = Option<Vec<u8>>;

/// The columns of `due.sql`.
pub(in crate::store) struct MessageRow(pub(in crate::store) (Blob, Text, Text, Text, Text, Blob, Blob));

impl MessageRow {
    /// `None` where it is not as [`values`] wrote it.
    pub(super) fn message(self) -> Option<OutboxMessage> {
        let (id, topic, tag, lookup_keys, order_by, properties, body) = self.0;
        Some(OutboxMessage {
            id: TransactionId::from_bytes(id?.try_into().ok()?),
            topic: topic?,
            tag,
            lookup_keys,
            order_by,
            properties: decode(&properties?)?,
            body: Bytes::from(body?),
        })
    }
}

/// The values of `insert.sql` but for the time.
pub(super) fn values(message: &OutboxMessage, key: &RecordKey) -> Vec<StatementValue> {
    vec![
        StatementValue::bytes(message.id.to_bytes()),
        StatementValue::Bytes(Some(key::stored(key))),
        StatementValue::Text(Some(message.topic.clone())),
        StatementValue::Text(message.tag.clone()),
        StatementValue::Text(message.lookup_keys.clone()),
        StatementValue::Text(message.order_by.clone()),
        StatementValue::Bytes(Some(encode(&message.properties))),
        StatementValue::Bytes(Some(message.body.to_vec())),
    ]
}

fn encode(properties: &[(String, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in properties {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(NAME_END);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(VALUE_END);
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut all = bytes.split(|byte| *byte == VALUE_END);
    // Behind the last value is nothing.
    all.next_back().filter(|rest| rest.is_empty())?;
    all.map(|property| {
        let mut parts = property.splitn(2, |byte| *byte == NAME_END);
        let mut text = || String::from_utf8(parts.next()?.to_vec()).ok();
        Some((text()?, text()?))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_survive() {
        let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for all in [vec![], vec![property("a", "b")], vec![property("地", "b=c;"), property("d", "e f")]] {
            assert_eq!(decode(&encode(&all)), Some(all));
        }
        assert_eq!(decode(b"a"), None);
        assert_eq!(decode(b"a\x02"), None);
    }
}
