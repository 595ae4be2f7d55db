//! The engine's entry in the store's registry.

use std::sync::Arc;
use std::time::Duration;

use super::EngineInner;
use crate::clock::Later as _;
use crate::panics;
use crate::store::guarded;
use crate::store::{Enrolment, Registry, StoreError};

/// How often a member says that it lives.
const EVERY: Duration = Duration::from_secs(30);

pub(super) fn start(engine: &Arc<EngineInner>, group: &str, life: Duration) {
    let Some(registry) = engine.store.registry() else { return };
    let (name, stop) = (engine.store.name(), engine.stop.clone());
    let enrolment = Enrolment::of_this_process(engine.member, group, life.later(EVERY));
    let mut presence = Presence { registry, name, enrolment, is_known: true };
    let living = async move {
        loop {
            presence.enrol().await;
            if tokio::time::timeout(EVERY, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    };
    engine.runtime.spawn(panics::loud("presence", living, || {}));
}

struct Presence {
    registry: Arc<dyn Registry>,
    /// The store's.
    name: &'static str,
    enrolment: Enrolment,
    /// As far as was told.
    is_known: bool,
}

impl Presence {
    async fn enrol(&mut self) {
        let enrolled: Result<(), StoreError> =
            guarded::ask(self.name, || self.registry.enrol(&self.enrolment)).await;
        let Enrolment { group, member, .. } = &self.enrolment;
        match enrolled {
            Ok(()) => self.is_known = true,
            Err(error) if self.is_known => {
                self.is_known = false;
                tracing::warn!(
                    group, %member, store = self.name, %error,
                    "this process could not be entered in the store's registry of members, so that operators do not see it; it \
                     handles messages all the same, and tries it again"
                );
            }
            Err(error) => {
                tracing::debug!(group, %member, store = self.name, %error, "not entered in the registry of members");
            }
        }
    }
}
