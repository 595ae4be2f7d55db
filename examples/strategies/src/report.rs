//! The table at the end.

use std::fmt;
use std::time::Duration;

use crate::ledger::{Count, Counts};
use crate::strategy::{Expected, Promise, Strategy};

pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) counts: Counts,
    /// The number of messages that were sent to each strategy.
    pub(crate) messages: usize,
}

/// A strategy, and how it went.
pub(crate) struct Row {
    pub(crate) strategy: Strategy,
    pub(crate) expected: Expected,
    /// Until each message had its first verdict.
    pub(crate) took: Duration,
}

impl Row {
    /// Whether it has counted what it promises.
    fn is_kept(&self, count: Count) -> bool {
        let Expected { lines, repeated, .. } = self.expected;
        matches!(self.strategy.promise, Promise::Nothing)
            || (count.lines == lines + repeated && count.repeated == repeated)
    }

    fn verdict(&self, count: Count) -> String {
        match self.strategy.promise {
            Promise::OnceOrRepeated if self.is_kept(count) => format!("{} again", count.repeated),
            _ if count.lines == self.expected.lines && count.repeated == 0 => "right".to_owned(),
            _ => "wrong".to_owned(),
        }
    }

    fn millis_each(&self, messages: usize) -> f64 {
        self.took.as_secs_f64() * 1_000.0 / f64::from(u32::try_from(messages).unwrap_or(u32::MAX))
    }
}

impl Report {
    fn count(&self, row: &Row) -> Count {
        self.counts.of(row.strategy.topic)
    }

    /// Whether every strategy has kept its promise.
    pub(crate) fn is_right(&self) -> bool {
        self.rows.iter().all(|row| row.is_kept(self.count(row)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        writeln!(
            f,
            "  {:<46} {:>8} {:>8}  {:<8} {:>7}  alone it is weak at",
            "strategy", "expected", "counted", "", "ms each"
        )?;
        for row in &self.rows {
            let count = self.count(row);
            let (name, verdict, weak_at) = (&row.strategy.name, row.verdict(count), row.strategy.weak_at);
            let (expected, millis) = (row.expected.lines, row.millis_each(self.messages));
            writeln!(
                f,
                "  {name:<46} {expected:>8} {:>8}  {verdict:<8} {millis:>7.2}  {weak_at}",
                count.lines
            )?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "  ms each: from the storm's first message to the first verdict on its last one, by its {} messages;",
            self.messages
        )?;
        writeln!(f, "  sending is in it, and the wait for retries is not.")?;
        write!(
            f,
            "  again: the run failed after its work, which the retry repeats, as lease mode's promise says."
        )
    }
}
