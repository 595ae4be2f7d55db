//! The end of a transaction, with the broker's answer.
//!
//! The client tells a broker how a transaction ended and waits for nothing, so a commit that is lost looks like one that has
//! come. But the broker answers the same request where it is asked to (`EndTransactionProcessor` in Apache's sources), and says
//! whether consumers can have the message.

use rocketmq_client_rust::{ClientError as Cause, SendResult};
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_protocol::protocol::remoting_command::RemotingCommand;

use super::sending::{self, SendFailure};

/// The time that a broker may take for its answer.
pub(super) const PATIENCE_MILLIS: u64 = 3_000;

const END_TRANSACTION: i32 = 37;
const SUCCESS: i32 = 0;
/// `TRANSACTION_COMMIT_TYPE` of a message's `sysFlag`.
const COMMIT: &str = "8";

/// Where a half message is, as its broker is to be told.
pub(super) struct HalfMessagePlace {
    /// With namespace, as the group.
    pub(super) topic: String,
    pub(super) group: String,
    broker: Option<String>,
    /// In the queue of half messages.
    queue_offset: String,
    log_offset: String,
    unique_key: String,
    is_asked_for: bool,
}

impl HalfMessagePlace {
    /// The place of a half message that was just stored. Returns `None` if the broker did not say it.
    pub(super) fn of_sent(topic: &str, group: &str, sent: &SendResult) -> Option<Self> {
        let id = sent.offset_msg_id.as_ref()?;
        // Behind the broker's address, which has four or sixteen bytes and a port.
        let offset = id.get(id.len().checked_sub(16)?..)?;
        Some(Self {
            topic: topic.to_owned(),
            group: group.to_owned(),
            broker: sent.message_queue.as_ref().map(|queue| queue.broker_name().to_string()),
            queue_offset: sent.queue_offset.to_string(),
            log_offset: i64::from_str_radix(offset, 16).ok()?.to_string(),
            unique_key: sent.msg_id.as_ref()?.to_string(),
            is_asked_for: false,
        })
    }

    /// The place of a half message that a broker asks for.
    pub(super) fn of_asked(topic: &str, group: &str, message: &MessageExt, unique_key: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            group: group.to_owned(),
            broker: None,
            queue_offset: message.queue_offset().to_string(),
            log_offset: message.commit_log_offset().to_string(),
            unique_key: unique_key.to_owned(),
            is_asked_for: true,
        }
    }

    pub(super) fn broker(&self) -> Option<&str> {
        self.broker.as_deref()
    }

    pub(super) fn commit(&self) -> RemotingCommand {
        let is_asked_for = self.is_asked_for.to_string();
        let mut fields = vec![
            ("topic", self.topic.as_str()),
            ("producerGroup", &self.group),
            ("tranStateTableOffset", &self.queue_offset),
            ("commitLogOffset", &self.log_offset),
            ("commitOrRollback", COMMIT),
            ("fromTransactionCheck", &is_asked_for),
            ("msgId", &self.unique_key),
            ("transactionId", &self.unique_key),
        ];
        fields.extend(self.broker().map(|broker| ("bname", broker)));
        let fields = fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        RemotingCommand::create_remoting_command(END_TRANSACTION).set_ext_fields(fields)
    }
}

/// Whether the broker has committed.
pub(super) fn confirmed(answer: Result<RemotingCommand, Cause>) -> Result<(), SendFailure> {
    match answer {
        Ok(answer) if answer.code() == SUCCESS => Ok(()),
        Ok(answer) => Err(SendFailure::Refused {
            code: answer.code(),
            cause: answer.remark().map(ToString::to_string).unwrap_or_default(),
        }),
        Err(error) => Err(sending::failure(&error)),
    }
}
