//! The table at the end.

use std::fmt;

/// The messages that were sent, and the contents of the index.
pub(crate) struct Report {
    pub(crate) orders: usize,
    pub(crate) sent: usize,
    pub(crate) seconds: f32,
    pub(crate) requests: usize,
    pub(crate) written: usize,
    pub(crate) refused: usize,
    pub(crate) documents: usize,
    pub(crate) dead_letters: usize,
    pub(crate) cents: i64,
    pub(crate) expected_cents: i64,
}

impl Report {
    /// Whether each good order was written once, with fewer requests than orders, and the bad one alone was refused, as
    /// often as it may be tried.
    pub(crate) fn is_right(&self) -> bool {
        self.is_written_once()
            && self.cents == self.expected_cents
            && (self.refused, self.dead_letters) == (3, 1)
            && self.requests * 2 < self.orders
    }

    fn is_written_once(&self) -> bool {
        self.written == self.documents && self.documents + 1 == self.orders
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = |is_right| if is_right { "right" } else { "wrong" };
        let (written, sum) = (verdict(self.is_written_once()), verdict(self.cents == self.expected_cents));
        writeln!(f)?;
        writeln!(f, "  orders                        {:>10}", self.orders)?;
        writeln!(f, "  messages sent                 {:>10}", self.sent)?;
        writeln!(f, "  seconds                       {:>10.1}", self.seconds)?;
        writeln!(f, "  requests to the index         {:>10}", self.requests)?;
        writeln!(f, "  documents in the index        {:>10}", self.documents)?;
        writeln!(f, "  times a document was written  {:>10}   {written}: each once", self.written)?;
        writeln!(f, "  times the bad one was tried   {:>10}", self.refused)?;
        writeln!(f, "  dead letters                  {:>10}", self.dead_letters)?;
        writeln!(f, "  sum expected                  {:>10}", money(self.expected_cents))?;
        write!(f, "  sum in the index              {:>10}   {sum}", money(self.cents))
    }
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
