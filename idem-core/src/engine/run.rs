//! The second step: the handler runs under the lease.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Gate;
use super::ticket::{ClaimedRun, Finished, Leader, OpenTransaction, RunResult};
use super::verdict::{self, RunEnd};
use crate::attempt::Attempt;
use crate::handler_error::{HandlerError, HandlerResult};
use crate::lease::{Flight, Lease, Stop};
use crate::panics::{self, GuardedFuture, Panicked};

/// How far a run came at once.
pub enum RunProgress {
    /// Its handler is over.
    Over(Finished),
    /// It is to be polled on, wherever its handler shall run. Dropping it cancels the handler and gives the key back
    /// without counting an attempt.
    Going(BoxFuture<'static, Finished>),
}

impl ClaimedRun {
    /// The transaction that the handler is to work in, where it takes one.
    pub fn transaction(&self) -> Option<OpenTransaction> {
        self.transaction.clone()
    }

    /// The lease, as the handler sees it.
    pub fn lease(&self) -> Lease {
        Lease(self.flight.clone())
    }

    /// Which attempt the run is.
    pub fn attempt(&self) -> Attempt {
        Attempt::new(self.attempt, self.gate.policy().max_attempts)
    }

    /// Begins to run the handler, and polls it once, here: a handler that waits for nothing is over then, and nothing was
    /// made to drive it. Else as [`run`](Self::run).
    pub fn begin<F>(self, work: impl FnOnce(Lease, Attempt) -> F + Send + 'static) -> RunProgress
    where
        F: Future<Output = HandlerResult> + Unpin + Send + 'static,
    {
        if self.transaction.is_some() || self.member.is_some() {
            return RunProgress::polled(
                self.run_guarded(|lease, attempt| calling(work, lease, attempt)).boxed(),
            );
        }
        if let Err(ran) = self.start() {
            return RunProgress::Over(self.over(ran));
        }
        let (lease, attempt) = (self.lease(), self.attempt());
        let running = RunCount::begin(&self.gate);
        let mut work = calling(work, lease, attempt);
        let polled = (&mut work).now_or_never();
        drop(running);
        match polled {
            Some(result) => {
                let ran = self.returned(result);
                RunProgress::Over(self.over(ran))
            }
            None => RunProgress::Going(self.run_guarded(|_, _| work).boxed()),
        }
    }

    /// Runs the handler until it returns, panics, takes too long, or loses its lease. It is polled where this
    /// future is polled; the time-out and the lease are watched on idem's own runtime.
    ///
    /// # Cancel safety
    /// Dropping this cancels the handler and gives the key back without counting an attempt.
    pub async fn run<F>(self, work: impl FnOnce(Lease, Attempt) -> F) -> Finished
    where
        F: Future<Output = HandlerResult>,
    {
        let boxed = |lease, attempt| Box::pin(work(lease, attempt));
        self.run_guarded(|lease, attempt| calling(boxed, lease, attempt)).await
    }

    /// As [`run`](Self::run), for a handler whose panics are errors.
    async fn run_guarded<F>(self, work: impl FnOnce(Lease, Attempt) -> F) -> Finished
    where
        F: Future<Output = Result<HandlerResult, Panicked>> + Unpin,
    {
        let (lease, attempt) = (self.lease(), self.attempt());
        // The part that only a transaction needs is boxed, so that every other run's future has no room for it.
        let result = {
            // Pinned here, so that the handler's future has one place, whichever way it is polled.
            let driven = pin!(self.drive(|| work(lease, attempt)));
            match &self.member {
                None => Some(driven.await),
                Some(member) => {
                    let record =
                        self.leader.as_ref().and_then(|leader| self.gate.complete_request(&leader.flight));
                    let result = Box::pin(member.run(driven, record)).await;
                    if member.is_undone_alone(result.as_ref()) {
                        self.flight.was_undone();
                    }
                    result
                }
            }
        };
        let Self { gate, mut leader, flight, attempt, permit, transaction, member } = self;
        let took = flight.rest(gate.0.engine.clock.now());
        let result = match (&mut leader, transaction, member, result) {
            (Some(leader), _, Some(member), result) => gate.end_together(leader, member, result).await,
            (Some(leader), Some(transaction), None, Some(result)) => {
                Some(Box::pin(gate.end(leader, &transaction, result)).await)
            }
            (.., result) => result,
        };
        let result = result.unwrap_or_else(|| RunResult::Undone(permit));
        Finished::new(gate, leader, &flight, attempt, took, result)
    }

    async fn drive<F>(&self, work: impl FnOnce() -> F) -> RunResult
    where
        F: Future<Output = Result<HandlerResult, Panicked>> + Unpin,
    {
        let (engine, flight) = (&self.gate.0.engine, &self.flight);
        if let Err(ran) = self.start() {
            return ran;
        }
        let _running = RunCount::begin(&self.gate);
        tokio::select! {
            biased;
            result = work() => self.returned(result),
            stop = flight.stopped() => stop.into(),
            () = engine.stop.cancelled() => RunResult::SHUTDOWN,
        }
    }
}

impl ClaimedRun {
    /// Begins the handler's time, at its first poll: a run that has waited for it until its lease was over, or the engine
    /// stopped, was none and costs nothing.
    ///
    /// Invariant 4: no handler starts after its lease's local deadline.
    fn start(&self) -> Result<(), RunResult> {
        let (engine, flight) = (&self.gate.0.engine, &self.flight);
        let (now, is_first) = (engine.clock.now(), flight.started().is_none());
        if let Some(stop) = overdue(flight, now) {
            return Err(stop.into());
        }
        if is_first && engine.stop.is_cancelled() {
            return Err(RunResult::SHUTDOWN);
        }
        if is_first {
            flight.start(now);
        }
        Ok(())
    }

