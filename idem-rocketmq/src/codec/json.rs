//! JSON, and why a body is not JSON or does not fit.

use bytes::Bytes;
use idem_core::Fingerprint;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use self::node::Node;
use super::{Codec, DecodeError};

mod canonical;
mod fault;
mod node;

/// JSON, by `serde_json`. A UTF-8 byte order mark in front of it is skipped.
///
/// An error names the field, also of a field (`buyer.id`, `items[3].price`), and what the payload's type expects there, but
/// never a value of the body, nor a name that the type does not have: the key of a map is `*`.
///
/// Two bodies have one [fingerprint](Codec::fingerprint) where they are the same JSON: neither whitespace nor the order of an
/// object's members counts. A number counts as it is written, so that `1` and `1.0` differ.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Codec<T> for Json {
    fn decode(&self, body: &Bytes) -> Result<T, DecodeError> {
        let body = without_mark(body);
        serde_json::from_slice(body).map_err(|error| DecodeError(why::<T>(body, &error)))
    }

    fn fingerprint(&self, body: &Bytes) -> Fingerprint {
        let body = without_mark(body);
        match canonical::form(body) {
            Some(form) => Fingerprint::of(&form),
            None => Fingerprint::of(body),
        }
    }
}

/// JSON is UTF-8, where a byte order mark says nothing; programs on Windows write one all the same.
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// A longer body is not read once more to find out which field is at fault: as a tree it takes many times its size.
const LONGEST_TOLD: usize = 1 << 20;
const NO_JSON: &str = "the body is no JSON";
const UNFIT: &str = "the JSON does not fit the payload's type";

/// Why a body that was refused was, without anything that is in it: serde's own messages quote values.
fn why<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> String {
    if body.is_empty() {
        return "the body is empty, and no JSON".to_owned();
    }
    if body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff") {
        return format!("{NO_JSON}: it begins as UTF-16 does, and JSON is UTF-8");
    }
    if !is_of_type(error) {
        return at(&of_syntax(error), error);
    }
    // The type may have refused a value before the parser came to what is no JSON.
    match serde_json::from_slice::<IgnoredAny>(body) {
        Err(syntax) => at(&of_syntax(&syntax), &syntax),
        Ok(IgnoredAny) => at(&of_data::<T>(body, error), error),
    }
}

/// Whether the JSON may be right for another type. A few such errors of `serde_json` count as its syntax.
fn is_of_type(error: &serde_json::Error) -> bool {
    error.is_data() || (error.is_syntax() && node::TEXTS.contains(&message(error).as_str()))
}

fn at(what: &str, error: &serde_json::Error) -> String {
    format!("{what}, at line {} column {}", error.line(), error.column())
}

fn of_syntax(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Eof => "the JSON ends too early".to_owned(),
        Category::Io => "the body could not be read".to_owned(),
        Category::Data => UNFIT.to_owned(),
        Category::Syntax => match message(error).as_str() {
            "recursion limit exceeded" => "the JSON is nested too deep: more than 127 levels".to_owned(),
            "number out of range" => "the JSON has a number that is out of range".to_owned(),
            "invalid unicode code point" => format!("{NO_JSON}: it has bytes that are no UTF-8"),
            "trailing characters" => format!("{NO_JSON}: something comes behind its end"),
            "trailing comma" => format!("{NO_JSON}: it has a comma too many"),
            "key must be a string" => format!("{NO_JSON}: a member's name is no string"),
            _ => NO_JSON.to_owned(),
        },
    }
}

/// Why the body does not fit, if it can be said.
fn of_data<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> String {
    let tree = (body.len() <= LONGEST_TOLD).then(|| serde_json::from_slice::<Node>(body).ok()).flatten();
    let fault = tree.and_then(|tree| T::deserialize(node::NodeDeserializer(&tree)).err());
    // The fault of the second reading is shown only if it is the one of the first.
    match fault.filter(|fault| fault.is(&message(error))) {
        Some(fault) => format!("{UNFIT}: {}", fault.told()),
        None => UNFIT.to_owned(),
    }
}

/// serde's message without its place. It may hold values.
fn message(error: &serde_json::Error) -> String {
    let (text, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
    text.strip_suffix(&place).map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests;
