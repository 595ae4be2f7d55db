//! The bytes of a stored message (`MessageDecoder` in Apache's sources), and of one within a batch.

use std::str;

use bytes::{BufMut as _, BytesMut};
use rocketmq_model::common::sys_flag::message_sys_flag::MessageSysFlag as Flag;

const MAGIC: i32 = -626_843_481;
/// The form with topics of more than 127 bytes.
const MAGIC_2: i32 = -626_843_477;

pub(super) const NAME_END: u8 = 1;
pub(super) const PROPERTY_END: u8 = 2;

const MAGIC_AT: usize = 4;
const CRC_AT: usize = 8;
const FLAG_AT: usize = 16;
const OFFSET_AT: usize = 20;
const SYS_FLAG_AT: usize = 36;
const BORN_HOST_AT: usize = 48;

/// A message that the client's decoder gets through, as far as its lengths go.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Everything before the body.
    head: &'a [u8],
    pub(super) offset: i64,
    pub(super) sys_flag: i32,
    pub(super) body: &'a [u8],
    /// With its length.
    topic: &'a [u8],
    pub(super) properties: &'a [u8],
}

/// The fields that each message of a batch has of its own.
#[derive(Clone, Copy)]
pub(super) struct InnerMessage<'a> {
    pub(super) crc: i32,
    pub(super) flag: i32,
    pub(super) body: &'a [u8],
    pub(super) properties: &'a [u8],
}

/// Reads numbers and bytes one after the other.
struct ByteReader<'a>(&'a [u8]);

impl<'a> ByteReader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn short(&mut self) -> Option<usize> {
        let short = i16::from_be_bytes(self.take(2)?.try_into().ok()?);
        usize::try_from(short).ok()
    }

    /// Bytes behind their length.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.int()?).ok()?;
        self.take(length)
    }
}

/// The first message and the rest, where the first one says a length that can be.
pub(super) fn split(frames: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = ByteReader(frames).int().and_then(|length| usize::try_from(length).ok())?;
    if length < 4 { None } else { frames.split_at_checked(length) }
}

/// Whether the decoder gets through all of them as they are.
pub(super) fn are_plain(frames: &[u8]) -> bool {
    let mut rest = frames;
    while let Some((frame, after)) = split(rest)
        && Frame::parse(frame).is_some_and(|frame| frame.is_plain())
    {
        rest = after;
    }
    rest.is_empty()
}

/// Where it says that it is in its queue.
pub(super) fn offset(frame: &[u8]) -> Option<i64> {
    let bytes = frame.get(OFFSET_AT..OFFSET_AT + 8)?;
    bytes.try_into().ok().map(i64::from_be_bytes)
}

/// An empty message.
pub(super) fn made(topic: &str) -> Vec<u8> {
    let topic = &topic.as_bytes()[..topic.len().min(127)];
    // Up to the body's length, with hosts of 4 bytes.
    let mut made = vec![0; BORN_HOST_AT + 8 + 8 + 8 + 4 + 8];
    made[MAGIC_AT..CRC_AT].copy_from_slice(&MAGIC.to_be_bytes());
    made.put_i32(0);
    made.put_u8(u8::try_from(topic.len()).unwrap_or(0));
    made.put_slice(topic);
    made.put_i16(0);
    made
}

/// Properties with a reason why the message cannot be read, and a tag where there is one. What does not fit is left out from
/// the end of the others.
pub(super) fn with_mark(properties: &[u8], tag: Option<&str>, name: &str, reason: &str) -> Vec<u8> {
    let mut mark = format!("{name}\u{1}{reason}\u{2}").into_bytes();
    if let Some(tag) = tag {
        mark.extend(format!("TAGS\u{1}{tag}\u{2}").into_bytes());
    }
    let room = usize::from(i16::MAX.unsigned_abs()).saturating_sub(mark.len() + 1);
    let mut kept = properties;
    if kept.len() > room {
        let end = kept[..room].iter().rposition(|byte| *byte == PROPERTY_END);
        kept = &kept[..end.map_or(0, |end| end + 1)];
    }
    let mut all = kept.to_vec();
    if all.last().is_some_and(|byte| *byte != PROPERTY_END) {
        all.push(PROPERTY_END);
    }
    all.extend(mark);
    all
}

