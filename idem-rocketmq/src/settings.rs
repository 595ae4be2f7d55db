#![doc = include_str!("docs/settings.md")]

pub use idem_core::{
    Backoff, FingerprintMismatch, InProgress, MissingKey, Settings, StoreFailure, UNLIMITED, UncertainRun,
    Undecodable,
};
