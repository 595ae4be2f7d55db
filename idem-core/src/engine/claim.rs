//! The first step: a permit of the handler, then the key's lease.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::Gate;
use super::ticket::{Admission, ClaimedRun, Commit, Judgement, Leader, RepeatedClaim, Settled};
use super::verdict::{self, Patience};
use crate::clock::Later as _;
use crate::lease::Flight;
use crate::store::StoreError;

/// Starts of a handler that are reserved; none where the engine was closed. Dropping it gives them back.
#[derive(Debug)]
pub struct Permits(Option<Vec<OwnedSemaphorePermit>>);

impl Gate {
    /// Claims as many of `leaders` as can start at once, at least one, and takes them off the front. There is one
    /// admission for each of them, in their order. To be called again for the rest.
    ///
    /// # Cancel safety
    /// The leaders taken by a dropped call are given back.
    pub async fn claim(&self, leaders: &mut VecDeque<Leader>) -> Vec<Admission> {
        let permits = self.reserve(1, leaders.len()).await;
        self.claim_reserved(permits, leaders).await
    }

    /// The first half of [`claim`](Self::claim): waits until `at_least` runs can start, or as many as the handler
    /// may have at once, and reserves up to `at_most` starts.
    ///
    /// # Cancel safety
    /// Nothing is reserved when this is dropped.
    pub async fn reserve(&self, at_least: usize, at_most: usize) -> Permits {
        Permits(self.permits(at_least.clamp(1, self.0.policy.concurrency.max(1)), at_most).await)
    }

    /// The second half: claims as many of `leaders` as there are reserved starts.
    ///
    /// # Cancel safety
    /// The leaders taken by a dropped call are given back.
    pub async fn claim_reserved(&self, permits: Permits, leaders: &mut VecDeque<Leader>) -> Vec<Admission> {
        let Some(permits) = permits.0 else {
            return leaders.drain(..).map(Leader::leave).collect();
        };
        let mut claiming: Vec<Leader> = leaders.drain(..permits.len()).collect();
        if let Some(transacts) = &self.0.transacts {
            let opening = claiming.into_iter().zip(permits);
            return match transacts.commit {
                Commit::Each => opening.map(|(leader, permit)| self.open_later(leader, permit)).collect(),
                Commit::Together | Commit::Savepoints => self.open_together(opening.collect()).await,
            };
        }
        let claims = &self.0.engine.claims;
        let mut turns = Vec::new();
        for leader in &claiming {
            claims.turn(&leader.flight, &mut turns).await;
        }
        let requests = claiming.iter_mut().map(Leader::claim_request).collect();
        let replies = claims.call(requests, turns).await;
        let now = self.0.engine.clock.now();
        let claims = claiming.into_iter().zip(permits).zip(replies.answers);
        claims
            .map(|((leader, permit), answer)| {
                let mut patience = Patience::default();
                match self.judge_at(now, leader, permit, replies.sent, &answer, &mut patience) {
                    Judgement::Admitted(admission) => admission,
                    Judgement::Again(again) => Admission::Later(self.clone().again(again, patience).boxed()),
                }
            })
            .collect()
    }

    /// Sends back a message that waits for a slow handler, so that messages of other handlers can get in. It costs no attempt.
    pub fn defer(&self, leader: Leader) -> Settled {
        let decision = verdict::deferred(self.policy(), leader.message().redeliveries);
        Settled::of(leader.decide(decision))
    }

    /// A run without dedup: for a message without a key, or while the store fails and the policy says open.
    pub async fn admit_without_dedup(&self, attempt: u32) -> Admission {
        let Some(permit) = self.permit().await else {
            return Admission::Decided(Settled::leave());
        };
        self.run_without_dedup(attempt, permit)
    }

