//! The parts that a guard still lacks before it can be applied: the compiler knows them, so that none is forgotten.

/// `id(column, value)`: which row.
pub enum NeedsId {}
/// `from(state)`: where the row comes from. Further `id`s are taken, too.
pub enum NeedsFrom {}
/// `to(state)`: where it goes.
pub enum NeedsTo {}
/// `read(version)` or `carried(version)`. Further `id`s are taken, too.
pub enum NeedsVersion {}
/// Nothing: `apply(..)`.
pub enum Ready {}

/// A stage in which the row is still being named.
pub trait TakesId {}

impl TakesId for NeedsId {}
impl TakesId for NeedsFrom {}
impl TakesId for NeedsVersion {}
