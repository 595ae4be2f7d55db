//! Batches as one value, for statements that read them with `JSON_TABLE`.

use std::fmt::Write as _;

use crate::record::Token;
use crate::store::sql::BatchEntry;

/// A batch as `JSON_TABLE` reads it: an array for each entry, with key and token in hexadecimal digits, and then what is
/// the operation's own.
pub(super) fn json<R>(batch: &[BatchEntry<R>], own: impl Fn(&R) -> (Token, String)) -> String {
    let mut text = String::from("[");
    for (index, entry) in batch.iter().enumerate() {
        let (token, rest) = own(&entry.request);
        text.push_str(if index == 0 { "[" } else { ",[" });
        quoted_hex(&mut text, &entry.key);
        text.push(',');
        quoted_hex(&mut text, &token.to_bytes());
        text.push(',');
        text.push_str(&rest);
        text.push(']');
    }
    text.push(']');
    text
}

fn quoted_hex(text: &mut String, bytes: &[u8]) {
    text.push('"');
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text.push('"');
}

pub(super) fn quoted_or_null(text: &mut String, bytes: Option<&[u8]>) {
    match bytes {
        None => text.push_str("null"),
        Some(bytes) => quoted_hex(text, bytes),
    }
}
