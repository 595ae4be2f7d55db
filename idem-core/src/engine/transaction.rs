//! The way of a run whose effect and record commit together.
//!
//! The key is claimed inside of the handler's transaction, so that the record is in progress before the handler begins and
//! nobody else sees it; it is completed as the last statement, and then both commit. What a failed run leaves behind, its
//! attempt, is counted outside, after the rollback.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use super::Gate;
use super::ticket::{
    Admission, HeldKey, Judgement, Leader, OpenTransaction, RepeatedClaim, RunResult, Settled,
    SlottedTransaction, kept_nothing,
};
use super::verdict::{self, Admit, Patience, RunEnd};
use crate::outcome::Verdict;
use crate::record::State;
use crate::runtime;
use crate::store::{Claim, ClaimRequest, StoreError};

impl Gate {
    /// Opens a transaction and begins no other before there is room for it. None where the engine was closed.
    pub(super) async fn begin(&self) -> Result<Option<SlottedTransaction>, StoreError> {
        let Some(transacts) = &self.0.transacts else {
            return Err(StoreError::config("the store has no transactions"));
        };
        let slot = tokio::select! {
            biased;
            () = self.0.engine.closing.cancelled() => return Ok(None),
            slot = transacts.slots.clone().acquire_owned() => slot,
        };
        let Ok(slot) = slot else { return Ok(None) };
        let source = transacts.source.clone();
        let begin = async move { source.begin().await };
        let transaction = match &transacts.user {
            None => begin.await?,
            Some(user) => runtime::on(user, begin).await.map_err(|ended| {
                StoreError::unavailable("the handlers' runtime gives no transaction").with_source(ended)
            })??,
        };
        Ok(Some(SlottedTransaction { transaction, _slot: slot }))
    }

    /// The result of [`open`](Self::open), for a message that is handled alone.
    pub(super) fn open_later(&self, leader: Leader, permit: OwnedSemaphorePermit) -> Admission {
        let again = RepeatedClaim { leader, permit: Some(permit), after: Duration::ZERO };
        Admission::Later(self.clone().open(again, Patience::default()))
    }

