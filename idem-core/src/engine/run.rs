//! The second step: the handler runs under the lease.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Gate;
use super::ticket::{ClaimedRun, Finished, Leader, OpenTransaction, RunResult};
use super::verdict::{self, RunEnd};
use crate::attempt::Attempt;
use crate::doubt::{Doubt, Happened};
use crate::handler_error::{HandlerError, HandlerResult};
use crate::lease::{Flight, Lease, Phase, Stop};
use crate::panics::{self, GuardedFuture, Panicked};
use crate::policy::UncertainRun;
use crate::store::{Answer, RenewRequest};

/// The end of a check.
#[derive(Debug)]
pub enum Checked<T> {
    /// Nothing had happened: the handler is to be run, with this.
    Run(ClaimedRun, T),
    /// The message is to be settled without a run.
    Over(Finished),
}

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
        self.conclude(result).await
    }

    /// Ends the run, and its transaction with it.
    async fn conclude(self, result: Option<RunResult>) -> Finished {
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

    /// Whether the handler's [check](Self::check) is to be asked before it is run.
    pub fn needs_check(&self) -> bool {
        self.gate.policy().uncertain == UncertainRun::Check && self.flight.doubt().is_some()
    }

    /// Asks, under the lease, whether the run in doubt did the work. The check has as much time as the handler has, which counts
    /// for itself; it gives back what the run needs. Before a run may begin, its key's record says that the doubt is over: so a
    /// process that dies in the run leaves a doubt about that run, and one that dies in the check the doubt as it was.
    ///
    /// # Cancel safety
    /// Dropping this gives the key back without counting an attempt, still in doubt unless a check has ended that.
    pub async fn check<T, F>(self, ask: impl FnOnce(Lease, Doubt) -> F) -> Checked<T>
    where
        F: Future<Output = (T, Result<Happened, HandlerError>)> + Unpin,
    {
        let asked = self.asked(ask).await;
        if let Some(doubt) = self.flight.doubt() {
            self.gate.count_doubt(
                doubt.cause,
                match &asked {
                    ControlFlow::Continue(_) => "run",
                    ControlFlow::Break(result) if result.is_ok() => "found_done",
                    ControlFlow::Break(_) => "unknown",
                },
            );
        }
        // The time of a check is none of a run.
        self.flight.rest(self.gate.0.engine.clock.now());
        match asked {
            ControlFlow::Continue(kept) => Checked::Run(self, kept),
            ControlFlow::Break(result) => {
                if result.is_ok() {
                    self.flight.enter(Phase::FoundDone);
                }
                Checked::Over(self.conclude(Some(result)).await)
            }
        }
    }

    async fn asked<T, F>(&self, ask: impl FnOnce(Lease, Doubt) -> F) -> ControlFlow<RunResult, T>
    where
        F: Future<Output = (T, Result<Happened, HandlerError>)> + Unpin,
    {
        let (engine, flight) = (&self.gate.0.engine, &self.flight);
        if let Err(ended) = self.start_time() {
            return ControlFlow::Break(ended);
        }
        let Some(doubt) = flight.doubt() else {
            return ControlFlow::Break(RunResult::Ended(verdict::unknown("there is no doubt to ask about")));
        };
        let asking = async {
            let (kept, answer) = match panics::guard_call(|| ask(self.lease(), doubt)).await {
                Ok((kept, answer)) => (Some(kept), Some(answer)),
                Err(_) => (None, None),
            };
            // The error is the user's: it may panic where it is shown or dropped.
            let checked =
                panics::catch(|| verdict::checked(answer)).unwrap_or_else(|_| verdict::checked(None));
            if let ControlFlow::Break(end) = checked {
                return ControlFlow::Break(RunResult::Ended(end));
            }
            match (self.end_doubt(doubt).await, kept) {
                (true, Some(kept)) => ControlFlow::Continue(kept),
                _ => ControlFlow::Break(RunResult::Ended(RunEnd::LeaseLost)),
            }
        };
        tokio::select! {
            biased;
            asked = asking => asked,
            stop = flight.stopped() => ControlFlow::Break(match stop {
                Stop::TimedOut => RunResult::Ended(verdict::unknown("the check took longer than the time-out")),
                Stop::Lost => stop.into(),
            }),
            () = engine.stop.cancelled() => ControlFlow::Break(RunResult::SHUTDOWN),
        }
    }

    /// Has the key's record say that this doubt is over. Whether it does; else the lease is lost, or was for a while. In a transaction nothing is
    /// written: the run's own commit ends the doubt, and a rollback leaves it to the next check.
    async fn end_doubt(&self, doubt: Doubt) -> bool {
        let (gate, Some(key)) = (&self.gate, &self.flight.key) else { return false };
        if self.transaction.is_some() {
            return true;
        }
        let (lease, retention) = (gate.policy().lease, gate.policy().retention);
        let ends_doubt = Some(doubt.fence);
        let request =
            RenewRequest { key: key.clone(), token: self.flight.token, lease, retention, ends_doubt };
        let asking = gate.ask_until_answered(&gate.0.engine.renewals, &self.flight, request);
        matches!(asking.await, Ok(Answer::Done))
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
        let is_first = self.start_time()?;
        // The work in a transaction is undone with it.
        if is_first && self.transaction.is_none() && self.member.is_none() {
            self.flight.enter(Phase::Running);
        }
        Ok(())
    }

    /// Begins the time of the handler or of its check. Whether it had not begun before.
    fn start_time(&self) -> Result<bool, RunResult> {
        let (engine, flight) = (&self.gate.0.engine, &self.flight);
        let (now, is_first) = (engine.clock.now(), flight.started().is_none());
        if let Some(stop) = overdue(flight, now) {
            return Err(stop.into());
        }
        if is_first && engine.stop.is_cancelled() {
            return Err(RunResult::SHUTDOWN);
        }
        if is_first {
            flight.start(now, self.attempt);
        }
        Ok(is_first)
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
            let (disposition, is_uncertain) = (error.disposition(), error.is_uncertain());
            RunResult::Ended(RunEnd::Failed { disposition, is_uncertain, reason: error.to_string().into() })
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
