//! An answer with messages, made such that the client's decoder gets through it.
//!
//! The decoder ends at the first message that it does not understand, and the client stores the offset behind all of the
//! answer. It gives all messages of a batch the batch's offset (Apache's client adds their index), of which a queue then
//! keeps one. So what is in the way is written anew before the decoder sees it: a batch as its messages, and what cannot be
//! read as a message that says so in [`UNREADABLE`].

use std::collections::HashMap;
use std::str;

use bytes::{BufMut as _, Bytes, BytesMut};
use cheetah_string::CheetahString;
use rocketmq_model::common::sys_flag::message_sys_flag::MessageSysFlag as Flag;
use rocketmq_protocol::protocol::header::pull_message_response_header::PullMessageResponseHeader;
use rocketmq_protocol::protocol::remoting_command::RemotingCommand;

use self::frame::{Frame, InnerMessage};
use crate::body;

mod frame;

/// The property of a message that cannot be handled, with the reason. It is written here and never sent.
pub(super) const UNREADABLE: &str = "IDEM_UNREADABLE";

const PULL_MESSAGE: i32 = 11;
const LITE_PULL_MESSAGE: i32 = 361;
const SUCCESS: i32 = 0;

/// Sorts out the answers to requests for messages.
#[derive(Debug)]
pub(super) struct PullSorter {
    group: String,
    /// By topic, with namespace: a tag that the client lets through.
    tags: HashMap<String, String>,
    largest: usize,
}

/// An answer whose messages cannot even be told apart, from here on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameFault;

/// One answer on its way.
struct ResponseRewrite<'a> {
    pulled: &'a PullSorter,
    topic: &'a str,
    /// Messages before it were asked for earlier: a broker gives a batch as a whole.
    begin: i64,
    /// Where the next message is, at least; and where the next request begins.
    next: i64,
    end: i64,
    /// The messages so far, where something had to be written anew.
    written: Option<BytesMut>,
}

impl PullSorter {
    pub(super) fn new(group: String, tags: HashMap<String, String>, largest: usize) -> Self {
        Self { group, tags, largest }
    }

    /// Writes anew what the decoder would stumble over.
    ///
    /// # Errors
    /// Where the answer's messages cannot be told apart. Those before that are kept for the next request, which is to begin
    /// at the first of the others then and to fail for it.
    pub(super) fn sort_out(
        &self,
        request: &RemotingCommand,
        answer: &mut RemotingCommand,
    ) -> Result<(), FrameFault> {
        let is_pull = matches!(request.code(), PULL_MESSAGE | LITE_PULL_MESSAGE);
        let Some(frames) = answer.body().filter(|_| is_pull && answer.code() == SUCCESS).cloned() else {
            return Ok(());
        };
        if frame::are_plain(&frames) {
            return Ok(());
        }
        let field = |name: &'static str| request.ext_fields().and_then(|fields| fields.get(name));
        let asked = field("queueOffset").and_then(|offset| offset.parse::<i64>().ok()).unwrap_or(0);
        let header = answer.decode_command_custom_header::<PullMessageResponseHeader>().ok();
        let delta = header.as_ref().and_then(|header| header.offset_delta).unwrap_or(0);
        let end = header.map_or(i64::MAX, |header| header.next_begin_offset) - delta;
        let topic = field("topic").map(CheetahString::as_str).unwrap_or_default();
        let begin = asked - delta;
        let mut sorting = ResponseRewrite { pulled: self, topic, begin, next: begin, end, written: None };
        let done = sorting.sort_out(&frames);
        let (next, written) = (sorting.next, sorting.written.take());
        if done.is_err() {
            self.report(
                topic,
                next,
                "its messages cannot be told apart from here on: the queue is not consumed further",
            );
            if written.as_ref().is_none_or(BytesMut::is_empty) {
                return Err(FrameFault);
            }
            answer.add_ext_field("nextBeginOffset", (next + delta).to_string());
        }
        if let Some(written) = written {
            answer.set_body_mut_ref(written.freeze());
        }
        Ok(())
    }

    fn report(&self, topic: &str, offset: i64, reason: &str) {
        metrics::counter!("idem_unreadable_messages_total", "group" => self.group.clone()).increment(1);
        tracing::error!(
            group = self.group,
            topic,
            offset,
            reason,
            "a message cannot be read: look at it with `mqadmin queryMsgByOffset`"
        );
    }
}

