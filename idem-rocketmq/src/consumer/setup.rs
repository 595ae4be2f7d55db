//! What was said to a consumer's builder.

use std::time::Duration;

use idem_core::Settings;

use crate::client::{ConsumeFrom, Credentials, DelayBy, LARGEST_BODY, MessageTrace, Tls};
use crate::handler::Route;
use crate::listener::OnSpan;
use crate::state::States;

/// Everything but the store, as it was said. [`Setup::resolve`] makes a plan of it.
pub(crate) struct Setup {
    pub(super) group: String,
    pub(super) name_servers: Vec<String>,
    pub(super) routes: Vec<Route>,
    pub(super) states: States,
    pub(super) defaults: Settings,
    pub(super) namespace: Option<String>,
    pub(super) deployment: Option<String>,
    pub(super) instance_name: Option<String>,
    pub(super) consume_from: ConsumeFrom,
    pub(super) credentials: Option<Credentials>,
    pub(super) tls: Option<Tls>,
    pub(super) trace: MessageTrace,
    pub(super) may_differ: bool,
    pub(super) on_span: OnSpan,
    pub(super) delay_by: DelayBy,
    pub(super) delay_levels: Option<String>,
    pub(super) largest_body: usize,
    pub(super) drain: Duration,
}

impl Setup {
    pub(super) fn new(group: String) -> Self {
        Self {
            group,
            name_servers: Vec::new(),
            routes: Vec::new(),
            states: States::default(),
            defaults: Settings::new(),
            namespace: None,
            deployment: None,
            instance_name: None,
            consume_from: ConsumeFrom::default(),
            credentials: None,
            tls: None,
            trace: MessageTrace::default(),
            may_differ: false,
            on_span: OnSpan::default(),
            delay_by: DelayBy::default(),
            delay_levels: None,
            largest_body: LARGEST_BODY,
            drain: Duration::from_secs(30),
        }
    }
}
