//! The table at the end.

use std::fmt;

use crate::ledger::Totals;

/// Attempted orders, stored orders, and the messages that the consumer received.
pub(crate) struct Report {
    pub(crate) tried: usize,
    pub(crate) told: usize,
    pub(crate) asked: usize,
    pub(crate) ledger: Totals,
    pub(crate) messages: usize,
    pub(crate) runs: usize,
    pub(crate) counted: i64,
}

impl Report {
    /// Whether each stored order was counted once, and nothing else was.
    pub(crate) fn is_right(&self) -> bool {
        let Self { tried, ledger, runs, counted, .. } = self;
        ledger.paid + ledger.given_up == *tried && *runs == ledger.paid && *counted == ledger.cents
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_right() { "right" } else { "wrong" };
        writeln!(f)?;
        writeln!(f, "  orders tried                 {:>12}", self.tried)?;
        writeln!(f, "  told to the broker at once   {:>12}", self.told)?;
        writeln!(f, "  check-backs answered         {:>12}", self.asked)?;
        writeln!(f, "  stored by the shop           {:>12}", self.ledger.paid)?;
        writeln!(f, "  given up                     {:>12}", self.ledger.given_up)?;
        writeln!(f, "  messages that came of it     {:>12}", self.messages)?;
        writeln!(f, "  handler runs                 {:>12}", self.runs)?;
        writeln!(f)?;
        writeln!(f, "  GMV that the shop stored     {:>12}", money(self.ledger.cents))?;
        write!(f, "  GMV that was counted         {:>12}   {verdict}", money(self.counted))
    }
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
