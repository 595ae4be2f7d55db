//! Settings that may be meant, and of which a start warns all the same.

use idem_core::{ADVISED_RETENTION, Store};

use super::plan::{Plan, Planned};
use crate::client::{DelayBy, LONGEST_TIMER, Mode};
use crate::listener::CROWD;

/// Backoffs reach their longest delay before this attempt.
const MANY_ATTEMPTS: u32 = 1_000;

impl Plan {
    pub(super) fn warn(&self, store: &dyn Store) {
        self.warn_of_short_retention();
        self.warn_of_long_delays();
        self.warn_of_too_much_at_once();
        self.warn_of_a_shared_pool(store);
    }

    fn warn_of_short_retention(&self) {
        for Planned { route, policy } in &self.handlers {
            if policy.retention < ADVISED_RETENTION {
                tracing::warn!(
                    group = self.group(),
                    handler = route.name(),
                    retention = ?policy.retention,
                    "the retention is shorter than the 72 h for which a broker keeps messages: whoever resets an \
                     offset further back than the retention has old messages handled again"
                );
            }
        }
    }

    /// A retry whose delay is longer than the broker has any is sent on and on by the group's members.
    fn warn_of_long_delays(&self) {
        if self.mode != Mode::Concurrent {
            return;
        }
        let longest = match self.cluster.asks_delays_by() {
            DelayBy::Level => self.cluster.levels().longest(),
            DelayBy::Timer => LONGEST_TIMER,
        };
        for Planned { route, policy } in &self.handlers {
            let retries = 1..policy.max_attempts.min(MANY_ATTEMPTS);
            let delay = retries.map(|attempt| policy.backoff.after(attempt)).max().unwrap_or_default();
            if delay > longest {
                tracing::warn!(
                    group = self.group(),
                    handler = route.name(),
                    ?delay,
                    ?longest,
                    "retries wait longer than the broker's longest delay: they come earlier and are sent on, without an \
                     attempt, until their time has come"
                );
            }
        }
    }

    /// Runs hold the threads of their listener calls: beyond these, a slow handler could starve another, where there is one.
    fn warn_of_too_much_at_once(&self) {
        let at_once = at_once(&self.handlers);
        if at_once > CROWD && self.handlers.len() > 1 {
            tracing::warn!(
                group = self.group(),
                at_once,
                "the handlers may work on more messages at once than the {CROWD} listener calls for which the \
                 consumer has threads: where messages come one by one, a slow handler can starve another; lower \
                 their concurrency, or use two consumer groups"
            );
        }
    }

    /// A transaction's connection is the store's to give, and some are kept back; what a handler in lease mode takes out of
    /// a pool that it shares with the store is its own affair.
    fn warn_of_a_shared_pool(&self, store: &dyn Store) {
        let Some(connections) = store.connections().filter(|_| store.shares_connections()) else { return };
        let at_once = at_once(self.handlers.iter().filter(|planned| !planned.route.is_transactional()));
        if at_once >= usize::try_from(connections).unwrap_or(usize::MAX) {
            tracing::warn!(
                group = self.group(),
                store = store.name(),
                at_once,
                connections,
                "the store shares a pool with the program, and the handlers may work on as many messages at once as the pool \
                 has connections: where each takes one, leases are not renewed in time, and the work is done again; give the \
                 store a URL instead of the pool, or more connections to the pool, or lower the handlers' concurrency"
            );
        }
    }
}

/// How many messages these may work on at once, all together.
fn at_once<'a>(handlers: impl IntoIterator<Item = &'a Planned>) -> usize {
    handlers.into_iter().fold(0, |sum, planned| sum.saturating_add(planned.policy.concurrency))
}
