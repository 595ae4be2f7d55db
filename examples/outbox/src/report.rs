//! The table at the end.

use std::fmt;

/// The orders that the shop has stored, and the messages that the campaign received.
pub(crate) struct Report {
    /// Whether the last shop has ended, and nothing is to be sent any more.
    pub(crate) over: bool,
    pub(crate) stored: usize,
    pub(crate) stored_cents: i64,
    pub(crate) counted: usize,
    pub(crate) counted_cents: i64,
}

impl Report {
    /// Whether each stored order was counted once, and no other.
    pub(crate) fn is_right(&self) -> bool {
        let stored = (self.stored, self.stored_cents);
        self.over && self.stored > 0 && stored == (self.counted, self.counted_cents)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_right() { "right" } else { "wrong" };
        writeln!(f)?;
        writeln!(f, "  orders that the shop stored  {:>12}", self.stored)?;
        writeln!(f, "  orders that were counted     {:>12}", self.counted)?;
        writeln!(f, "  GMV that the shop stored     {:>12}", money(self.stored_cents))?;
        write!(f, "  GMV that was counted         {:>12}   {verdict}", money(self.counted_cents))
    }
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
