//! How far the consumers are, read from their metrics.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use crate::Error;
use crate::strategy::Strategy;

/// Outcomes after which a message does not come again.
const FINAL: [&str; 5] = ["completed", "completed_without_dedup", "duplicate", "exhausted", "rejected"];

/// Adds up `idem_messages_total` by consumer group.
pub(crate) struct Progress {
    snapshots: Snapshotter,
    groups: RefCell<HashMap<String, Verdicts>>,
}

/// The outcomes of a group's messages.
#[derive(Clone, Copy, Default)]
pub(crate) struct Verdicts {
    /// Handled, also without success.
    pub(crate) all: usize,
    /// Handled for good.
    pub(crate) settled: usize,
}

impl Progress {
    /// Records all metrics of this process from now on.
    pub(crate) fn install() -> Result<Self, Error> {
        let recorder = DebuggingRecorder::new();
        let snapshots = recorder.snapshotter();
        recorder.install()?;
        Ok(Self { snapshots, groups: RefCell::default() })
    }

    pub(crate) async fn wait_for(
        &self,
        strategy: &Strategy,
        longest: Duration,
        is_reached: impl Fn(Verdicts) -> bool,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        while !is_reached(self.of(&strategy.group)) {
            if begun.elapsed() > longest {
                return Err(format!("{}: not done after {longest:?}", strategy.name).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn of(&self, group: &str) -> Verdicts {
        self.look();
        self.groups.borrow().get(group).copied().unwrap_or_default()
    }

    /// A snapshot tells what came since the last one.
    fn look(&self) {
        let mut groups = self.groups.borrow_mut();
        for (key, _, _, value) in self.snapshots.snapshot().into_vec() {
            let label =
                |name| key.key().labels().find(|label| label.key() == name).map(|label| label.value());
            if let (Some(group), Some(outcome), DebugValue::Counter(count)) =
                (label("group"), label("outcome"), value)
                && key.key().name() == "idem_messages_total"
            {
                let verdicts = groups.entry(group.to_owned()).or_default();
                let count = usize::try_from(count).unwrap_or_default();
                verdicts.all += count;
                if FINAL.contains(&outcome) {
                    verdicts.settled += count;
                }
            }
        }
    }
}
