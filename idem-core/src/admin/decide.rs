//! A decision, step by step.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Admin, AdminError};
use crate::doubt::Doubt;
use crate::key::RecordKey;
use crate::record::{Fence, State, Token};
use crate::store::{
    Answer, Answers, Attempts, AuditEntry, Claim, ClaimRequest, CompleteRequest, Enrolment, ListedRecord,
    PersonsDecision, ReleaseRequest, RenewRequest, StoreError,
};

/// Longer than a decision takes; after it, nothing is left of one that was cut off.
const LEASE: Duration = Duration::from_secs(10);
/// How often a lease is ended that its holder renews at the same moment.
const MOST_ROUNDS: usize = 5;

/// The most bytes of a person's name, and of the reason.
const LONGEST_WHO: usize = 255;
const LONGEST_REASON: usize = 1_000;

/// The group of people in the registry of members.
const GROUP: &str = "(a person)";

/// A decision that is carried out when it is awaited.
///
/// # Cancel safety
/// Dropped before its end, it may or may not have had its effect, the trail has no end for it, and the key may be leased for ten
/// seconds more.
#[must_use = "a decision is carried out when it is awaited"]
pub struct PendingDecision<'a> {
    admin: &'a Admin,
    key: &'a RecordKey,
    decision: PersonsDecision,
    reason: String,
    forced: bool,
}

/// A decision that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionEffect {
    /// The record before; `None` where there was none.
    pub before: Option<ListedRecord>,
    /// Whether it had to be changed.
    pub changed: bool,
}

impl<'a> PendingDecision<'a> {
    pub(super) fn of(
        admin: &'a Admin,
        key: &'a RecordKey,
        decision: PersonsDecision,
        reason: String,
    ) -> Self {
        Self { admin, key, decision, reason, forced: false }
    }

    /// Whatever stands against it: a live lease, a completion, a doubt. A run that is under way goes on until its member notices,
    /// and what it has done is done.
    pub fn forced(self) -> Self {
        Self { forced: true, ..self }
    }

    /// # Errors
    /// See [`AdminError`].
    async fn carry_out(self) -> Result<DecisionEffect, AdminError> {
        let Self { admin, .. } = &self;
        check("the person", &admin.who, LONGEST_WHO)?;
        check("the reason", &self.reason, LONGEST_REASON)?;
        let registry = admin.registry()?;
        registry.enrol(&Enrolment::of_this_process(admin.member, GROUP, admin.retention)).await?;
        let entry = AuditEntry {
            number: rand::random::<u64>() >> 1,
            who: admin.who.to_string(),
            decision: self.decision,
            forced: self.forced,
            key: self.key.clone(),
            text: self.reason.clone(),
            is_end: false,
        };
        registry.append(&entry).await?;
        let decided = self.decide().await;
        let text = match &decided {
            Ok(DecisionEffect { changed: true, .. }) => "changed".to_owned(),
            Ok(DecisionEffect { changed: false, .. }) => "was so already".to_owned(),
            Err(error) => shortened(error.to_string()),
        };
        tracing::info!(
            who = &*admin.who,
            decision = self.decision.as_str(),
            forced = self.forced,
            namespace = self.key.namespace().to_string_lossy(),
            key_hash = format_args!("{:016x}", self.key.hash64()),
            reason = self.reason,
            effect = text,
            "a person has decided about a record"
        );
        if let Err(error) = registry.append(&AuditEntry { text, is_end: true, ..entry }).await {
            tracing::error!(%error, "the end of a person's decision is missing in the trail");
        }
        decided
    }

    async fn decide(&self) -> Result<DecisionEffect, AdminError> {
        let before = self.admin.find(self.key).await?;
        if before.is_none() && self.decision != PersonsDecision::Done {
            return Ok(DecisionEffect { before, changed: false });
        }
        let in_doubt =
            |found: &ListedRecord| found.record.as_ref().is_ok_and(|record| record.doubt.is_some());
        if self.decision == PersonsDecision::Purge && !self.forced && before.as_ref().is_some_and(in_doubt) {
            return Err(AdminError::InDoubt);
        }
        let token = Token::random();
        let changed = self.change(token, before.as_ref()).await;
        if matches!(changed, Err(AdminError::Storage(_) | AdminError::Overtaken)) {
            // It may have the lease. As far as that is possible: the lease ends by itself.
            let _ = self.release(token, Attempts::Keep).await;
        }
        Ok(DecisionEffect { changed: changed?, before })
    }

