//! Apache RocketMQ in Java alone: its timer and delay levels, its tools and clients, and members, brokers and name servers that
//! come, go and are killed.

mod admin;
mod delays;
mod deploys;
mod interop;
mod ordered;
mod outage;
mod plain;
mod soak;
mod workers;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::prelude::*;

use crate::kit::{self, Order};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One run of a handler.
#[derive(Debug, Clone)]
struct Run {
    id: String,
    attempt: u32,
    at: Instant,
}

/// The runs of a handler, in their order; clones share them.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<Run>>>);

impl Log {
    fn runs(&self) -> Vec<Run> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, runs: usize, deadline: Duration) -> Vec<Run> {
        kit::until_equal("runs of the handler", runs, deadline, async || self.runs().len()).await;
        self.runs()
    }

    /// A handler of orders that notes its run, and ends as it is told.
    fn handler(
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
