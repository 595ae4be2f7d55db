//! The third step: what the run came to is recorded, and the message is decided.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream::FuturesUnordered;

use super::Gate;
use super::enter::Leader;
use super::judge::hold_delay;
use super::run::{Finished, Ran};
use crate::handler_error::Disposition;
use crate::lease::Stop;
use crate::outcome::{Decision, Outcome, Verdict};
use crate::record::State;
use crate::store::{Answer, Attempts, CompleteRequest, ReleaseRequest, StoreError};

/// How long a settlement may still take once the engine was stopped.
const LAST_TRY: Duration = Duration::from_secs(2);

/// A message that is decided.
#[derive(Debug)]
#[must_use]
pub struct Settled {
    /// What is decided.
    pub decision: Decision,
    /// The key, still held, where the message is to become a dead letter: to be released when the broker has
    /// confirmed the dead letter, so that no duplicate runs meanwhile.
    pub held: Option<Held>,
}

impl Settled {
    pub(super) fn of(decision: Decision) -> Self {
        Self { decision, held: None }
    }

    pub(super) fn leave() -> Self {
        Self::of(Decision::new(Verdict::Leave, Outcome::Shutdown))
    }
}

/// A key that is held while its message becomes a dead letter. Dropping it gives the key back with its attempts.
pub struct Held {
    leader: Option<Leader>,
}

impl Held {
    pub(super) fn new(leader: Leader) -> Self {
        Self { leader: Some(leader) }
    }

