//! The runs of a handler, noted with their attempts and times.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Order};

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One run of a handler.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) at: Instant,
}

/// The runs of a handler, in their order; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(pub(crate) Arc<Mutex<Vec<Run>>>);

impl Log {
    pub(crate) fn runs(&self) -> Vec<Run> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) async fn until(&self, runs: usize, deadline: Duration) -> Vec<Run> {
        kit::until_equal("runs of the handler", runs, deadline, async || self.runs().len()).await;
        self.runs()
    }

    /// A handler of orders that notes its run, and ends as it is told.
    pub(crate) fn handler(
        &self,
        topic: &str,
        end: impl Fn(&str, u32) -> HandlerResult + Clone + Send + Sync + 'static,
    ) -> Route {
        let log = self.clone();
        handler(topic, move |order: Order, attempt: Attempt| {
            let run = Run { id: order.id.clone(), attempt: attempt.number(), at: Instant::now() };
            log.0.lock().unwrap().push(run);
            let ended = end(&order.id, attempt.number());
            async move { ended }
        })
        .key(|order| order.id.clone())
        .named("java")
    }
}
