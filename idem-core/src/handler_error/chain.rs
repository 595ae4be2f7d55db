//! A chain of errors, as an iterator and as text.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::iter;

use super::Mark;

/// No chain is this long; one that is runs in a circle.
const MAX_LEN: usize = 64;

const CUT: &str = "…";

/// The error and its sources, outermost first.
pub(super) fn of<'e>(
    error: &'e (dyn StdError + Send + Sync + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let outermost: &(dyn StdError + 'static) = error;
    iter::successors(Some(outermost), |error| (*error).source()).take(MAX_LEN)
}

/// The chain in one line of at most `max` bytes, without our marks.
pub(super) fn text(error: &(dyn StdError + Send + Sync + 'static), max: usize) -> String {
    let mut line = Line { text: String::new(), max: max - CUT.len() };
    let mut parent = String::new();
    for error in of(error).filter(|error| Mark::of(*error).is_none()) {
        let mut own = Line { text: String::new(), max };
        let fits = write!(own, "{error}").is_ok();
        if fits && parent.ends_with(&own.text) {
            continue;
        }
        let separator = if parent.is_empty() { "" } else { ": " };
        if write!(line, "{separator}{}", own.text).is_err() || !fits {
            line.text.push_str(CUT);
            break;
        }
        parent = own.text;
    }
    line.text
}

/// One line of bounded length: control characters become spaces, and writing past the end fails.
struct Line {
    text: String,
    max: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.text.len() + c.len_utf8() > self.max {
                return Err(fmt::Error);
            }
            self.text.push(if c.is_control() { ' ' } else { c });
        }
        Ok(())
    }
}
