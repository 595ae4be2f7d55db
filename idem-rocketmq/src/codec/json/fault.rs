//! Why a body does not fit its payload's type.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

/// Longer ones lose their beginning.
const LONGEST_PATH: usize = 200;
const LONGEST_EXPECTATION: usize = 100;
/// Of a type's fields or variants, so many are named.
const MOST_NAMES: usize = 12;

/// An error that knows its place in the body, and what may be told of it.
#[derive(Debug)]
pub(super) struct Fault {
    /// serde's own text, which may hold values: it is compared and never told.
    text: String,
    kind: FaultKind,
    /// Innermost first.
    path: Vec<Segment>,
}

#[derive(Debug)]
enum FaultKind {
    Missing(&'static str),
    Duplicate(&'static str),
    /// The expectation, and the value's kind.
    Unfit(String, String),
    UnknownField(&'static [&'static str]),
    /// An error of the type's own, whose text may hold anything.
    Refused,
}

/// One step into a body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Segment {
    /// A name that the type has.
    Field(&'static str),
    /// A name that only the body has, which is not told.
    Key,
    Index(usize),
}

impl Segment {
    /// A member of an object, where these are the names that its type has.
    pub(super) fn of(name: &str, known: &'static [&'static str]) -> Self {
        known.iter().find(|field| **field == name).map_or(Self::Key, |field| Self::Field(field))
    }
}

impl Fault {
    fn new(error: &serde_json::Error, kind: FaultKind) -> Self {
        Self { text: super::message(error), kind, path: Vec::new() }
    }

    /// Of what serde has no error for.
    pub(super) fn unfit(text: &str, expected: &str, found: &str) -> Self {
        let kind = FaultKind::Unfit(expected.to_owned(), found.to_owned());
        Self { text: text.to_owned(), kind, path: Vec::new() }
    }

    pub(super) fn inside(mut self, segment: Segment) -> Self {
        self.path.push(segment);
        self
    }

    /// Whether this is the error with that text.
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    /// A text for logs and dead letters.
    pub(super) fn told(&self) -> String {
        let path = self.path();
        let member = |name| if path.is_empty() { String::from(name) } else { format!("{path}.{name}") };
        let place = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
        match &self.kind {
            FaultKind::Missing(field) => format!("the field `{}` is missing", member(*field)),
            FaultKind::Duplicate(field) => format!("the field `{}` is there twice", member(*field)),
            FaultKind::Unfit(expected, found) => format!("{place}expected {expected}, found {found}"),
            FaultKind::UnknownField(known) => format!("{place}a field is unknown; {}", there_are(known)),
            FaultKind::Refused if path.is_empty() => "its type refuses a value".to_owned(),
            FaultKind::Refused => format!("`{path}`: its type refuses the value"),
        }
    }

    fn path(&self) -> String {
        let segments = self.path.iter().rev().map(|segment| match segment {
            Segment::Field(name) => format!(".{name}"),
            Segment::Key => ".*".to_owned(),
            Segment::Index(index) => format!("[{index}]"),
        });
        let path: String = segments.collect();
        let path = path.strip_prefix('.').unwrap_or(&path);
        let cut = path.chars().count().saturating_sub(LONGEST_PATH);
        if cut == 0 { path.to_owned() } else { "..".chars().chain(path.chars().skip(cut)).collect() }
    }
}

fn there_are(names: &'static [&'static str]) -> String {
    if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", list(names)) }
}

fn list(names: &'static [&'static str]) -> String {
    let shown: Vec<_> = names.iter().take(MOST_NAMES).map(|name| format!("`{name}`")).collect();
    let rest = if names.len() > MOST_NAMES { ", .." } else { "" };
    shown.join(", ") + rest
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

/// The texts are those of `serde_json`'s error, so that both can be compared.
impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(&serde_json::Error::custom(text), FaultKind::Refused)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let kind = FaultKind::Unfit(expectation(expected), format!("{} {}", article(found), word(found)));
        Self::new(&serde_json::Error::invalid_type(found, expected), kind)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let kind = FaultKind::Unfit(expectation(expected), format!("an unsuitable {}", word(found)));
        Self::new(&serde_json::Error::invalid_value(found, expected), kind)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let kind = FaultKind::Unfit(expectation(expected), "another number of elements".to_owned());
        Self::new(&serde_json::Error::invalid_length(length, expected), kind)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let kind = match expected {
            [] => FaultKind::Refused,
            _ => FaultKind::Unfit(format!("one of {}", list(expected)), "another variant".to_owned()),
        };
        Self::new(&serde_json::Error::unknown_variant(variant, expected), kind)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(&serde_json::Error::unknown_field(field, expected), FaultKind::UnknownField(expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(&serde_json::Error::missing_field(field), FaultKind::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(&serde_json::Error::duplicate_field(field), FaultKind::Duplicate(field))
    }
}

fn expectation(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    if text.chars().count() <= LONGEST_EXPECTATION {
        return text;
    }
    text.chars().take(LONGEST_EXPECTATION).collect::<String>() + ".."
}

fn article(found: Unexpected<'_>) -> &'static str {
    match word(found) {
        "null" => "the value",
        word if word.starts_with(['a', 'e', 'i', 'o']) => "an",
        _ => "a",
    }
}

/// The value's name in JSON.
const fn word(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "number with a fraction",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) | Unexpected::UnitVariant => "string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "array",
        Unexpected::Map | Unexpected::StructVariant => "object",
        _ => "value of another kind",
    }
}