    /// Opens a transaction and claims the key in it, again and again until there is something to admit.
    pub(super) fn open(
        self,
        mut again: RepeatedClaim,
        mut patience: Patience,
    ) -> BoxFuture<'static, Admission> {
        async move {
            loop {
                let RepeatedClaim { leader, permit, after } = again;
                let Some((leader, permit)) = self.turn(leader, permit, after).await else {
                    return Admission::Decided(Settled::leave());
                };
                match self.open_once(leader, permit, &mut patience).await {
                    Judgement::Admitted(admission) => return admission,
                    Judgement::Again(next) => again = next,
                }
            }
        }
        .boxed()
    }

    async fn open_once(
        &self,
        mut leader: Leader,
        permit: OwnedSemaphorePermit,
        patience: &mut Patience,
    ) -> Judgement {
        if self.has_committed_itself(&leader).await {
            return Judgement::Admitted(self.committed_behind(leader, permit).await);
        }
        let sent = self.0.engine.clock.now();
        match self.claim_inside(&mut leader).await {
            Ok(None) => Judgement::Admitted(Admission::Decided(Settled::leave())),
            Ok(Some((Some(open), claim @ Claim::Claimed { fence, after, .. }))) => {
                self.found_doubt(&leader.flight, after);
                if let Admit::Run { attempt } =
                    verdict::claim(self.policy(), &leader.message(), patience, &Ok(claim))
                {
                    // Nobody else sees the claim before it is completed, so that no lease runs.
                    leader.flight.claimed(fence, Duration::MAX);
                    let transaction = Some(OpenTransaction::new(open));
                    let now = self.0.engine.clock.now();
                    return Judgement::Admitted(self.claimed(leader, permit, attempt, transaction, now));
                }
                // Its dead letter holds the key under a lease.
                open.rollback().await;
                let request = leader.claim_request();
                let (sent, answer) = self.0.engine.claims.ask(&leader.flight, request).await;
                self.judge(leader, permit, sent, &answer, patience)
            }
            Ok(Some((open, claim))) => {
                if let Some(open) = open {
                    open.rollback().await;
                }
                self.judge(leader, permit, sent, &Ok(claim), patience)
            }
            Err(error) => self.judge(leader, permit, sent, &Err(error), patience),
        }
    }

    /// The answer, and the transaction where one was opened for it. None where the engine was closed.
    async fn claim_inside(
        &self,
        leader: &mut Leader,
    ) -> Result<Option<(Option<SlottedTransaction>, Claim)>, StoreError> {
        let request = leader.request_inside();
        if let Some(transacts) = &self.0.transacts
            && let Some(known) = transacts.source.known(&request).await
        {
            return Ok(Some((None, known)));
        }
        let Some(mut open) = self.begin().await? else { return Ok(None) };
        let claim = verdict::claim_inside(open.transaction.claim(&request).await?);
        Ok(Some((Some(open), claim)))
    }

    /// Whether a handler's error says that the database ended its transaction for others' sake.
    pub(super) fn is_conflict(&self, error: &crate::HandlerError) -> bool {
        self.0
            .transacts
            .as_ref()
            .is_some_and(|transacts| error.chain().any(|error| transacts.source.is_conflict(error)))
    }

    /// Ends the transaction as the run came out.
    ///
    /// Invariant 6: the effect and the completed record commit together or not at all
    /// (`invariant_6_effect_and_record_commit_together_or_not_at_all`).
    pub(super) async fn end(&self, leader: &mut Leader, open: &OpenTransaction, ran: RunResult) -> RunResult {
        let Some(open) = open.take() else {
            return self.undone(leader, &StoreError::statement("the handler's transaction is gone"));
        };
        if !ran.is_ok() {
            open.rollback().await;
            return self.counted(leader, ran).await;
        }
        let Some(record) = self.complete_request(&leader.flight) else {
            return self.undone(leader, &StoreError::statement("the message has no key"));
        };
        match open.commit(&[record]).await {
            Ok(()) => self.committed(leader),
            // The connection is gone, or somebody else was preferred: no fault of the handler's.
            Err(error) if error.is_unavailable() || error.is_conflict() => self.undone(leader, &error),
            Err(error) => self.counted(leader, kept_nothing(&error)).await,
        }
    }

    pub(super) fn committed(&self, leader: &Leader) -> RunResult {
        let (policy, message) = (self.policy(), leader.message());
        RunResult::Decided(verdict::completion(policy, &message, 0, leader.flight.recorded(), false))
    }

    pub(super) fn undone(&self, leader: &Leader, error: &StoreError) -> RunResult {
        RunResult::Decided(verdict::rolled_back(self.policy(), &leader.message(), error.to_string()))
    }

    /// Takes the lease after a rollback, where a failed attempt is to be counted or a dead letter is to hold the key.
    pub(super) async fn counted(&self, leader: &mut Leader, ran: RunResult) -> RunResult {
        let RunResult::Ended(end) = ran else { return ran };
        if end == RunEnd::Shutdown {
            return RunResult::SHUTDOWN;
        }
        if self.has_committed_itself(leader).await {
            return self.keep_committed(leader, Some(&end)).await;
        }
        let request = leader.claim_request();
        let (sent, answer) = self.0.engine.claims.ask(&leader.flight, request).await;
        let decision = verdict::recount(self.policy(), &leader.message(), &answer);
        match answer {
            Ok(Claim::Claimed { fence, .. }) => leader.flight.claimed(fence, self.local_deadline(sent)),
            Ok(Claim::Completed { .. } | Claim::InProgress { .. }) => leader.is_claimed = false,
            Err(_) => {}
        }
        decision.map_or(RunResult::Ended(end), RunResult::Decided)
    }
}

impl Gate {
    /// Whether the record that was claimed in a run's transaction was committed with it in progress: nobody else has its
    /// token, and idem commits it completed.
    async fn has_committed_itself(&self, leader: &Leader) -> bool {
        let Some(key) = leader.flight.key.as_ref().filter(|_| leader.flight.has_run()) else { return false };
        let record = self.0.engine.read(key).await;
        matches!(record, Ok(Some(record)) if record.state == State::InProgress && record.token == leader.flight.token)
    }

    /// A run whose handler has committed by itself, in a transaction that others shared.
    async fn committed_behind(&self, mut leader: Leader, permit: OwnedSemaphorePermit) -> Admission {
        drop(permit);
        let RunResult::Decided(decision) = self.keep_committed(&mut leader, None).await else {
            return Admission::Decided(Settled::leave());
        };
        let held = (decision.verdict == Verdict::DeadLetter).then(|| HeldKey::new(leader));
        Admission::Decided(Settled { decision, held })
    }

    /// The handler has committed by itself: its work up to there is kept, and its record was committed in progress. Nobody
    /// repeats that work: the record is completed, and a person is told, because the handler's work since then is lost.
    async fn keep_committed(&self, leader: &mut Leader, end: Option<&RunEnd>) -> RunResult {
        leader.is_claimed = false;
        tracing::error!(handler = self.name(), "a handler has committed its transaction by itself");
        let completed = self.until_stopped(self.ask_to_complete(&leader.flight)).await;
        RunResult::Decided(match completed {
            Some(Ok(_)) => verdict::committed_by_handler(end),
            Some(Err(_)) | None => verdict::shutdown(),
        })
    }
}

impl Leader {
    /// A key that is claimed in a transaction is given back by its rollback.
    pub(super) fn request_inside(&mut self) -> ClaimRequest {
        let request = self.claim_request();
        self.is_claimed = false;
        request
    }
}
