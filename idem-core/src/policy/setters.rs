//! One method for each setting, the same on everything that settings are said to.

/// Gives a type the setters. It keeps its settings where its private `said(&mut self) -> &mut Settings` finds them.
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    ($type:ty) => {
        $crate::setters! { $type:
            /// How long a claim lasts without renewal, which comes every third of it.
            lease: ::std::time::Duration,
            /// How long a run may take. `Duration::MAX`, as all above a hundred years, is for ever.
            timeout: ::std::time::Duration,
            /// How long a completion is remembered. `Duration::MAX`, as all above a hundred years, is for ever.
            retention: ::std::time::Duration,
            /// How many runs may fail before the message is a dead letter; [`UNLIMITED`](crate::UNLIMITED) for never.
            max_attempts: u32,
            /// The delays between attempts.
            backoff: $crate::Backoff,
            /// How many messages the handler works on at once.
            concurrency: usize,
            /// The reaction to a key that is in progress elsewhere.
            in_progress: $crate::InProgress,
            /// The reaction to a store that fails at the claim.
            store_failure: $crate::StoreFailure,
            /// The reaction to a payload that does not decode.
            undecodable: $crate::Undecodable,
            /// The reaction to a message that has no key, or an empty or over-long one.
            missing_key: $crate::MissingKey,
            /// The reaction to a key that is known under another payload, by the codec's `fingerprint`. In JSON, neither
            /// whitespace nor the order of an object's members counts, and numbers count as they are written.
            fingerprint: $crate::FingerprintMismatch,
            /// The reaction to an earlier run of the key that ended without an answer: its process died, it was cancelled or
            /// panicked, or it said [`Uncertain`]($crate::Uncertain).
            uncertain: $crate::UncertainRun,
        }
    };
    ($type:ty: $($(#[$doc:meta])* $name:ident: $said:ty,)*) => {
        impl $type {$(
            $(#[$doc])*
            pub fn $name(mut self, $name: $said) -> Self {
                self.said().$name = Some($name);
                self
            }
        )*}
    };
}
