//! From a message to what the client is given.

use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::key::{self, PRODUCER_KEY, TRANSACTION};
use super::message::{OutgoingMessage, When};
use crate::client::{Delay, WireMessage};

impl OutgoingMessage {
    /// For a message that has been checked.
    pub(super) fn into_wire(self) -> WireMessage {
        WireMessage {
            properties: self.all_properties(),
            delay: delay(self.when),
            order: self.order_by.as_deref().map(java_hash),
            body: self.body.unwrap_or_else(|_| Bytes::new()),
            topic: self.topic,
        }
    }

    /// The properties with tag, Keys and the idempotency key, but for a delay.
    pub(super) fn all_properties(&self) -> Vec<(String, String)> {
        let mut all = self.properties.clone();
        let mut put = |name: &str, value: String| all.push((name.to_owned(), value));
        if let Some(tag) = &self.tag {
            put("TAGS", tag.clone());
        }
        if let Ok(key) = &self.key {
            let mut keys = key::lookup(key);
            keys.extend(self.lookup_keys.iter().cloned());
            put("KEYS", keys.join(" "));
            put(PRODUCER_KEY, key::encode(key));
        }
        if let Some(id) = self.transaction {
            put(TRANSACTION, id.to_string());
        }
        all
    }
}

fn delay(when: When) -> Option<Delay> {
    match when {
        When::Now => None,
        When::After(delay) => Some(Delay::For(delay)),
        When::At(time) => {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            Some(Delay::Until(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
        }
    }
}

/// `String.hashCode` of Java.
pub(super) fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_hash_is_that_of_java() {
        for (text, hash) in [("", 0), ("a", 97), ("hello", 99_162_322), ("polygenelubricants", i32::MIN)] {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn tag_keys_and_idempotency_key_become_properties() {
        let message = OutgoingMessage::new("t", ("a", 7), "b").tag("T").lookup_key("more").property("p", "v");
        let properties = message.all_properties();
        let property =
            |name: &str| properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(property("TAGS"), Some("T"));
        assert_eq!(property("KEYS"), Some("a 7 more"));
        assert_eq!(property("IDEM_PRODUCER_KEY"), Some("1:a,1:7,"));
        assert_eq!(property("p"), Some("v"));
    }

    #[test]
    fn a_delay_is_from_now_or_until_a_time() {
        let after = OutgoingMessage::new("t", 7, "b").after(Duration::from_secs(3));
        assert_eq!(after.into_wire().delay, Some(Delay::For(Duration::from_secs(3))));
        let past = OutgoingMessage::new("t", 7, "b").at(SystemTime::UNIX_EPOCH);
        assert_eq!(past.into_wire().delay, Some(Delay::Until(0)));
    }
}
