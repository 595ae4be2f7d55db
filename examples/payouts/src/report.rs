//! The tables, from the provider's ledger and the dead letters.

use std::fmt;

/// The payouts of one policy.
#[derive(Default)]
pub(crate) struct PolicyReport {
    pub(crate) policy: &'static str,
    pub(crate) once: usize,
    pub(crate) twice: usize,
    pub(crate) unpaid: usize,
    /// Dead letters that a person has to look into, whether paid or not.
    pub(crate) in_doubt: usize,
}

impl PolicyReport {
    /// Whether the policy has kept its promise. `run` has none about this.
    pub(crate) fn is_right(&self) -> bool {
        match self.policy {
            "run" => self.unpaid == 0,
            "check" => self.twice == 0 && self.unpaid == 0 && self.in_doubt == 0,
            _ => self.twice == 0 && self.unpaid <= self.in_doubt,
        }
    }
}

pub(crate) struct Report(pub(crate) Vec<PolicyReport>);

impl Report {
    pub(crate) fn is_right(&self) -> bool {
        self.0.iter().all(PolicyReport::is_right)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  uncertain =   paid once   paid twice   not paid   left in doubt")?;
        for PolicyReport { policy, once, twice, unpaid, in_doubt } in &self.0 {
            writeln!(f, "  {policy:<12}{once:>11}{twice:>13}{unpaid:>11}{in_doubt:>16}")?;
        }
        write!(
            f,
            "\n  {}",
            if self.is_right() { "right: nobody was paid twice under check and hold" } else { "WRONG" }
        )
    }
}