impl<'a> Frame<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = ByteReader(bytes);
        let start = reader.take(SYS_FLAG_AT)?;
        let magic = ByteReader(&start[MAGIC_AT..]).int()?;
        let sys_flag = reader.int()?;
        let host = |flag| if sys_flag & flag == 0 { 8 } else { 20 };
        reader.take(8 + host(Flag::BORNHOST_V6_FLAG) + 8 + host(Flag::STOREHOSTADDRESS_V6_FLAG) + 4 + 8)?;
        let head = &bytes[..bytes.len() - reader.0.len()];
        let body = reader.bytes()?;
        let with_length = reader.0;
        let topic_length = match magic {
            MAGIC => usize::from(*reader.take(1)?.first()?),
            MAGIC_2 => reader.short()?,
            _ => return None,
        };
        str::from_utf8(reader.take(topic_length)?).ok()?;
        let topic = &with_length[..with_length.len() - reader.0.len()];
        let properties = reader.short()?;
        let properties = reader.take(properties)?;
        // The decoder would take what is left for the next message.
        let is_whole = reader.0.is_empty();
        is_whole.then_some(Self { head, offset: offset(head)?, sys_flag, body, topic, properties })
    }

    pub(super) fn is_batch(&self) -> bool {
        let has = |flag| self.sys_flag & flag != 0;
        has(Flag::INNER_BATCH_FLAG) && has(Flag::NEED_UNWRAP_FLAG)
    }

    /// Whether the decoder and idem take it as it is.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_batch() && str::from_utf8(self.properties).is_ok()
    }

    pub(super) fn whole(&self) -> InnerMessage<'a> {
        let int = |at: usize| ByteReader(&self.head[at..]).int().unwrap_or_default();
        InnerMessage { crc: int(CRC_AT), flag: int(FLAG_AT), body: self.body, properties: self.properties }
    }

    /// Writes a message with this one's head and topic.
    pub(super) fn write(
        &self,
        out: &mut BytesMut,
        inner: &InnerMessage<'_>,
        offset: i64,
        sys_flag: i32,
        properties: &[u8],
    ) {
        let length = self.head.len() + 4 + inner.body.len() + self.topic.len() + 2 + properties.len();
        let start = out.len();
        out.reserve(length);
        out.put_slice(self.head);
        out.put_i32(i32::try_from(inner.body.len()).unwrap_or(i32::MAX));
        out.put_slice(inner.body);
        out.put_slice(self.topic);
        out.put_i16(i16::try_from(properties.len()).unwrap_or(i16::MAX));
        out.put_slice(properties);
        let mut patch =
            |at: usize, bytes: &[u8]| out[start + at..start + at + bytes.len()].copy_from_slice(bytes);
        patch(0, &i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
        patch(CRC_AT, &inner.crc.to_be_bytes());
        patch(FLAG_AT, &inner.flag.to_be_bytes());
        patch(OFFSET_AT, &offset.to_be_bytes());
        patch(SYS_FLAG_AT, &sys_flag.to_be_bytes());
    }
}

impl<'a> InnerMessage<'a> {
    /// The first message in a batch's body, and the rest.
    pub(super) fn parse(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (bytes, rest) = split(body)?;
        let mut reader = ByteReader(bytes);
        reader.take(8)?;
        let (crc, flag, body) = (reader.int()?, reader.int()?, reader.bytes()?);
        let properties = reader.short()?;
        let properties = reader.take(properties)?;
        Some((Self { crc, flag, body, properties }, rest))
    }

    pub(super) fn has_tag(&self) -> bool {
        self.properties.split(|byte| *byte == PROPERTY_END).any(|entry| entry.starts_with(b"TAGS\x01"))
    }
}

/// For tests: a body of a batch.
#[cfg(test)]
pub(super) fn batch_body(messages: &[(&[u8], &[u8])]) -> bytes::Bytes {
    let mut all = BytesMut::new();
    for (body, properties) in messages {
        all.put_i32(i32::try_from(4 * 5 + body.len() + 2 + properties.len()).unwrap());
        all.put_slice(&[0; 12]);
        all.put_i32(i32::try_from(body.len()).unwrap());
        all.put_slice(body);
        all.put_i16(i16::try_from(properties.len()).unwrap());
        all.put_slice(properties);
    }
    all.freeze()
}
