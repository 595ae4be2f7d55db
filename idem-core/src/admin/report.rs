//! A record in words.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;

use crate::doubt::MemberId;
use crate::record::{Record, State};
use crate::store::{ListedRecord, MemberEntry};

/// A record, and the members that it names.
///
/// `Display` answers why the work is not done, or when it was, in a few lines. They show the key, and the words of an error: they
/// are for an operator's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordReport {
    /// The record, as it stood.
    pub found: ListedRecord,
    /// Those of its members that the registry knows.
    pub members: Vec<MemberEntry>,
}

impl RecordReport {
    pub(super) fn new(found: ListedRecord, mut members: Vec<MemberEntry>) -> Self {
        let named = |record: &Record| [Some(record.member), record.doubt.map(|doubt| doubt.member)];
        let named = found.record.as_ref().map_or([None, None], named);
        members.retain(|known| named.contains(&Some(known.member)));
        Self { found, members }
    }

    fn member(&self, member: MemberId) -> String {
        let known = self.members.iter().find(|known| known.member == member);
        known.map_or_else(|| format!("{member} (no longer known)"), ToString::to_string)
    }
}

fn time(since_epoch: Duration) -> impl fmt::Display {
    format_rfc3339_seconds(UNIX_EPOCH.checked_add(since_epoch).unwrap_or(UNIX_EPOCH))
}

impl fmt::Display for RecordReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListedRecord { key, record, remaining, now } = &self.found;
        writeln!(f, "{key}, at {}", time(*now))?;
        let record = match record {
            Ok(record) => record,
            Err(error) => return write!(f, "  {error}"),
        };
        match record.state {
            State::Completed => writeln!(f, "  completed: the work is done")?,
            State::InProgress if remaining.is_zero() => {
                writeln!(
                    f,
                    "  in progress, but the lease is over: the next message of the key takes it over"
                )?;
            }
            State::InProgress => {
                writeln!(f, "  in progress: the lease lasts {:.1} s still", remaining.as_secs_f64())?;
            }
            State::Released if record.doubt.is_some() => {
                writeln!(
                    f,
                    "  released: the next message of the key is handled as its handler says of doubts"
                )?;
            }
            State::Released => writeln!(f, "  released: the next message of the key is handled")?,
        }
        if let Some(doubt) = record.doubt {
            writeln!(f, "  in doubt since {}: {}", time(Duration::from_micros(doubt.fence.0)), doubt.cause)?;
            writeln!(f, "    in attempt {} of member {}", doubt.attempt, self.member(doubt.member))?;
            writeln!(f, "    decide `done` if its effect is there, `run` if it is not")?;
        }
        writeln!(f, "  {} failed attempts were counted", record.attempts)?;
        writeln!(
            f,
            "  claimed last {} by member {}",
            time(Duration::from_micros(record.fence.0)),
            self.member(record.member)
        )?;
        if let Some(message) = record.message {
            writeln!(f, "    for the message {message}")?;
        }
        if let Some(last) = &record.last {
            writeln!(f, "  the last run that did not complete it: {}", last.outcome.as_str())?;
            if !last.error.is_empty() {
                writeln!(f, "    {}", last.error)?;
            }
        }
        Ok(())
    }
}
