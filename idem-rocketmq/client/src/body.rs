//! Bodies as producers compressed them.
//!
//! The client would decompress them itself, but what it cannot decompress ends its decoder: the messages behind it in the
//! same answer are skipped, and their offsets stored. It also takes LZ4 to be bare blocks behind a size, where Apache's
//! client writes frames. So bodies come as they are, and are decompressed for each message by itself.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use lz4_flex::block::decompress_size_prepended;
use lz4_flex::frame::FrameDecoder;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::sys_flag::message_sys_flag::MessageSysFlag as Flag;

/// The most bytes of a decompressed body: four times as much as a broker takes by default, and as large as it was before its
/// producer compressed it.
pub const LARGEST: usize = 16 << 20;

/// The bits of a system flag that are about compression.
pub(super) const FLAGS: i32 = Flag::COMPRESSED_FLAG | Flag::COMPRESSION_TYPE_COMPARATOR;

const LZ4_FRAME: [u8; 4] = 0x184D_2204_u32.to_le_bytes();

/// Decompresses a body, or says why it cannot be. A body that grows beyond `largest` is given up there.
pub(super) fn plain(body: Bytes, sys_flag: i32, largest: usize) -> Result<Bytes, String> {
    match decompressed(&body, sys_flag, largest)? {
        (_, Ok(Some(PlainBody::AsItIs))) => Ok(body),
        (_, Ok(Some(PlainBody::Grown(plain)))) => Ok(plain.into()),
        (name, Ok(None)) => Err(format!(
            "its body is larger than {largest} bytes when it is decompressed ({name}): set `largest_body` of the consumer \
             if producers send such bodies"
        )),
        (name, Err(error)) => {
            Err(format!("its body is no {name}, as which its system flag marks it, or is damaged: {error}"))
        }
    }
}

enum PlainBody {
    AsItIs,
    Grown(Vec<u8>),
}

/// Returns the name of the compression and the body, or `None` for a body that would be larger than `largest`.
fn decompressed(
    body: &[u8],
    sys_flag: i32,
    largest: usize,
) -> Result<(&'static str, io::Result<Option<PlainBody>>), String> {
    if sys_flag & Flag::COMPRESSED_FLAG == 0 || body.is_empty() {
        return Ok(("plain", Ok(Some(PlainBody::AsItIs))));
    }
    // As `CompressionType` in Apache's sources: producers before 5.0 say no kind and mean zlib.
    let (name, plain) = match (sys_flag & Flag::COMPRESSION_TYPE_COMPARATOR) >> 8 {
        0 | 3 => ("zlib", zlib(body, largest)),
        1 => ("LZ4", lz4(body, largest)),
        2 => ("ZSTD", zstd::Decoder::with_buffer(body).and_then(|decoder| bounded(decoder, largest))),
        kind => {
            return Err(format!(
                "its body is compressed in a way that nobody knows (kind {kind} of its system flag)"
            ));
        }
    };
    Ok((name, plain.map(|plain| plain.map(PlainBody::Grown))))
}

/// Whether it does not decompress, at whatever size.
pub(super) fn is_damaged(message: &MessageExt) -> bool {
    let body = message.body().unwrap_or_default();
    matches!(decompressed(&body, message.sys_flag(), LARGEST), Err(_) | Ok((_, Err(_))))
}

/// A stored message's body, as it is where it does not decompress.
pub fn stored(message: &MessageExt) -> Bytes {
    let body = message.body().unwrap_or_default();
    plain(body.clone(), message.sys_flag(), LARGEST).unwrap_or(body)
}

