//! The table at the end.

use std::fmt;

/// The messages that were sent, their outcomes, and the sums.
pub(crate) struct Report {
    pub(crate) orders: usize,
    pub(crate) sent: usize,
    pub(crate) deliveries: u64,
    pub(crate) runs: usize,
    pub(crate) duplicates: u64,
    pub(crate) retries: u64,
    pub(crate) dead_letters: usize,
    pub(crate) expected: i64,
    pub(crate) plain: i64,
    pub(crate) idem: i64,
}

impl Report {
    /// Whether idem has counted each order exactly once.
    pub(crate) fn is_right(&self) -> bool {
        self.idem == self.expected && self.dead_letters == 1
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = |cents| if cents == self.expected { "right" } else { "wrong" };
        writeln!(f)?;
        writeln!(f, "  orders                       {:>12}", self.orders)?;
        writeln!(f, "  messages sent                {:>12}", self.sent)?;
        writeln!(f, "  deliveries, with retries     {:>12}", self.deliveries)?;
        writeln!(f, "  handler runs                 {:>12}", self.runs)?;
        writeln!(f, "  duplicates skipped           {:>12}", self.duplicates)?;
        writeln!(f, "  retries                      {:>12}", self.retries)?;
        writeln!(f, "  dead letters                 {:>12}", self.dead_letters)?;
        writeln!(f)?;
        writeln!(f, "  GMV expected                 {:>12}", money(self.expected))?;
        writeln!(f, "  GMV of the plain listener    {:>12}   {}", money(self.plain), verdict(self.plain))?;
        write!(f, "  GMV with idem                {:>12}   {}", money(self.idem), verdict(self.idem))
    }
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
