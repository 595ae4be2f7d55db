//! How old the brokers are, as the header of each of their answers says.
//!
//! A broker before 5.0 has no timer: it stores a timer message and delivers it at once. Behind a newer name server nothing
//! else tells it from one that has.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rocketmq_model::common::mq_version::RocketMqVersion;

/// Requests that go to brokers alone: a name server's version says nothing.
const ASKED_OF_BROKERS: [i32; 4] = [SEND_MESSAGE, HEART_BEAT, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE];
const SEND_MESSAGE: i32 = 10;
const HEART_BEAT: i32 = 34;
const SEND_MESSAGE_V2: i32 = 310;
const SEND_BATCH_MESSAGE: i32 = 320;

/// The first one with a timer (`MQVersion` in Apache's sources).
const TIMERS: i32 = RocketMqVersion::V5_0_0 as i32;

/// A client's heartbeat goes to each broker every 30 s. One that has not answered for so long is gone, or was upgraded.
const LATELY: Duration = Duration::from_mins(5);

/// When each broker that has no timer last answered.
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<HashMap<SocketAddr, Instant>>);

impl Versions {
    pub(super) fn note(&self, request: i32, broker: SocketAddr, version: i32) {
        if !ASKED_OF_BROKERS.contains(&request) {
            return;
        }
        let mut old = self.0.lock();
        if version >= TIMERS {
            old.remove(&broker);
        } else if old.insert(broker, Instant::now()).is_none() {
            tracing::info!(
                %broker,
                version,
                "the broker is older than RocketMQ 5.0 and has no timer: delays are kept by delay levels; where those are not \
                 the usual ones, tell them with `.delay_levels(..)`"
            );
        }
    }

    /// Whether no broker is known that has no timer: a message may be sent to any of them.
    pub(super) fn have_timers(&self) -> bool {
        let mut old = self.0.lock();
        old.retain(|_, last| last.elapsed() < LATELY);
        old.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_before_5_0_has_no_timer_until_it_is_upgraded() {
        let versions = Versions::default();
        let broker = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert!(versions.have_timers());
        versions.note(HEART_BEAT, broker(1), RocketMqVersion::V5_0_0 as i32);
        versions.note(105, broker(2), RocketMqVersion::V4_9_7 as i32);
        assert!(versions.have_timers(), "a name server may be as old as it likes");
        versions.note(HEART_BEAT, broker(3), RocketMqVersion::V4_9_7 as i32);
        assert!(!versions.have_timers(), "one is enough: the copy may go there");
        versions.note(HEART_BEAT, broker(1), RocketMqVersion::V5_5_0 as i32);
        assert!(!versions.have_timers());
        versions.note(SEND_MESSAGE, broker(3), RocketMqVersion::V5_5_0 as i32);
        assert!(versions.have_timers());
    }
}