    /// The error is the user's: it may panic where it is looked into, shown or dropped.
    fn returned(&self, result: Result<HandlerResult, Panicked>) -> RunResult {
        let error = match result {
            Ok(Ok(())) => return RunResult::OK,
            Ok(Err(error)) => error,
            Err(_) => return RunResult::PANICKED,
        };
        let looked_into = panics::catch(move || {
            if self.gate.is_conflict(&error) {
                return self.undone(&error);
            }
            let (disposition, reason) = (error.disposition(), error.to_string().into());
            RunResult::Ended(RunEnd::Failed { disposition, reason })
        });
        looked_into.unwrap_or(RunResult::PANICKED)
    }

    /// The run is over, and was not in a transaction.
    fn over(self, result: RunResult) -> Finished {
        let Self { gate, leader, flight, attempt, .. } = self;
        let took = flight.rest(gate.0.engine.clock.now());
        Finished::new(gate, leader, &flight, attempt, took, result)
    }

    /// The database gave way to another transaction: the message is run again, and that costs no attempt.
    fn undone(&self, error: &HandlerError) -> RunResult {
        let message = self.leader.as_ref().map(Leader::message).unwrap_or_default();
        RunResult::Decided(verdict::rolled_back(self.gate.policy(), &message, error.to_string()))
    }
}

/// A handler's call. Its panics, and those of what makes its future, are errors; those of its `Drop` go no further.
fn calling<F>(work: impl FnOnce(Lease, Attempt) -> F, lease: Lease, attempt: Attempt) -> GuardedFuture<F>
where
    F: Future<Output = HandlerResult> + Unpin,
{
    panics::guard_call(|| work(lease, attempt))
}

impl RunProgress {
    /// A run that was polled once.
    pub fn polled(mut run: BoxFuture<'static, Finished>) -> Self {
        (&mut run).now_or_never().map_or(Self::Going(run), Self::Over)
    }
}

/// Counts one run while it is under way, also where it is dropped.
struct RunCount<'a>(&'a Gate);

impl<'a> RunCount<'a> {
    fn begin(gate: &'a Gate) -> Self {
        gate.0.running.fetch_add(1, Ordering::AcqRel);
        Self(gate)
    }
}

impl Drop for RunCount<'_> {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

fn overdue(flight: &Flight, now: std::time::Duration) -> Option<Stop> {
    if now >= flight.deadline() {
        flight.halt(Stop::Lost);
    }
    flight.stop()
}

impl fmt::Debug for RunProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over(finished) => finished.fmt(f),
            Self::Going(_) => f.write_str("Going"),
        }
    }
}