    pub(super) fn run_without_dedup(&self, attempt: u32, permit: OwnedSemaphorePermit) -> Admission {
        let flight = Arc::new(Flight::new(None, None, None));
        self.watch(&flight, self.0.engine.clock.now());
        Admission::Run(ClaimedRun {
            gate: self.clone(),
            leader: None,
            flight,
            attempt,
            permit,
            transaction: None,
            member: None,
        })
    }

    /// Waits for `at_least` permits and takes up to `at_most`. `None` when the engine was stopped.
    ///
    /// One call waits for permits while the others wait for their turn: what becomes free until it wakes up is
    /// its, so that under load calls claim many keys at once instead of one each.
    async fn permits(&self, at_least: usize, at_most: usize) -> Option<Vec<OwnedSemaphorePermit>> {
        let _turn = self.0.turn.lock().await;
        self.0.next.store(at_least, Ordering::Release);
        let mut together = self.permits_together(at_least).await?;
        self.0.next.store(1, Ordering::Release);
        let mut permits = Vec::with_capacity(at_least.max(at_most));
        permits.extend(std::iter::from_fn(|| together.split(1)));
        while permits.len() < at_most
            && let Ok(permit) = self.0.permits.clone().try_acquire_owned()
        {
            permits.push(permit);
        }
        Some(permits)
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits_together(1).await
    }

    async fn permits_together(&self, count: usize) -> Option<OwnedSemaphorePermit> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            () = self.0.engine.closing.cancelled() => None,
            permits = self.0.permits.clone().acquire_many_owned(count) => permits.ok(),
        }
    }

    /// Claims one key again and again, until there is something to admit.
    async fn again(self, mut again: RepeatedClaim, mut patience: Patience) -> Admission {
        loop {
            let RepeatedClaim { leader, permit, after } = again;
            let Some((mut held, held_permit)) = self.turn(leader, permit, after).await else {
                return Admission::Decided(Settled::leave());
            };
            let request = held.claim_request();
            let (sent, answer) = self.0.engine.claims.ask(&held.flight, request).await;
            match self.judge(held, held_permit, sent, &answer, &mut patience) {
                Judgement::Admitted(admission) => return admission,
                Judgement::Again(next) => again = next,
            }
        }
    }

    /// Waits for its turn to claim again; none where the engine was closed first, and the key is given back.
    pub(super) async fn turn(
        &self,
        leader: Leader,
        permit: Option<OwnedSemaphorePermit>,
        after: Duration,
    ) -> Option<(Leader, OwnedSemaphorePermit)> {
        if !after.is_zero() {
            tokio::select! {
                biased;
                () = self.0.engine.closing.cancelled() => return None,
                () = tokio::time::sleep(after) => {}
            }
        }
        let permit = match permit {
            Some(permit) => permit,
            None => self.permit().await?,
        };
        Some((leader, permit))
    }

    /// Says that the store does not answer, at the first failure and at every thirtieth after it.
    pub(super) fn report_unanswered(&self, what: &str, error: &StoreError, failures: u32) {
        if error.is_full() {
            let engine = &self.0.engine;
            engine.fullness.refused(engine.store.name(), error, engine.clock.now());
        } else if failures == 0 || failures.is_multiple_of(30) {
            tracing::warn!(
                handler = &*self.0.name,
                store = self.0.engine.store.name(),
                failures,
                %error,
                "the store does not answer {what}"
            );
        }
    }

    /// The end of a lease that was asked for at `sent`, less a margin for what the clocks of two machines and a
    /// tick of the watch may differ.
    pub(crate) fn local_deadline(&self, sent: Duration) -> Duration {
        sent.later(super::watch::safe_part(self.0.policy.lease))
    }

    /// Has a lease renewed from now on, also while its handler waits for its first poll. The handler's time begins with that.
    pub(super) fn watch(&self, flight: &Arc<Flight>, now: Duration) {
        self.0.engine.watch.add(flight, &self.0.policy, now);
    }
}

impl Leader {
    fn leave(self) -> Admission {
        // Gives back what a claim under way may have taken.
        drop(self);
        Admission::Decided(Settled::leave())
    }
}
