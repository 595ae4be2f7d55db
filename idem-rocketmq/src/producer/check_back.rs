//! Answers to a broker that asks how the local work of a transaction ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::{HandlerError, panics, runtime};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::key::transaction_of;
use super::outbox::Markers;
use super::transaction::TransactionState;
use crate::Error;
use crate::client::{CheckBack, CheckBackReply, Delivery};
use crate::error::Kind;

/// The time that a check-back may take.
const CHECK_TIME: Duration = Duration::from_secs(30);

type TransactionCheck =
    dyn Fn(Delivery) -> BoxFuture<'static, Result<TransactionState, HandlerError>> + Send + Sync;

/// The check-backs of a producer by topic.
#[derive(Clone, Default)]
pub(super) struct CheckBacks(BTreeMap<String, Arc<TransactionCheck>>);

impl CheckBacks {
    pub(super) fn add(&mut self, topic: String, check: Box<TransactionCheck>) {
        self.0.insert(topic, check.into());
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// `None` where there is nobody to answer.
    pub(super) fn on_this_runtime(
        self,
        group: &str,
        markers: Option<Markers>,
    ) -> Result<Option<Arc<dyn CheckBack>>, Error> {
        let user = match Handle::try_current() {
            Ok(user) => user,
            Err(_) if self.0.is_empty() => runtime::handle().clone(),
            Err(_) => return Err(Kind::NoRuntimeForChecks { group: group.to_owned() }.into()),
        };
        if self.0.is_empty() && markers.is_none() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Answers { checks: self, markers, group: group.to_owned(), user })))
    }
}

struct Answers {
    checks: CheckBacks,
    markers: Option<Markers>,
    group: String,
    user: Handle,
}

impl CheckBack for Answers {
    /// On one of the client's threads that may block; the check-back itself runs on the user's runtime.
    fn check(&self, message: Delivery) -> CheckBackReply {
        let (topic, message_id) = (message.topic.clone(), message.message_id.clone());
        let marked = self.markers.as_ref().and_then(|markers| Some((markers, transaction_of(&message)?)));
        let state = match (&marked, self.checks.0.get(message.topic())) {
            (Some((markers, id)), _) => ask(runtime::handle(), markers.answer(*id)),
            (None, Some(check)) => {
                let check = Arc::clone(check);
                ask(&self.user, async move { check(message).await })
            }
            (None, None) => Err("no check-back is given for this topic".to_owned()),
        };
        let answer = state.as_ref().copied().unwrap_or(TransactionState::Unknown);
        metrics::counter!(
            "idem_checked_back_total",
            "group" => self.group.clone(), "topic" => topic.to_string(), "answer" => answer.as_str()
        )
        .increment(1);
        match state {
            Ok(_) => tracing::info!(
                group = self.group,
                topic = topic.as_str(),
                message_id = message_id.as_str(),
                answer = answer.as_str(),
                "the check-back has answered for a transaction"
            ),
            Err(reason) => tracing::warn!(
                group = self.group,
                topic = topic.as_str(),
                message_id = message_id.as_str(),
                reason,
                "a transaction stays unknown: the broker asks again"
            ),
        }
        let confirmed = marked.map(|(markers, id)| markers.confirmed(id));
        CheckBackReply { state: answer.of_client(), confirmed }
    }
}

fn ask(
    on: &Handle,
    check: impl Future<Output = Result<TransactionState, HandlerError>> + Send + 'static,
) -> Result<TransactionState, String> {
    let (answer, answered) = std::sync::mpsc::channel();
    let task = on.spawn(async move {
        let checking = panics::guard(Box::pin(check));
        let state = match timeout(CHECK_TIME, checking).await {
            Ok(Ok(Ok(state))) => Ok(state),
            Ok(Ok(Err(error))) => Err(panics::catch(move || format!("the check-back failed: {error}"))
                .unwrap_or_else(|_| "the check-back failed with an error that cannot be shown".to_owned())),
            Ok(Err(_)) => Err("the check-back panicked".to_owned()),
            Err(_) => Err(format!("the check-back took longer than {CHECK_TIME:?}")),
        };
        let _ = answer.send(state);
    });
    // The runtime may be blocked or gone.
    let state = answered.recv_timeout(CHECK_TIME.saturating_add(Duration::from_secs(1)));
    task.abort();
    state.unwrap_or_else(|_| Err("the runtime of the check-back gives no answer".to_owned()))
}