    /// Whether the record had to be changed.
    async fn change(&self, token: Token, before: Option<&ListedRecord>) -> Result<bool, AdminError> {
        use PersonsDecision::{Done, Purge, Release, Run};
        match (self.decision, self.take(token, before).await?) {
            (Done, None) => Ok(false),
            (Done, Some((fence, _))) => {
                let complete = CompleteRequest::new(
                    self.key.clone(),
                    token,
                    fence,
                    self.admin.retention,
                    self.admin.member,
                );
                done(one(self.admin.store.complete(&[complete]).await)?)
            }
            (Run, Some((_, after))) => {
                if let Some(doubt) = after {
                    done(self.renew(token, LEASE, Some(doubt.fence)).await?)?;
                }
                done(self.release(token, Attempts::Reset).await?)
            }
            (Release, Some(_)) => done(self.release(token, Attempts::Keep).await?),
            (Purge, Some(_)) => self.forget(token).await,
            (Release, None) => Err(AdminError::Completed),
            (Run, None) if !self.forced => Err(AdminError::Completed),
            (Run | Purge, None) => match self.admin.store.read(self.key).await? {
                Some(record) if record.state == State::Completed => self.forget(record.token).await,
                Some(_) => Err(AdminError::Overtaken),
                None => Ok(false),
            },
        }
    }

    /// Takes the lease, and finds its fence and the doubt about a run before; `None` where the key is completed.
    async fn take(
        &self,
        token: Token,
        before: Option<&ListedRecord>,
    ) -> Result<Option<(Fence, Option<Doubt>)>, AdminError> {
        let before = before.and_then(|found| found.record.as_ref().ok());
        let claim = ClaimRequest {
            fingerprint: before.and_then(|record| record.fingerprint),
            message: before.and_then(|record| record.message),
            ..ClaimRequest::new(self.key.clone(), token, LEASE, self.admin.retention, self.admin.member)
        };
        for _ in 0..MOST_ROUNDS {
            match one(self.admin.store.claim(std::slice::from_ref(&claim)).await)? {
                Claim::Claimed { fence, after, .. } => return Ok(Some((fence, after))),
                Claim::Completed { .. } => return Ok(None),
                Claim::InProgress { remaining, .. } if !self.forced => {
                    return Err(AdminError::Live { remaining });
                }
                Claim::InProgress { .. } => self.end_lease().await?,
            }
        }
        Err(AdminError::Overtaken)
    }

    /// Ends the lease of whoever holds it: with the holder's own token it is renewed for no time.
    async fn end_lease(&self) -> Result<(), AdminError> {
        match self.admin.store.read(self.key).await? {
            Some(record) if record.state == State::InProgress => {
                self.renew(record.token, Duration::ZERO, None).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn renew(
        &self,
        token: Token,
        lease: Duration,
        ends_doubt: Option<Fence>,
    ) -> Result<Answer, StoreError> {
        let (key, retention) = (self.key.clone(), self.admin.retention);
        one(self.admin.store.renew(&[RenewRequest { key, token, lease, retention, ends_doubt }]).await)
    }

    async fn release(&self, token: Token, attempts: Attempts) -> Result<Answer, StoreError> {
        let release = ReleaseRequest::new(self.key.clone(), token, self.admin.retention, attempts);
        one(self.admin.store.release(&[release]).await)
    }

    async fn forget(&self, claim: Token) -> Result<bool, AdminError> {
        if self.admin.store.remove(self.key, Some(claim)).await? {
            return Ok(true);
        }
        Err(AdminError::Overtaken)
    }
}

impl<'a> IntoFuture for PendingDecision<'a> {
    type Output = Result<DecisionEffect, AdminError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.carry_out())
    }
}

impl fmt::Debug for PendingDecision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingDecision")
            .field("decision", &self.decision)
            .field("key", &self.key)
            .field("forced", &self.forced)
            .finish_non_exhaustive()
    }
}

fn check(what: &'static str, words: &str, most: usize) -> Result<(), AdminError> {
    if words.trim().is_empty() || words.len() > most {
        return Err(AdminError::Words { what, most });
    }
    Ok(())
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_REASON));
    text
}

/// Somebody else has taken the key where the token does not hold it any more.
fn done(answer: Answer) -> Result<bool, AdminError> {
    match answer {
        Answer::Done => Ok(true),
        Answer::Lost => Err(AdminError::Overtaken),
    }
}

fn one<T>(answers: Answers<T>) -> Result<T, StoreError> {
    answers?
        .pop()
        .unwrap_or_else(|| Err(StoreError::statement("the store gave no answer to the only request")))
}
