//! The parts of the soak.

pub(crate) mod crew;
pub(crate) mod ledger;
pub(crate) mod load;
