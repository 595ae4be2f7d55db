//! Messages that are handled together, as a consumer does it.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Shared, join_all};
use idem_core::engine::{Admission, ClaimedRun, Commit, Finished, Gate, Leader, Settled};
use idem_core::{Backoff, Decision, HandlerError, HandlerResult, Reject, Settings, Uncertain};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::support::bank::{Bank, SECOND, gate_that_commits, job};

pub(crate) type Name = &'static str;
/// A handler's result for each message, or for all.
pub(crate) type Said = Result<Vec<Result<(), Name>>, HandlerError>;
type Shareable = Result<Vec<Result<(), Name>>, Arc<HandlerError>>;

/// A handler's error for a message that is never to be handled.
pub(crate) const NEVER: Name = "never";

/// The handler does not know whether it has done it.
pub(crate) const UNKNOWN: Name = "unknown";

/// The handler of one process, and the calls that it was given.
pub(crate) struct Batches<B> {
    pub(crate) bank: Arc<B>,
    pub(crate) gate: Gate,
    commit: Commit,
    calls: Mutex<Vec<Vec<Name>>>,
}

pub(crate) fn settings() -> Settings {
    let mut settings = Settings::new();
    settings.backoff = Some(Backoff::fixed(Duration::ZERO));
    settings
}

/// All are good.
#[expect(clippy::unnecessary_wraps, reason = "handlers return it")]
pub(crate) fn good(names: &[Name]) -> Said {
    Ok(names.iter().map(|_| Ok(())).collect())
}

impl<B: Bank> Batches<B> {
    pub(crate) async fn open(commit: Commit, settings: Settings) -> Self {
        Self::of(Arc::new(B::open().await), commit, settings).await
    }

    /// Another process, with settings of its own.
    pub(crate) async fn elsewhere(&self, settings: Settings) -> Self {
        Self::of(self.bank.clone(), self.commit, settings).await
    }

    async fn of(bank: Arc<B>, commit: Commit, settings: Settings) -> Self {
        let gate = gate_that_commits(&*bank, settings, 20 * SECOND, commit).await;
        Self { bank, gate, commit, calls: Mutex::default() }
    }

    /// The calls since the last look: those for many messages first, then those for one, which are made side by side.
    pub(crate) fn calls(&self) -> Vec<Vec<Name>> {
        let mut calls = std::mem::take(&mut *self.calls.lock());
        let alone = calls.iter().position(|call| call.len() == 1).unwrap_or(calls.len());
        calls[alone..].sort();
        calls
    }

    pub(crate) async fn claim(&self, names: &[Name]) -> Vec<Admission> {
        let leader = |name: &Name| {
            self.gate.enter(job(name)).into_leader().expect("no other message of this key is under way")
        };
        let mut leaders: VecDeque<Leader> = names.iter().map(leader).collect();
        let admissions = self.gate.claim(&mut leaders).await;
        assert_eq!(admissions.len(), names.len());
        admissions
    }

    /// The whole way of messages that come together; a dead letter counts as stored. Each call pays its messages, and says
    /// what `work` says.
    pub(crate) async fn pay(
        &self,
        names: &[Name],
        work: impl AsyncFn(&mut B::Connection, &[Name]) -> Said,
    ) -> Vec<Decision> {
        let handling = async {
            let admissions = self.claim(names).await;
            self.settle(names, admissions, &work).await
        };
        timeout(60 * SECOND, handling).await.expect("messages are decided within a minute")
    }

    /// As [`pay`](Self::pay), for messages that are claimed.
    pub(crate) async fn settle(
        &self,
        names: &[Name],
        admissions: Vec<Admission>,
        work: &impl AsyncFn(&mut B::Connection, &[Name]) -> Said,
    ) -> Vec<Decision> {
        let seated = |admission: &Admission| match (admission, self.commit) {
            (Admission::Run(claimed), Commit::Together) => claimed.transaction(),
            _ => None,
        };
        let members = names.iter().zip(&admissions).filter(|(_, admission)| seated(admission).is_some());
        let members: Vec<Name> = members.map(|(name, _)| *name).collect();
        let open = admissions.iter().find_map(seated);
        let call = async {
            let mut lent = open.expect("an open transaction").lend().expect("nobody else has it");
            self.call(lent.connection(), &members, work).await.map_err(Arc::new)
        };
        let call = call.shared();
        let mut seats = 0..;
        let each = names.iter().zip(admissions).map(|(name, admission)| {
            let seat = seated(&admission).and_then(|_| Some((seats.next()?, call.clone())));
            self.one(name, admission, seat, work)
        });
        let each: Vec<_> = each.collect();
        drop(call);
        join_all(each).await
    }

    async fn one(
        &self,
        name: Name,
        admission: Admission,
        seat: Option<(usize, Shared<impl Future<Output = Shareable>>)>,
        work: &impl AsyncFn(&mut B::Connection, &[Name]) -> Said,
    ) -> Decision {
        let mut admission = match (admission, seat) {
            (Admission::Run(claimed), Some((seat, call))) => {
                let finished = claimed.run(|_, _| async move { result(call.await, seat) }).await;
                match self.ended(finished).await {
                    Ok(decision) => return decision,
                    Err(again) => again,
                }
            }
            (admission, _) => admission,
        };
        loop {
            admission = match admission {
                Admission::Decided(settled) => return stored(settled).await,
                Admission::Later(later) => later.await,
                Admission::Run(claimed) => match self.ended(self.alone(name, claimed, work).await).await {
                    Ok(decision) => return decision,
                    Err(again) => again,
                },
            };
        }
    }

    async fn alone(
        &self,
        name: Name,
        claimed: ClaimedRun,
        work: &impl AsyncFn(&mut B::Connection, &[Name]) -> Said,
    ) -> Finished {
        let open = claimed.transaction().expect("an open transaction");
        let run = claimed.run(|_, _| async move {
            let mut lent = open.lend().expect("nobody else has it");
            result(self.call(lent.connection(), &[name], work).await.map_err(Arc::new), 0)
        });
        run.await
    }

    async fn ended(&self, finished: Finished) -> Result<Decision, Admission> {
        match finished.again() {
            Ok(again) => Err(again),
            Err(finished) => Ok(stored(self.gate.settle_one(finished).await).await),
        }
    }

    async fn call(
        &self,
        connection: &mut (dyn std::any::Any + Send),
        names: &[Name],
        work: &impl AsyncFn(&mut B::Connection, &[Name]) -> Said,
    ) -> Said {
        self.calls.lock().push(names.to_vec());
        let connection = connection.downcast_mut().expect("the database's connection");
        for name in names {
            B::pay(connection, name).await?;
        }
        work(connection, names).await
    }
}

async fn stored(Settled { decision, held }: Settled) -> Decision {
    if let Some(held) = held {
        held.release(&decision).await;
    }
    decision
}

fn result(said: Shareable, seat: usize) -> HandlerResult {
    match said.map_err(ForAll)?[seat] {
        Ok(()) => Ok(()),
        Err(NEVER) => Err(Reject::new(NEVER).into()),
        Err(UNKNOWN) => Err(Uncertain::because(UNKNOWN).into()),
        Err(text) => Err(text.into()),
    }
}

/// One error for all messages of a call.
#[derive(Debug)]
struct ForAll(Arc<HandlerError>);

impl fmt::Display for ForAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_error(), f)
    }
}

impl StdError for ForAll {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.0.as_error())
    }
}
