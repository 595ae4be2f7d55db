//! Texts on what takes more than one part of idem.

#[doc = include_str!("docs/consuming.md")]
pub mod consuming {}

#[doc = include_str!("docs/rolling_deploys.md")]
pub mod rolling_deploys {}

#[doc = include_str!("docs/doubt.md")]
pub mod doubt {}

#[doc = include_str!("docs/strategies.md")]
pub mod strategies {}

#[doc = include_str!("docs/transactions.md")]
pub mod transactions {}

#[doc = include_str!("docs/outbox.md")]
pub mod outbox {}

#[doc = include_str!("docs/tracing.md")]
pub mod tracing {}

#[cfg(test)]
mod tests;
