//! The words of a consumer's builder.

use std::time::Duration;

use idem_core::Settings;

use crate::client::{Cluster, ConsumeFrom, LARGEST_BODY, MessageTrace};
use crate::handler::Route;
use crate::handler::route::placeholders::Values;
use crate::listener::OnSpan;
use crate::state::States;

/// Everything but the store, as it was said. [`Setup::resolve`] makes a plan of it.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(super) group: String,
    pub(super) cluster: Cluster,
    pub(super) routes: Vec<Route>,
    /// Values of placeholders in the routes.
    pub(super) values: Values,
    pub(super) states: States,
    pub(super) defaults: Settings,
    pub(super) deployment: Option<String>,
    pub(super) consume_from: ConsumeFrom,
    pub(super) trace: MessageTrace,
    pub(super) may_differ: bool,
    pub(super) on_span: OnSpan,
    pub(super) largest_body: usize,
    pub(super) drain: Duration,
}

impl Setup {
    pub(super) fn new(group: String) -> Self {
        Self {
            group,
            cluster: Cluster::default(),
            routes: Vec::new(),
            values: Values::new(),
            states: States::default(),
            defaults: Settings::new(),
            deployment: None,
            consume_from: ConsumeFrom::default(),
            trace: MessageTrace::default(),
            may_differ: false,
            on_span: OnSpan::default(),
            largest_body: LARGEST_BODY,
            drain: Duration::from_secs(30),
        }
    }
}
