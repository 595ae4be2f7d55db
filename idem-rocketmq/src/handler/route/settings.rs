//! The handler's own policy, one method a setting. What is not said comes from the consumer's defaults.

use std::time::Duration;

use idem_core::{Backoff, FingerprintMismatch, InProgress, MissingKey, Settings, StoreFailure, Undecodable};

use super::Route;

impl Route {
    /// All settings at once; those said before stay where these say nothing.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings.or(&self.settings);
        self
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $ty:ty,)*) => {
        impl Route {$(
            $(#[$doc])*
            pub fn $name(mut self, $name: $ty) -> Self {
                self.settings.$name = Some($name);
                self
            }
        )*}
    };
}

setters! {
    /// How long a completion is remembered.
    retention: Duration,
    /// How long a claim lasts without renewal.
    lease: Duration,
    /// How long a run may take.
    timeout: Duration,
    /// How many messages the handler works on at once.
    concurrency: usize,
    /// How many runs may fail before the message is a dead letter; [`UNLIMITED`](crate::UNLIMITED) for never.
    max_attempts: u32,
    /// The delays between attempts.
    backoff: Backoff,
    /// What to do when the key is in progress elsewhere.
    in_progress: InProgress,
    /// What to do when the store fails at claim.
    store_failure: StoreFailure,
    /// What to do with a payload that does not decode.
    undecodable: Undecodable,
    /// What to do with a message that has no key.
    missing_key: MissingKey,
    /// What to do when the key is known under another payload: another [`Codec::fingerprint`](crate::codec::Codec::fingerprint).
    /// In JSON, neither whitespace nor the order of an object's members counts, and numbers count as they are written.
    fingerprint: FingerprintMismatch,
}
