//! Runs that share a transaction: their keys are claimed by one statement and committed at once.
//!
//! No message takes its neighbours with it. What cannot be committed together is undone together, and its messages are run
//! again alone, each in a transaction of its own, where each is decided as any other one is. So a run that shares a
//! transaction counts an attempt only where the failure is known to be its own message's.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::Gate;
use super::ticket::{
    Admission, ClaimedRun, Commit, Ending, Finished, Judgement, Leader, Member, MemberResult,
    OpenTransaction, RunResult, Settled, SharedEnd, SlottedTransaction, end,
};
use super::verdict::{self, Admit, Patience, RunEnd, hold_delay};
use crate::policy::StoreFailure;
use crate::record::Fence;
use crate::store::{Claim, StoreError};

/// A message that is to be claimed, with the permit to run it.
type PermittedLeader = (Leader, OwnedSemaphorePermit);
/// One statement's answer for each message, and the transaction if one was opened for it.
type SharedClaims = (Option<SlottedTransaction>, Vec<Result<Claim, StoreError>>);

impl Gate {
    /// Opens a transaction and claims the keys in it. What is claimed together is run together; what is not has an
    /// admission of its own.
    pub(super) async fn open_together(&self, mut messages: Vec<PermittedLeader>) -> Vec<Admission> {
        let mut failures = 0;
        while messages.len() > 1 {
            let sent = self.0.engine.clock.now();
            match self.claim_together(&mut messages).await {
                Ok(Some(claims)) => return self.admit_together(messages, claims, sent).await,
                Ok(None) => {
                    return messages.into_iter().map(|_| Admission::Decided(Settled::leave())).collect();
                }
                Err(error) if error.is_unavailable() && self.0.policy.store_failure == StoreFailure::Hold => {
                    self.report_hold(&error, failures);
                    failures = failures.saturating_add(1);
                    let _ = timeout(hold_delay(failures), self.0.engine.closing.cancelled()).await;
                }
                // One of the keys may be the reason.
                Err(_) => break,
            }
        }
        messages.into_iter().map(|(leader, permit)| self.open_later(leader, permit)).collect()
    }

    /// None where the engine was closed.
    async fn claim_together(
        &self,
        messages: &mut [PermittedLeader],
    ) -> Result<Option<SharedClaims>, StoreError> {
        let Some(transacts) = &self.0.transacts else {
            return Err(StoreError::config("the store has no transactions"));
        };
        let mut requests: Vec<_> = messages.iter_mut().map(|(leader, _)| leader.request_inside()).collect();
        let known = transacts.source.known_all(&requests).await;
        let mut is_known = known.iter().map(Option::is_some);
        requests.retain(|_| !is_known.next().unwrap_or(false));
        if requests.is_empty() {
            return Ok(Some((None, known.into_iter().flatten().map(Ok).collect())));
        }
        let Some(mut open) = self.begin().await? else { return Ok(None) };
        let asked = match open.transaction.claim_all(&requests).await {
            Ok(asked) => asked.into_iter(),
            Err(error) => {
                open.rollback().await;
                return Err(error);
            }
        };
        let unanswered =
            || Err(StoreError::unavailable("the store answered for fewer keys than it was asked for"));
        let mut asked = asked.map(|answer| answer.map(verdict::claim_inside));
        let answer = |known: Option<Claim>| known.map(Ok).or_else(|| asked.next()).unwrap_or_else(unanswered);
        Ok(Some((Some(open), known.into_iter().map(answer).collect())))
    }

    async fn admit_together(
        &self,
        messages: Vec<PermittedLeader>,
        (open, answers): SharedClaims,
        sent: Duration,
    ) -> Vec<Admission> {
        let claimed = |answer: &Result<Claim, StoreError>| match answer {
            Ok(Claim::Claimed { fence, after, .. }) => Some((*fence, *after)),
            _ => None,
        };
        let admit = |leader: &Leader, answer: &Result<Claim, StoreError>| {
            verdict::claim(self.policy(), &leader.message(), &Patience::default(), answer)
        };
        let members = answers.iter().filter_map(claimed).count();
        let is_used_up = |((leader, _), answer): (&PermittedLeader, _)| {
            matches!(admit(leader, answer), Admit::DeadLetter(_))
        };
        // A message without further attempts becomes a dead letter, under a lease.
        let is_apart = messages.iter().zip(&answers).any(is_used_up);
        let mut group = match open {
            Some(open) if is_apart || members == 0 => {
                open.rollback().await;
                None
            }
            Some(open) => Some(SharedRun::new(self, open, members)),
            None => None,
        };
        let answered = messages.into_iter().zip(answers);
        let admit = |((leader, permit), answer)| match (admit(&leader, &answer), claimed(&answer), &mut group)
        {
            (Admit::Run { attempt }, Some((fence, after)), Some(group)) => {
                self.found_doubt(&leader.flight, after);
                group.admit(leader, permit, fence, attempt)
            }
            (_, Some(_), _) => self.open_later(leader, permit),
            (_, None, _) => {
                let mut patience = Patience::default();
                match self.judge(leader, permit, sent, &answer, &mut patience) {
                    Judgement::Admitted(admission) => admission,
                    Judgement::Again(again) => Admission::Later(self.clone().open(again, patience)),
                }
            }
        };
        answered.map(admit).collect()
    }