/// To a reader of zlib the end of its input is the end of what was compressed, wherever it was cut.
fn zlib(body: &[u8], largest: usize) -> io::Result<Option<Vec<u8>>> {
    let (mut inflate, mut plain) = (Decompress::new(true), Vec::new());
    let mut rest = body;
    loop {
        plain.reserve(body.len().clamp(1 << 10, 1 << 20));
        let (read, grown) = (inflate.total_in(), plain.len());
        let status = inflate.decompress_vec(rest, &mut plain, FlushDecompress::None)?;
        let read = inflate.total_in() - read;
        rest = &rest[usize::try_from(read).unwrap_or(rest.len()).min(rest.len())..];
        match status {
            _ if plain.len() > largest => return Ok(None),
            Status::StreamEnd => return Ok(Some(plain)),
            Status::Ok | Status::BufError if read == 0 && plain.len() == grown => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

/// Frames, as Apache's client writes them; or a block behind its size, as the client in Rust does.
fn lz4(body: &[u8], largest: usize) -> io::Result<Option<Vec<u8>>> {
    if body.starts_with(&LZ4_FRAME) {
        let mut decoder = FrameDecoder::new(TrackedInput { rest: body, is_over: false });
        let plain = bounded(&mut decoder, largest)?;
        // To the decoder the end of its input between two blocks is the end of the frame.
        let is_whole = plain.is_none() || !decoder.get_ref().is_over;
        return if is_whole { Ok(plain) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
    }
    let Some((size, block)) = body.split_first_chunk() else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let size = u32::from_le_bytes(*size) as usize;
    // A byte of a block stands for 255 at most. What claims more is something else.
    if size > block.len().saturating_mul(255) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if size > largest {
        return Ok(None);
    }
    let plain = decompress_size_prepended(body).map_err(io::Error::other)?;
    // The decoder takes a block that was cut between two of its runs for a whole one.
    if plain.len() == size { Ok(Some(plain)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Returns `None` if there is more than `largest`.
fn bounded(reader: impl Read, largest: usize) -> io::Result<Option<Vec<u8>>> {
    let mut plain = Vec::new();
    reader.take((largest as u64).saturating_add(1)).read_to_end(&mut plain)?;
    Ok((plain.len() <= largest).then_some(plain))
}

/// Knows whether it was asked for more than there is.
struct TrackedInput<'a> {
    rest: &'a [u8],
    is_over: bool,
}

impl Read for TrackedInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.is_over |= self.rest.is_empty() && !buffer.is_empty();
        self.rest.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rocketmq_model::common::compression::compression_type::CompressionType;

    use super::*;

    fn text() -> Bytes {
        (0..2_000).flat_map(|number| format!("order {number}, ").into_bytes()).collect()
    }

    fn lz4_frame(plain: &[u8]) -> Bytes {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap().into()
    }

    /// Each with its system flag: zlib as said by new and by old producers, both forms of LZ4, and ZSTD.
    fn compressed(plain: &[u8]) -> Vec<(i32, Bytes)> {
        let by = |kind: CompressionType| kind.try_compression(plain).unwrap();
        vec![
            (0x301, by(CompressionType::Zlib)),
            (0x001, by(CompressionType::Zlib)),
            (0x101, lz4_frame(plain)),
            (0x101, by(CompressionType::LZ4)),
            (0x201, by(CompressionType::Zstd)),
        ]
    }

    #[test]
    fn every_kind_of_producer_is_understood() {
        for (flag, body) in compressed(&text()) {
            assert!(body.len() < text().len());
            assert_eq!(plain(body, flag, LARGEST).unwrap(), text(), "{flag:x}");
        }
        assert_eq!(plain(text(), 0x300, LARGEST).unwrap(), text(), "not compressed");
    }

    #[test]
    fn a_body_that_was_cut_off_is_damaged_wherever_it_was_cut() {
        for (flag, body) in compressed(b"a body of some length, a body of some length, a body of some length")
        {
            for length in 1..body.len() {
                let error = plain(body.slice(..length), flag, LARGEST).unwrap_err();
                assert!(error.contains("damaged"), "{flag:x} {length}: {error}");
            }
        }
    }

    #[test]
    fn a_flag_that_lies_is_told_with_the_compression_that_it_claims() {
        for (flag, name) in [(0x001, "zlib"), (0x101, "LZ4"), (0x201, "ZSTD"), (0x701, "kind 7")] {
            let error = plain(Bytes::from_static(br#"{"id":"plain"}"#), flag, LARGEST).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_small_body_cannot_grow_beyond_the_bound() {
        let zeros = vec![0; 8 << 20];
        for (flag, body) in compressed(&zeros) {
            assert_eq!(plain(body.clone(), flag, zeros.len()).unwrap().len(), zeros.len());
            let error = plain(body, flag, zeros.len() - 1).unwrap_err();
            assert!(error.contains("larger than 8388607 bytes"), "{flag:x}: {error}");
        }
    }
}
