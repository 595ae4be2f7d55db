//! Which node of a cluster has which slot.

use redis::Value;

use super::slot::SLOTS;

/// Host and port.
pub(super) type Address = (String, u16);

/// The owner of each slot.
#[derive(Default)]
pub(super) struct Owners {
    addresses: Vec<Address>,
    /// A place in `addresses` for each slot, or past its end where nobody has the slot.
    slots: Vec<u16>,
}

impl Owners {
    /// The node that has this slot, as far as is known.
    pub(super) fn of(&self, slot: usize) -> Option<&Address> {
        self.addresses.get(usize::from(*self.slots.get(slot)?))
    }

    pub(super) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Gives one slot to a node.
    pub(super) fn set(&mut self, slot: usize, address: Address) {
        self.slots.resize(SLOTS, u16::MAX);
        let place = self.addresses.iter().position(|known| *known == address).unwrap_or_else(|| {
            self.addresses.push(address);
            self.addresses.len() - 1
        });
        if let Some(owner) = self.slots.get_mut(slot) {
            *owner = u16::try_from(place).unwrap_or(u16::MAX);
        }
    }
}

/// Reads the answer to `CLUSTER SLOTS`: ranges of slots, each with its master first. A node that does not know its
/// own host leaves it out; then it is the one that was asked, `own_host`.
pub(super) fn read_owners(value: &Value, own_host: &str) -> Option<Owners> {
    let Value::Array(ranges) = value else { return None };
    let mut owners = Owners::default();
    for range in ranges {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &range[..] else { return None };
        let [host, Value::Int(port), ..] = &master[..] else { return None };
        let host = match host {
            Value::BulkString(host) => std::str::from_utf8(host).ok()?,
            Value::SimpleString(host) => host,
            _ => "",
        };
        let host = if matches!(host, "" | "?") { own_host } else { host };
        let address = (host.to_owned(), u16::try_from(*port).ok()?);
        for slot in usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?.min(SLOTS - 1) {
            owners.set(slot, address.clone());
        }
    }
    Some(owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        let node = |host, port| Value::Array(vec![host, Value::Int(port), Value::Nil]);
        let replica = node(Value::Nil, 1);
        Value::Array(vec![Value::Int(first), Value::Int(last), node(host, port), replica])
    }

    #[test]
    fn masters_own_their_ranges_and_gaps_belong_to_nobody() {
        let host = |host: &str| Value::BulkString(host.into());
        let answer = Value::Array(vec![
            range(0, 5, host("a"), 1),
            range(7, 16_383, host("b"), 2),
            range(6, 6, Value::Nil, 3),
        ]);
        let owners = read_owners(&answer, "own").unwrap();
        assert_eq!(owners.of(5), Some(&("a".to_owned(), 1)));
        assert_eq!(owners.of(6), Some(&("own".to_owned(), 3)));
        assert_eq!(owners.of(16_383), Some(&("b".to_owned(), 2)));
        assert_eq!(read_owners(&Value::Array(Vec::new()), "own").unwrap().of(0), None);
        assert!(read_owners(&Value::Okay, "own").is_none());
    }

    #[test]
    fn a_slot_that_moved_leaves_its_neighbours() {
        let answer = Value::Array(vec![range(0, 16_383, Value::BulkString("a".into()), 1)]);
        let mut owners = read_owners(&answer, "own").unwrap();
        owners.set(9, ("c".to_owned(), 3));
        assert_eq!(owners.of(9), Some(&("c".to_owned(), 3)));
        assert_eq!(owners.of(10), Some(&("a".to_owned(), 1)));
    }
}