    /// Waits for the shared transaction's end, and says what it means for this run. None where it is to be run again alone.
    ///
    /// Invariant 6, for every message of a batch (`a_batch_commits_with_all_its_records_or_not_at_all`).
    pub(super) fn end_together<'a>(
        &'a self,
        leader: &'a mut Leader,
        member: Member,
        ran: Option<RunResult>,
    ) -> BoxFuture<'a, Option<RunResult>> {
        async move {
            let ran = match ran {
                Some(ran) if ran.is_shutdown() => return Some(ran),
                ran => ran?,
            };
            let Member { commit, open, over, end, .. } = member;
            let record = || self.complete_request(&leader.flight);
            let _ = over.send(match (&ran, commit) {
                (RunResult::Ended(RunEnd::Ok), Commit::Savepoints) => MemberResult::Good(None),
                (RunResult::Ended(RunEnd::Ok), _) => {
                    record().map_or(MemberResult::Failed, |record| MemberResult::Good(Some(record)))
                }
                _ => MemberResult::Failed,
            });
            drop((over, open));
            let end = end.await;
            // A run that failed in a savepoint was committed in progress.
            leader.is_claimed = matches!(end, SharedEnd::Committed) && !ran.is_ok();
            let is_its_own_failure = match (commit, &ran, &end) {
                // The database gave way to another transaction, which is nobody's fault.
                (_, RunResult::Ended(RunEnd::Ok) | RunResult::Decided(_), _) => false,
                (Commit::Savepoints, ..) => true,
                // Of a call that failed as a whole, any message may be the reason, and of one that took too long.
                (_, RunResult::Ended(RunEnd::Failed { .. }), SharedEnd::Undone { some_were_good }) => {
                    *some_were_good
                }
                _ => false,
            };
            match (ran, end) {
                (RunResult::Ended(RunEnd::Ok), SharedEnd::Committed) => Some(self.committed(leader)),
                (RunResult::Ended(RunEnd::Ok), SharedEnd::Lost(error)) => Some(self.undone(leader, &error)),
                (ran, _) if is_its_own_failure => Some(self.counted(leader, ran).await),
                _ => None,
            }
        }
        .boxed()
    }
}

/// The runs that a transaction is being shared among.
struct SharedRun {
    gate: Gate,
    members: usize,
    commit: Commit,
    open: OpenTransaction,
    over: mpsc::UnboundedSender<MemberResult>,
    end: Shared<BoxFuture<'static, SharedEnd>>,
    is_broken: Arc<tokio::sync::Mutex<bool>>,
}

impl SharedRun {
    fn new(gate: &Gate, open: SlottedTransaction, members: usize) -> Self {
        let (over, runs) = mpsc::unbounded_channel();
        let open = OpenTransaction::new(open);
        let commit = gate.0.transacts.as_ref().map_or(Commit::Each, |transacts| transacts.commit);
        let end = end(open.clone(), runs, members, commit).boxed().shared();
        Self { gate: gate.clone(), members, commit, open, over, end, is_broken: Arc::default() }
    }

    fn admit(
        &mut self,
        leader: Leader,
        permit: OwnedSemaphorePermit,
        fence: Fence,
        attempt: u32,
    ) -> Admission {
        leader.flight.claimed(fence, Duration::MAX);
        let now = self.gate.0.engine.clock.now();
        let admission = self.gate.claimed(leader, permit, attempt, Some(self.open.clone()), now);
        match admission {
            // Alone in it: a transaction as any other.
            Admission::Run(claimed) if self.members > 1 => {
                Admission::Run(ClaimedRun { member: Some(self.member()), ..claimed })
            }
            admission => admission,
        }
    }

    fn member(&self) -> Member {
        let Self { commit, open, over, end, is_broken, .. } = self;
        Member {
            commit: *commit,
            open: open.clone(),
            over: over.clone(),
            end: end.clone(),
            is_broken: is_broken.clone(),
        }
    }
}

impl Finished {
    /// Where the transaction that the run shared was undone: the message's next admission, alone. To be asked before it is
    /// settled; settled as it is, such a message is retried, which costs no attempt.
    ///
    /// # Errors
    /// The run is to be settled.
    pub fn again(self) -> Result<Admission, Self> {
        match self.ending {
            Ending::Other(Some(leader), RunResult::Undone(permit)) => {
                leader.flight.forget_stop();
                Ok(self.gate.open_later(leader, permit))
            }
            ending => Err(Self { ending, ..self }),
        }
    }
}
