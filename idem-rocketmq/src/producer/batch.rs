//! How many messages are split into batches.

/// Bytes of one batch: far below what brokers take in one request, so that properties and headers fit too.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_MESSAGES: usize = 1_000;
/// The fields of a message in a batch beside body and properties.
const HEADER_BYTES: usize = 64;

/// A message that is to go into a batch: its place in the list, what it may share a batch with, and its size.
pub(super) struct BatchPart<K> {
    pub(super) index: usize,
    pub(super) group: K,
    pub(super) bytes: usize,
}

/// Puts messages of one group into batches, and keeps their order within a group. A message that is too large for
/// any batch is one by itself.
pub(super) fn split<K: PartialEq>(items: Vec<BatchPart<K>>, most: usize) -> Vec<Vec<usize>> {
    let most = most.min(BATCH_BYTES);
    let mut groups: Vec<(K, Vec<(usize, usize)>)> = Vec::new();
    for BatchPart { index, group, bytes } in items {
        let message = (index, bytes + HEADER_BYTES);
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, messages)) => messages.push(message),
            None => groups.push((group, vec![message])),
        }
    }
    groups.into_iter().flat_map(|(_, messages)| batches(messages, most)).collect()
}

fn batches(messages: Vec<(usize, usize)>, most: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut used = usize::MAX;
    for (index, bytes) in messages {
        let is_full = batches.last().is_none_or(|batch| batch.len() == BATCH_MESSAGES);
        if is_full || used.saturating_add(bytes) > most {
            batches.push(Vec::new());
            used = 0;
        }
        used += bytes;
        if let Some(batch) = batches.last_mut() {
            batch.push(index);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(list: &[(&'static str, usize)]) -> Vec<BatchPart<&'static str>> {
        list.iter()
            .enumerate()
            .map(|(index, (group, bytes))| BatchPart { index, group: *group, bytes: *bytes })
            .collect()
    }

    #[test]
    fn groups_stay_apart_and_keep_their_order() {
        let batches = split(items(&[("a", 1), ("b", 1), ("a", 1), ("b", 1)]), 4 << 20);
        assert_eq!(batches, [[0, 2], [1, 3]]);
        assert!(split(items(&[]), 1).is_empty());
    }

    #[test]
    fn a_batch_stays_below_its_size_and_a_large_message_is_alone() {
        let batches = split(items(&[("a", 400), ("a", 400), ("a", 400), ("a", 5000), ("a", 1)]), 1000);
        assert_eq!(batches, [vec![0, 1], vec![2], vec![3], vec![4]]);
        let many: Vec<_> = (0..2_500).map(|_| ("a", 1)).collect();
        let lengths: Vec<_> = split(items(&many), 4 << 20).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1000, 1000, 500]);
    }
}
