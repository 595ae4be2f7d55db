//! How each property gets into a copy.
//!
//! A property that is not in the table is the user's, and every copy has it.

use rocketmq_model::common::message::MessageConst as Name;

use crate::hook::STAMP;
use crate::pulled::UNREADABLE;

/// Why a message was retried or became a dead letter.
pub const REASON: &str = "IDEM_REASON";
/// The name of the outcome.
pub const OUTCOME: &str = "IDEM_OUTCOME";
/// How many runs of the handler have failed. It counts only where it comes by the group's own retry topic.
pub const ATTEMPTS: &str = "IDEM_ATTEMPTS";
/// The idempotency key, for people.
pub const KEY: &str = "IDEM_KEY";
/// When a retry is due, in milliseconds since 1970, and after how many.
pub const DUE: &str = "IDEM_DUE";
/// Where the message is, in a dead letter that a broker took no copy for.
pub(crate) const REFERENCE: &str = "IDEM_REFERENCE";

/// The properties that idem writes to a retry, the most important ones first.
pub(super) const OF_A_RETRY: [&str; 5] = [ATTEMPTS, DUE, OUTCOME, REASON, KEY];

/// How a copy treats a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyRule {
    /// It belongs to the message and not to one delivery of it: taken over.
    Kept,
    /// The copy has its own, or none.
    New,
    /// It is about one delivery, or the broker writes it: in a copy it would be wrong or even act.
    Dropped,
}

/// Brokers write more with these at any time.
const DROPPED_PREFIXES: [&str; 2] = ["TIMER_", Name::PROPERTY_TRANSIENT_PREFIX];

pub(super) fn fate(name: &str) -> CopyRule {
    if let Some((_, fate)) = TABLE.iter().find(|(known, _)| *known == name) {
        return *fate;
    }
    let is_dropped = DROPPED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if is_dropped { CopyRule::Dropped } else { CopyRule::Kept }
}

#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (&'static str, CopyRule)> {
    TABLE.iter().copied()
}

use CopyRule::{Dropped, Kept, New};