    /// Gives the key back with all its attempts: the broker has the dead letter, and a replay starts anew.
    ///
    /// # Cancel safety
    /// Dropping this gives the key back with its attempts as they were.
    pub async fn release(mut self, decision: &Decision) {
        let Some(leader) = self.leader.take() else { return };
        let gate = leader.gate.clone();
        gate.0.engine.watch.remove(&leader.flight);
        if let Some(request) = leader.release_request(Attempts::Reset) {
            let bound = gate.policy().lease;
            let _ = tokio::time::timeout(bound, gate.release(request)).await;
        }
        leader.decide(decision.clone());
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Gate {
    /// Settles runs that finished together: one round trip for all that succeeded, one beside it for those that
    /// did not. The answers come in the runs' order.
    ///
    /// While the store does not answer, this waits and asks again: the work was done, and only its record keeps
    /// a duplicate from doing it again.
    ///
    /// # Cancel safety
    /// What was sent to the store is sent; a run that was not settled gives its key back.
    pub async fn settle(&self, finished: Vec<Finished>) -> Vec<Settled> {
        let mut settled: Vec<Option<Settled>> = finished.iter().map(|_| None).collect();
        self.settle_each(finished, |place, decided| settled[place] = Some(decided)).await;
        settled.into_iter().flatten().collect()
    }

    /// As [`settle`](Self::settle), but tells each run's place and outcome as soon as it is known: those that the store does
    /// not answer for hold up no other.
    ///
    /// # Cancel safety
    /// As that of [`settle`](Self::settle).
    pub async fn settle_each(&self, finished: Vec<Finished>, mut tell: impl FnMut(usize, Settled)) {
        let engine = &self.0.engine;
        let completions = finished.iter().filter_map(Finished::completion).collect();
        let releases = finished.iter().filter_map(Finished::release).collect();
        let (completions, releases) =
            join(engine.completions.call(completions), engine.releases.call(releases)).await;
        let (mut completions, mut releases) = (completions.answers.into_iter(), releases.answers.into_iter());
        let mut later = FuturesUnordered::new();
        for (place, run) in finished.into_iter().enumerate() {
            let answer = match run.kind() {
                Kind::Completes => completions.next(),
                Kind::Releases => releases.next(),
                Kind::Holds | Kind::Free => None,
            };
            match run.decided_by(answer.as_ref()) {
                Some(decision) => tell(place, run.concluded(decision)),
                None => later.push(async move { (place, run.settled(answer).await) }),
            }
        }
        while let Some((place, settled)) = later.next().await {
            tell(place, settled);
        }
    }

    /// As [`settle`](Self::settle), for one run.
    pub async fn settle_one(&self, finished: Finished) -> Settled {
        let answer = match (finished.completion(), finished.release()) {
            (Some(request), _) => Some(self.0.engine.completions.call_one(request).await.1),
            (None, Some(request)) => Some(self.0.engine.releases.call_one(request).await.1),
            (None, None) => None,
        };
        match finished.decided_by(answer.as_ref()) {
            Some(decision) => finished.concluded(decision),
            // Boxed, because it is rare and large, and each message's task would have room for it.
            None => Box::pin(finished.settled(answer)).await,
        }
    }

    pub(super) fn complete_request(&self, leader: &Leader) -> Option<CompleteRequest> {
        Some(CompleteRequest {
            key: leader.flight.key.clone()?,
            token: leader.flight.token,
            fence: leader.flight.fence(),
            retention: self.policy().retention,
            fingerprint: leader.flight.fingerprint,
            reply: None,
        })
    }

    /// Releases a key, for as long as it takes. Gives up soon after the engine was stopped.
    async fn release(&self, request: ReleaseRequest) -> Option<Answer> {
        let releases = &self.0.engine.releases;
        self.ask_until_answered(|| async { releases.call_one(request.clone()).await.1 }).await
    }

    async fn complete(&self, request: CompleteRequest) -> Option<Answer> {
        let completions = &self.0.engine.completions;
        self.ask_until_answered(|| async { completions.call_one(request.clone()).await.1 }).await
    }

    /// Asks until there is an answer, or a record that this version does not understand, or the engine is gone.
    async fn ask_until_answered<F>(&self, ask: impl Fn() -> F) -> Option<Answer>
    where
        F: Future<Output = Result<Answer, StoreError>>,
    {
        let asking = async {
            let mut failures = 0_u32;
            loop {
                match ask().await {
                    Ok(answer) => return Some(answer),
                    Err(error) if error.is_record() => return None,
                    Err(error) => {
                        self.report_unanswered("a settlement: asking again until it does", &error, failures);
                        failures = failures.saturating_add(1);
                        tokio::time::sleep(hold_delay(failures)).await;
                    }
                }
            }
        };
        let gone = async {
            self.0.engine.stop.cancelled().await;
            tokio::time::sleep(LAST_TRY).await;
        };
        tokio::select! {
            answer = asking => answer,
            () = gone => None,
        }
    }
}

/// What a finished run needs from the store.
enum Kind {
    Completes,
    Releases,
    /// The key is held until the dead letter is stored.
    Holds,
    /// The store has no lease: the run was without dedup, or its transaction has settled it.
    Free,
}

impl Finished {
    fn kind(&self) -> Kind {
        match &self.result {
            Ran::Decided(_) | Ran::Undone(_) => Kind::Free,
            _ if !self.leader.as_ref().is_some_and(|leader| leader.is_claimed) => Kind::Free,
            Ran::Ok => Kind::Completes,
            Ran::Stopped(Stop::Lost) | Ran::Shutdown => Kind::Releases,
            _ if self.is_dead_letter() => Kind::Holds,
            _ => Kind::Releases,
        }
    }

    fn is_dead_letter(&self) -> bool {
        let is_last = self.attempt >= self.gate.policy().max_attempts;
        match &self.result {
            Ran::Err { disposition: Disposition::Reject, .. } => true,
            Ran::Err { .. } | Ran::Panicked | Ran::Stopped(Stop::TimedOut) => is_last,
            Ran::Ok | Ran::Stopped(Stop::Lost) | Ran::Shutdown | Ran::Decided(_) | Ran::Undone(_) => false,
        }
    }

    fn completion(&self) -> Option<CompleteRequest> {
        let leader = self.leader.as_ref().filter(|_| matches!(self.result, Ran::Ok))?;
        self.gate.complete_request(leader)
    }

    fn release(&self) -> Option<ReleaseRequest> {
        let Kind::Releases = self.kind() else { return None };
        let attempts = match self.result {
            Ran::Stopped(Stop::Lost) | Ran::Shutdown => Attempts::Keep,
            _ => Attempts::Count,
        };
        self.leader.as_ref()?.release_request(attempts)
    }

    /// The decision, where the store's first answer is all that it needs.
    fn decided_by(&self, first: Option<&Result<Answer, StoreError>>) -> Option<Decision> {
        match (self.kind(), first) {
            (Kind::Holds | Kind::Free, _) | (Kind::Releases, Some(Ok(_))) => Some(self.decide()),
            (Kind::Completes, Some(Ok(Answer::Done))) => {
                Some(Decision::new(Verdict::Ack, Outcome::Completed).attempt(self.attempt))
            }
            (Kind::Completes | Kind::Releases, _) => None,
        }
    }

    /// The decision, after the store's first answer, or after as many more as it takes.
    async fn settled(self, first: Option<Result<Answer, StoreError>>) -> Settled {
        let decision = match self.kind() {
            Kind::Completes => self.completed(first).await,
            Kind::Releases => self.released(first).await,
            Kind::Holds | Kind::Free => self.decide(),
        };
        self.concluded(decision)
    }

    fn concluded(mut self, decision: Decision) -> Settled {
        let is_held = decision.verdict == Verdict::DeadLetter;
        let is_open =
            matches!(decision.outcome, Outcome::LeaseLost | Outcome::Shutdown | Outcome::TransactionFailed);
        match self.leader.take() {
            None => Settled::of(decision),
            Some(leader) if is_held => {
                self.gate.watch(&leader.flight, self.gate.0.engine.clock.now());
                Settled { decision, held: Some(Held::new(leader)) }
            }
            Some(leader) if is_open => {
                leader.abandon();
                Settled::of(decision)
            }
            Some(leader) => Settled::of(leader.decide(decision)),
        }
    }

    /// The decision that needs no answer of the store.
    fn decide(&self) -> Decision {
        let policy = self.gate.policy();
        let decision = match &self.result {
            Ran::Ok => Decision::new(Verdict::Ack, Outcome::CompletedWithoutDedup),
            Ran::Err { disposition: Disposition::Reject, text } => {
                Decision::new(Verdict::DeadLetter, Outcome::Rejected).because(text.clone())
            }
            Ran::Err { disposition: Disposition::Retry(after), text } => {
                self.failed(Outcome::Failed, *after).because(text.clone())
            }
            Ran::Panicked => self.failed(Outcome::Panicked, None).because("the handler panicked"),
            Ran::Stopped(Stop::TimedOut) => self
                .failed(Outcome::TimedOut, None)
                .because(format!("the handler took longer than its time-out of {:?}", policy.timeout)),
            Ran::Stopped(Stop::Lost) => {
                Decision::new(Verdict::Retry(self.conflict_delay()), Outcome::LeaseLost)
                    .because("the lease could not be kept, so the handler was cancelled")
            }
            Ran::Shutdown => Decision::new(Verdict::Leave, Outcome::Shutdown),
            Ran::Decided(decision) => decision.clone(),
            Ran::Undone(_) => {
                Decision::new(Verdict::Retry(self.conflict_delay()), Outcome::TransactionFailed)
                    .because("the transaction that it shared with other messages was undone")
            }
        };
        decision.attempt(self.attempt)
    }

    fn failed(&self, outcome: Outcome, after: Option<Duration>) -> Decision {
        if self.is_dead_letter() {
            return Decision::new(Verdict::DeadLetter, Outcome::Exhausted);
        }
        let after = after.unwrap_or_else(|| self.gate.policy().backoff.after(self.attempt));
        Decision::new(Verdict::Retry(after), outcome)
    }

    fn conflict_delay(&self) -> Duration {
        let redeliveries = self.leader.as_ref().map_or(0, |leader| leader.redeliveries);
        self.gate.conflict_delay(Duration::ZERO, redeliveries)
    }

    /// Invariant 5: a message is acked only when its key is completed
    /// (`invariant_5_ok_is_acked_only_when_the_completion_is_recorded`).
    async fn completed(&self, first: Option<Result<Answer, StoreError>>) -> Decision {
        let answer = match (first, self.completion()) {
            (Some(Ok(answer)), _) => Some(answer),
            (_, Some(request)) => self.gate.complete(request).await,
            (_, None) => None,
        };
        let is_stopped = self.gate.0.engine.stop.is_cancelled();
        let (verdict, outcome) = match answer {
            Some(Answer::Done) => (Verdict::Ack, Outcome::Completed),
            Some(Answer::Lost) if self.is_completed_by_now().await => {
                (Verdict::Ack, Outcome::CompletedElsewhere)
            }
            Some(Answer::Lost) | None if is_stopped => (Verdict::Leave, Outcome::CompletionLost),
            Some(Answer::Lost) | None => (Verdict::Retry(self.conflict_delay()), Outcome::CompletionLost),
        };
        Decision::new(verdict, outcome).attempt(self.attempt)
    }

    async fn is_completed_by_now(&self) -> bool {
        let Some(key) = self.leader.as_ref().and_then(|leader| leader.flight.key.as_ref()) else {
            return false;
        };
        let record = self.gate.0.engine.read(key).await;
        matches!(record, Ok(Some(record)) if record.state == State::Completed)
    }

    async fn released(&self, first: Option<Result<Answer, StoreError>>) -> Decision {
        if let (Some(Err(_)) | None, Some(request)) = (first, self.release()) {
            if request.attempts == Attempts::Keep {
                // Nothing was counted: where the store does not answer, the lease runs out by itself.
                let releases = self.gate.0.engine.releases.clone();
                self.gate.0.engine.runtime.spawn(async move { releases.call_one(request).await });
            } else {
                self.gate.release(request).await;
            }
        }
        self.decide()
    }
}
