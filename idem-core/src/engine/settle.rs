//! The third step: the run's result is recorded, and the message is decided.
//!
//! A settlement runs on idem's own runtime, whatever becomes of the task that waits for it. Only where the store answers in
//! place, without waiting, there is nothing to hand over.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::Gate;
use super::lane::{Lane, Operation};
use super::ticket::{Done, Ending, Finished, Settled};
use super::turn::TokenTurn;
use super::verdict::{self, Completion, Settlement, hold_delay};
use crate::lease::Flight;
use crate::record::State;
use crate::store::{Answer, Attempts, CompleteRequest, Locality, ReleaseRequest, StoreError};

/// How long a settlement is still waited for once the engine was stopped.
const LAST_TRY: Duration = Duration::from_secs(2);

type FirstAnswer = Option<Result<Answer, StoreError>>;

impl Gate {
    /// Settles runs that finished together: one round trip for all that succeeded, one beside it for those that
    /// did not. The answers come in the runs' order.
    ///
    /// While the store does not answer, this waits and asks again: the work was done, and only its record keeps
    /// a duplicate from doing it again.
    ///
    /// # Cancel safety
    /// A run whose handler has returned `Ok` is completed all the same, on idem's own runtime; see [`Finished`].
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
        if finished.is_empty() {
            return;
        }
        if self.0.engine.store.locality() == Locality::InProcess {
            return self.settle_all(finished, tell).await;
        }
        let (sender, mut settled) = mpsc::unbounded_channel();
        let gate = self.clone();
        self.0.engine.settling(async move {
            let tell = |place, one| drop(sender.send((place, one)));
            gate.settle_all(finished, tell).await;
        });
        while let Some((place, one)) = settled.recv().await {
            tell(place, one);
        }
    }

    async fn settle_all(&self, finished: Vec<Finished>, mut tell: impl FnMut(usize, Settled)) {
        let engine = &self.0.engine;
        let mut completing = SettlementGroup::with_capacity(finished.len());
        let mut releasing = SettlementGroup::with_capacity(0);
        let mut later = Vec::new();
        for (place, run) in finished.into_iter().enumerate() {
            let waits = match run.settlement() {
                Some(Settlement::Complete) => {
                    completing.add(&engine.completions, place, run, Finished::completion)
                }
                Some(Settlement::Release(_)) => {
                    releasing.add(&engine.releases, place, run, Finished::release)
                }
                Some(Settlement::Hold) | None => {
                    tell(place, run.concluded_alone());
                    None
                }
            };
            // Not `extend`, which would move room for a future for each run.
            if let Some(run) = waits {
                later.push(run.settled(place, None));
            }
        }
        let (completed, released) =
            join(completing.ask(&engine.completions), releasing.ask(&engine.releases)).await;
        for (place, run, answer) in completed.chain(released) {
            match run.decided_by(answer.as_ref()) {
                Some(decision) => tell(place, run.concluded(decision)),
                None => later.push(run.settled(place, answer)),
            }
        }
        if later.is_empty() {
            return;
        }
        let mut later: FuturesUnordered<_> = later.into_iter().collect();
        while let Some((place, settled)) = later.next().await {
            tell(place, settled);
        }
    }

    /// As [`settle`](Self::settle), for one run.
    pub async fn settle_one(&self, finished: Finished) -> Settled {
        let needs_nothing = matches!(finished.settlement(), Some(Settlement::Hold) | None);
        if needs_nothing || self.0.engine.store.locality() == Locality::InProcess {
            return settle_one_here(finished).await;
        }
        // Boxed, because each message's task would have room for it.
        let settling = self.0.engine.settling(settle_one_here(finished));
        settling.await.ok().flatten().unwrap_or_else(Settled::leave)
    }

    pub(super) fn complete_request(&self, flight: &Flight) -> Option<CompleteRequest> {
        Some(CompleteRequest {
            key: flight.key.clone()?,
            token: flight.token,
            fence: flight.fence(),
            retention: self.policy().retention,
            fingerprint: flight.fingerprint,
            member: self.0.engine.member,
            message: flight.message,
            reply: None,
        })
    }

    /// Releases a key, for as long as it takes. Gives up soon after the engine was stopped.
    pub(super) async fn release(&self, flight: &Arc<Flight>, request: ReleaseRequest) -> Option<Answer> {
        let asking = self.ask_until_answered(&self.0.engine.releases, flight, request);
        self.until_stopped(asking).await?.ok()
    }

    /// Completes a key, for as long as it takes.
    ///
    /// # Errors
    /// The key has a record that this version does not understand.
    pub(super) async fn ask_to_complete(&self, flight: &Arc<Flight>) -> Result<Answer, StoreError> {
        let Some(request) = self.complete_request(flight) else {
            return Err(StoreError::statement("the message has no key"));
        };
        self.ask_until_answered(&self.0.engine.completions, flight, request).await
    }

    /// Asks until there is an answer, or a record that this version does not understand.
    pub(super) async fn ask_until_answered<O>(
        &self,
        lane: &Lane<O>,
        flight: &Arc<Flight>,
        request: O::Request,
    ) -> Result<Answer, StoreError>
    where
        O: Operation<Answer = Answer>,
        O::Request: Clone,
    {
        let mut failures = 0_u32;
        loop {
            match lane.ask(flight, request.clone()).await.1 {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_record() => return Err(error),
                Err(error) => {
                    self.report_unanswered("a settlement: asking again until it does", &error, failures);
                    failures = failures.saturating_add(1);
                    tokio::time::sleep(hold_delay(failures)).await;
                }
            }
        }
    }

    /// `None` soon after the engine was stopped.
    pub(super) async fn until_stopped<T>(&self, asking: impl Future<Output = T>) -> Option<T> {
        let gone = async {
            self.0.engine.stop.cancelled().await;
            tokio::time::sleep(LAST_TRY).await;
        };
        tokio::select! {
            answer = asking => Some(answer),
            () = gone => None,
        }
    }

    async fn complete(&self, done: Done, attempt: u32, first: FirstAnswer) -> Settled {
        let answer = match first {
            Some(Ok(answer)) => Some(Ok(answer)),
            _ => self.until_stopped(self.ask_to_complete(done.flight())).await,
        };
        let (policy, message) = (self.policy(), done.message());
        let is_stopped = self.0.engine.stop.is_cancelled();
        let decide = |completion| verdict::completion(policy, &message, attempt, completion, is_stopped);
        let completion = match answer {
            None => {
                // Dropped, it is asked for on and on; nobody waits for it any more.
                drop(done);
                return Settled::of(decide(Completion::Unanswered));
            }
            Some(Ok(Answer::Done)) => done.recorded(),
            Some(Ok(Answer::Lost)) if self.is_completed_by_now(done.flight()).await => {
                Completion::RecordedElsewhere
            }
            Some(Ok(Answer::Lost) | Err(_)) => Completion::Lost,
        };
        Settled::of(done.decide(decide(completion)))
    }

    async fn is_completed_by_now(&self, flight: &Flight) -> bool {
        let Some(key) = &flight.key else { return false };
        let record = self.0.engine.read(key).await;
        matches!(record, Ok(Some(record)) if record.state == State::Completed)
    }
}