/// Apache's `MessageConst`, and idem's own.
const TABLE: &[(&str, CopyRule)] = &[
    (Name::PROPERTY_KEYS, Kept),
    (Name::PROPERTY_TAGS, Kept),
    (Name::PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, Kept),
    (Name::PROPERTY_EXTEND_UNIQ_INFO, Kept),
    (Name::PROPERTY_SHARDING_KEY, Kept),
    (Name::PROPERTY_LITE_TOPIC, Kept),
    (Name::PROPERTY_PRIORITY, Kept),
    (Name::PROPERTY_INSTANCE_ID, Kept),
    (Name::PROPERTY_BUYER_ID, Kept),
    (Name::PROPERTY_TRACE_CONTEXT, Kept),
    // Of its producer.
    (Name::PROPERTY_BORN_HOST, Kept),
    (Name::PROPERTY_BORN_TIMESTAMP, Kept),
    (Name::PROPERTY_PRODUCER_GROUP, Kept),
    (Name::PROPERTY_TRANSACTION_ID, Kept),
    (Name::PROPERTY_CHECK_IMMUNITY_TIME_IN_SECONDS, Kept),
    // A handler answers a request at any attempt.
    (Name::PROPERTY_CORRELATION_ID, Kept),
    (Name::PROPERTY_MESSAGE_REPLY_TO_CLIENT, Kept),
    (Name::PROPERTY_MESSAGE_TTL, Kept),
    // Where a message has come from in its life.
    (Name::PROPERTY_ORIGIN_GROUP, Kept),
    (Name::PROPERTY_DLQ_ORIGIN_TOPIC, Kept),
    (Name::PROPERTY_DLQ_ORIGIN_MESSAGE_ID, Kept),
    (Name::PROPERTY_CORRECTION_FLAG, Kept),
    (Name::PROPERTY_MQ2_FLAG, Kept),
    (Name::PROPERTY_TRANSFER_FLAG, Kept),
    (Name::PROPERTY_REDIRECT, Kept),
    (Name::DUP_INFO, Kept),
    // A dead letter has it too, and brings it to its consumer.
    (Name::PROPERTY_RETRY_TOPIC, New),
    (Name::PROPERTY_ORIGIN_MESSAGE_ID, New),
    (Name::PROPERTY_RECONSUME_TIME, New),
    (Name::PROPERTY_MAX_RECONSUME_TIMES, New),
    (Name::PROPERTY_DELAY_TIME_LEVEL, New),
    (Name::PROPERTY_TIMER_DELAY_MS, New),
    // An ack relies on the copy, whatever the producer of the message relied on.
    (Name::PROPERTY_WAIT_STORE_MSG_OK, New),
    // As `reply` it would have the client send the copy to a producer that waits for an answer.
    (Name::PROPERTY_MESSAGE_TYPE, Dropped),
    // Written by the broker that stores a message.
    (Name::PROPERTY_CLUSTER, Dropped),
    (Name::PROPERTY_MSG_REGION, Dropped),
    (Name::PROPERTY_TRACE_SWITCH, Dropped),
    (Name::PROPERTY_CRC32, Dropped),
    (Name::PROPERTY_REAL_TOPIC, Dropped),
    (Name::PROPERTY_REAL_QUEUE_ID, Dropped),
    (Name::PROPERTY_FORWARD_QUEUE_ID, Dropped),
    (Name::PROPERTY_INNER_NUM, Dropped),
    (Name::PROPERTY_INNER_BASE, Dropped),
    (Name::PROPERTY_INNER_MULTI_DISPATCH, Dropped),
    (Name::PROPERTY_INNER_MULTI_QUEUE_OFFSET, Dropped),
    (Name::PROPERTY_TRANSIENT_GROUP_CONFIG, Dropped),
    (Name::PROPERTY_TRANSIENT_TOPIC_CONFIG, Dropped),
    // About one delivery.
    (Name::PROPERTY_MIN_OFFSET, Dropped),
    (Name::PROPERTY_MAX_OFFSET, Dropped),
    (Name::PROPERTY_CONSUME_START_TIMESTAMP, Dropped),
    (Name::PROPERTY_FIRST_POP_TIME, Dropped),
    (Name::PROPERTY_POP_CK, Dropped),
    (Name::PROPERTY_POP_CK_OFFSET, Dropped),
    (Name::PROPERTY_PUSH_REPLY_TIME, Dropped),
    (Name::PROPERTY_REPLY_MESSAGE_ARRIVE_TIME, Dropped),
    // A delay or a transaction that is over.
    (Name::PROPERTY_STARTDE_LIVER_TIME, Dropped),
    (Name::PROPERTY_TIMER_DELAY_LEVEL, Dropped),
    (Name::PROPERTY_TIMER_DELAY_SEC, Dropped),
    (Name::PROPERTY_TIMER_DELIVER_MS, Dropped),
    (Name::PROPERTY_TIMER_DEL_UNIQKEY, Dropped),
    (Name::PROPERTY_TIMER_DEQUEUE_MS, Dropped),
    (Name::PROPERTY_TIMER_ENQUEUE_MS, Dropped),
    (Name::PROPERTY_TIMER_OUT_MS, Dropped),
    (Name::PROPERTY_TIMER_ROLL_LABEL, Dropped),
    (Name::PROPERTY_TIMER_ROLL_TIMES, Dropped),
    (Name::PROPERTY_TIMER_ORIGINAL_DELIVER_MS, Dropped),
    (Name::PROPERTY_TIMER_DELIVERY_TOKEN, Dropped),
    (Name::PROPERTY_TIMER_ID, Dropped),
    (Name::PROPERTY_TIMER_OWNER_EPOCH, Dropped),
    (Name::PROPERTY_TIMER_LANE, Dropped),
    (Name::PROPERTY_TIMER_GENERATION, Dropped),
    (Name::PROPERTY_TIMER_FORMAT_VERSION, Dropped),
    (Name::PROPERTY_TIMER_POLICY_FINGERPRINT, Dropped),
    (Name::TIMER_ENGINE_TYPE, Dropped),
    (Name::PROPERTY_TRANS_OFFSET, Dropped),
    (Name::PROPERTY_TRANSACTION_PREPARED, Dropped),
    (Name::PROPERTY_TRANSACTION_PREPARED_QUEUE_OFFSET, Dropped),
    (Name::PROPERTY_TRANSACTION_CHECK_TIMES, Dropped),
    // idem's own.
    ("IDEM_PRODUCER_KEY", Kept),
    ("IDEM_TRANSACTION", Kept),
    (OUTCOME, New),
    (ATTEMPTS, New),
    (REASON, New),
    (KEY, New),
    (DUE, New),
    (REFERENCE, New),
    (STAMP, New),
    (UNREADABLE, Dropped),
];

#[cfg(test)]
mod tests;