impl ResponseRewrite<'_> {
    fn sort_out(&mut self, frames: &[u8]) -> Result<(), FrameFault> {
        let mut rest = frames;
        while !rest.is_empty() {
            let Some((bytes, after)) = frame::split(rest) else {
                let before = frames.len() - rest.len();
                self.written.get_or_insert_with(|| frames[..before].into());
                return Err(FrameFault);
            };
            match Frame::parse(bytes) {
                Some(frame) if frame.is_plain() => {
                    self.next = frame.offset.saturating_add(1);
                    if let Some(written) = &mut self.written {
                        written.put_slice(bytes);
                    }
                }
                parsed => {
                    let before = frames.len() - rest.len();
                    self.written.get_or_insert_with(|| frames[..before].into());
                    match parsed {
                        Some(frame) if frame.is_batch() => self.unwrap(&frame),
                        Some(frame) => self.mark_text(&frame),
                        None => self.replace(bytes),
                    }
                }
            }
            rest = after;
        }
        Ok(())
    }

    /// The messages of a batch, each with an offset of its own.
    fn unwrap(&mut self, batch: &Frame<'_>) {
        let body = Bytes::copy_from_slice(batch.body);
        let body = match body::plain(body, batch.sys_flag, self.pulled.largest) {
            Ok(body) => body,
            Err(reason) => return self.mark(batch, &batch.whole(), batch.offset, &reason),
        };
        let (mut rest, mut offset) = (&*body, batch.offset);
        while !rest.is_empty() {
            let Some((inner, after)) = InnerMessage::parse(rest) else {
                let inner = InnerMessage { body: rest, ..batch.whole() };
                return self.mark(
                    batch,
                    &inner,
                    offset,
                    "the batch that it is of cannot be taken apart from here on",
                );
            };
            if let Some(reason) = not_utf8(inner.properties) {
                self.mark(batch, &inner, offset, &reason);
            } else {
                self.put(batch, &inner, offset, None);
            }
            (rest, offset) = (after, offset.saturating_add(1));
        }
    }

    fn mark_text(&mut self, frame: &Frame<'_>) {
        let reason = not_utf8(frame.properties).unwrap_or_default();
        self.mark(frame, &frame.whole(), frame.offset, &reason);
    }

    /// A message in the place of one that makes no sense, with all of its bytes as its body.
    fn replace(&mut self, bytes: &[u8]) {
        let said = frame::offset(bytes).filter(|offset| (self.next..self.end).contains(offset));
        let offset = said.unwrap_or(self.next);
        let made = frame::made(self.topic);
        let frame = Frame::parse(&made).expect("what was made can be read");
        let inner = InnerMessage { body: bytes, ..frame.whole() };
        self.mark(
            &frame,
            &inner,
            offset,
            "it is not in RocketMQ's format; the body is the message as the broker has it",
        );
    }

    fn mark(&mut self, frame: &Frame<'_>, inner: &InnerMessage<'_>, offset: i64, reason: &str) {
        if offset >= self.begin {
            self.pulled.report(self.topic, offset, reason);
        }
        self.put(frame, inner, offset, Some(reason));
    }

    fn put(&mut self, frame: &Frame<'_>, inner: &InnerMessage<'_>, offset: i64, reason: Option<&str>) {
        self.next = offset.saturating_add(1);
        if offset < self.begin {
            return;
        }
        let mut properties = inner.properties.to_vec();
        if let Some(reason) = reason {
            let tag = self.pulled.tags.get(self.topic).filter(|_| !inner.has_tag());
            properties = frame::with_mark(inner.properties, tag.map(String::as_str), UNREADABLE, reason);
        }
        let keeps = if frame.is_batch() {
            !(body::FLAGS | Flag::NEED_UNWRAP_FLAG | Flag::INNER_BATCH_FLAG)
        } else {
            !0
        };
        let written = self.written.get_or_insert_default();
        frame.write(written, inner, offset, frame.sys_flag & keeps, &properties);
    }
}

/// Why properties are no text, where they are none.
fn not_utf8(properties: &[u8]) -> Option<String> {
    str::from_utf8(properties).err()?;
    let entries = properties.split(|byte| *byte == frame::PROPERTY_END);
    let wrong = entries.into_iter().find(|entry| str::from_utf8(entry).is_err())?;
    let name = wrong.split(|byte| *byte == frame::NAME_END).next().unwrap_or_default();
    Some(match str::from_utf8(name) {
        Ok(name) => format!("the property `{name}` is not UTF-8"),
        Err(_) => "the name of a property is not UTF-8".to_owned(),
    })
}

#[cfg(test)]
mod tests;