async fn settle_one_here(finished: Finished) -> Settled {
    let gate = finished.gate.clone();
    let engine = &gate.0.engine;
    let answer = match (finished.completion(), finished.release()) {
        (Some((flight, request)), _) => Some(engine.completions.ask(flight, request).await.1),
        (None, Some((flight, request))) => Some(engine.releases.ask(flight, request).await.1),
        (None, None) => None,
    };
    match finished.decided_by(answer.as_ref()) {
        Some(decision) => finished.concluded(decision),
        // Boxed, because it is rare and large.
        None => Box::pin(finished.settled(0, answer)).await.1,
    }
}

impl Finished {
    /// Settles the run after the store's first answer, or after as many more as it takes.
    async fn settled(self, place: usize, first: FirstAnswer) -> (usize, Settled) {
        if !matches!(self.ending, Ending::Done(_)) {
            self.released(first).await;
        } else if let Self { gate, attempt, ending: Ending::Done(done), .. } = self {
            return (place, gate.complete(done, attempt, first).await);
        }
        (place, self.concluded_alone())
    }

    async fn released(&self, first: FirstAnswer) {
        let (Some(Err(_)) | None, Some((flight, request))) = (first, self.release()) else { return };
        if request.attempts == Attempts::Keep {
            // Nothing was counted: where the store does not answer, the lease runs out by itself.
            let (releases, flight) = (self.gate.0.engine.releases.clone(), flight.clone());
            self.gate.0.engine.settling(async move { releases.ask(&flight, request).await });
        } else {
            self.gate.release(flight, request).await;
        }
    }
}

/// Runs that ask for one operation with one group of requests.
struct SettlementGroup<O: Operation> {
    runs: Vec<(usize, Finished)>,
    requests: Vec<O::Request>,
    turns: Vec<TokenTurn>,
}

impl<O: Operation<Answer = Answer>> SettlementGroup<O> {
    fn with_capacity(runs: usize) -> Self {
        Self { runs: Vec::with_capacity(runs), requests: Vec::with_capacity(runs), turns: Vec::new() }
    }

    /// Takes a run in; gives it back where another operation of its token is under way.
    fn add(
        &mut self,
        lane: &Lane<O>,
        place: usize,
        run: Finished,
        asks: impl Fn(&Finished) -> Option<(&Arc<Flight>, O::Request)>,
    ) -> Option<Finished> {
        let request = match asks(&run) {
            Some((flight, request)) if lane.takes_turn(flight, &mut self.turns) => request,
            _ => return Some(run),
        };
        self.requests.push(request);
        self.runs.push((place, run));
        None
    }

    async fn ask(self, lane: &Lane<O>) -> impl Iterator<Item = (usize, Finished, FirstAnswer)> + use<O> {
        let mut answers = lane.call(self.requests, self.turns).await.answers.into_iter();
        self.runs.into_iter().map(move |(place, run)| (place, run, answers.next()))
    }
}
