#![doc = include_str!("docs/testing.md")]

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use idem_core::engine::{Admission, Engine, Settled};
use idem_core::{Attempt, Decision, engine};
use tracing::Instrument as _;

use crate::Error;
use crate::consumer::{Builder, HasStore};
use crate::delivery::Delivery;
use crate::handler::{CallContext, Run};
use crate::listener::dispatch::{Dispatch, Entry, Handler};
use crate::listener::no_handler;

pub use idem_core::{Outcome, Verdict};

/// A consumer without a broker: it takes deliveries by hand and says what it would tell the broker.
pub struct TestConsumer {
    dispatch: Dispatch,
}

impl<S> Builder<S> {
    /// The consumer without a broker, for tests of handlers. Name servers and credentials are not looked at.
    ///
    /// # Errors
    /// What [`check`](Self::check) would say.
    pub fn test(self) -> Result<TestConsumer, Error>
    where
        S: HasStore,
    {
        let (mut setup, store) = self.into_parts();
        setup.name_servers = vec!["127.0.0.1:9876".to_owned()];
        setup.credentials = None;
        setup.check()?;
        let dispatch = setup.dispatch(&Engine::new(store))?;
        Ok(TestConsumer { dispatch })
    }
}

impl TestConsumer {
    /// Delivers one message through the whole glue: it is routed, decoded, keyed, claimed, run and settled.
    ///
    /// Where the decision is a dead letter, the broker counts as having stored it.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the handler and gives its key back.
    pub async fn deliver(&self, delivery: impl Into<Arc<Delivery>>) -> Decision {
        let delivery = delivery.into();
        let Some((_, handler)) = self.dispatch.handler(delivery.topic(), delivery.tag()) else {
            return no_handler(&delivery);
        };
        let Settled { decision, held } = self.handle(handler, &delivery).await;
        if let Some(held) = held {
            held.release(&decision).await;
        }
        decision
    }

    async fn handle(&self, handler: &Handler, delivery: &Arc<Delivery>) -> Settled {
        let gate = &handler.gate;
        let mut hash = None;
        let (mut admission, run) = match handler.prepare(delivery).entry {
            Entry::Unfit { what, reason, run } => {
                (gate.unfit(what, reason, delivery.reconsume_times() + 1).await, run)
            }
            Entry::Ready { job, run } => {
                hash = Some(job.key.hash64());
                gate.fit();
                match gate.enter(job) {
                    engine::Entry::Follower(follower) => (follower.admit().await, Some(run)),
                    engine::Entry::Leader(leader) => {
                        let mut leaders = VecDeque::from([leader]);
                        (gate.claim(&mut leaders).await.remove(0), Some(run))
                    }
                }
            }
        };
        loop {
            match admission {
                Admission::Later(later) => admission = later.await,
                Admission::Decided(settled) => return settled,
                Admission::Run(claimed) => {
                    let run = run.expect("what is run was decoded");
                    let work = |lease, attempt| {
                        let span = handler.span(delivery, attempt, hash);
                        self.call(run, delivery, lease, attempt).instrument(span)
                    };
                    let finished = claimed.run(work).await;
                    return gate.settle_one(finished).await;
                }
            }
        }
    }

    fn call(
        &self,
        run: Run,
        delivery: &Arc<Delivery>,
        lease: idem_core::Lease,
        attempt: Attempt,
    ) -> futures_util::future::BoxFuture<'static, idem_core::HandlerResult> {
        let (delivery, states) = (delivery.clone(), self.dispatch.states.clone());
        run.call(CallContext { delivery, states, lease, attempt })
    }
}

impl fmt::Debug for TestConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestConsumer").field("handlers", &self.dispatch.handlers().len()).finish()
    }
}
