//! Has threads given back while they are short, and says whose messages wait.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cheetah_string::CheetahString;

use super::seats::ENOUGH;
use crate::client::Mode;
use crate::listener::{Bridge, Broker};

/// The time between two looks while threads are short, and while they are not.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS_AT_REST: u32 = 25;

/// After so long without a message that was set aside, a topic is itself again.
const CALM: Duration = Duration::from_secs(10);

/// Looks after the calls of a bridge for as long as there is one.
pub(in crate::listener) fn watch(bridge: &Arc<Bridge>, client: &Arc<dyn Broker>) {
    let (weak, client) = (Arc::downgrade(bridge), Arc::downgrade(client));
    bridge.spawn("aside", async move {
        let mut said = HashMap::new();
        for turn in 0_u32.. {
            tokio::time::sleep(LOOK).await;
            let Some(bridge) = Weak::upgrade(&weak) else { return };
            bridge.say(&mut said);
            if let Some(client) = Weak::upgrade(&client) {
                bridge.look_after(&*client, turn.is_multiple_of(LOOKS_AT_REST)).await;
            }
        }
    });
}

impl Bridge {
    /// Finds out which queues were lost, and has threads given back where they are short.
    async fn look_after(&self, client: &dyn Broker, is_due: bool) {
        let next = {
            let seats = &self.calls.state.lock().seats;
            let is_at_rest = seats.on_threads() <= ENOUGH && !is_due;
            if seats.is_empty() || is_at_rest {
                return;
            }
            if self.dispatch.mode == Mode::Orderly {
                seats.ask_all();
                return;
            }
            seats.next()
        };
        let Some(queues) = client.queues().await else { return };
        {
            let seats = &mut self.calls.state.lock().seats;
            seats.look(&queues, next);
            seats.ask();
        }
        // The first call of a queue that was lost stays for nobody any more.
        self.calls.seats.notify_all();
    }

    /// Says of which topics messages were set aside.
    fn say(&self, said: &mut HashMap<CheetahString, Instant>) {
        let aside = self.calls.state.lock().seats.aside();
        for (topic, messages) in &aside {
            self.gauge(topic, *messages);
            if said.insert(topic.clone(), Instant::now()).is_none() {
                tracing::warn!(
                    group = &*self.group,
                    topic = &**topic,
                    set_aside = messages,
                    "messages of this topic wait in great numbers and were set aside, so that those of other handlers come in: \
                     the topic's offsets stay behind, and no more than 2,000 messages of a queue are taken in until they are \
                     settled"
                );
            }
        }
        said.retain(|topic, last| {
            self.gauge(topic, aside.get(topic).copied().unwrap_or_default());
            let is_over = last.elapsed() > CALM;
            if is_over {
                tracing::info!(
                    group = &*self.group,
                    topic = &**topic,
                    set_aside = 0,
                    "no message of this topic is set aside any more"
                );
            }
            !is_over
        });
    }

    #[expect(clippy::cast_precision_loss, reason = "a process holds far fewer than 2^52 messages")]
    fn gauge(&self, topic: &CheetahString, messages: usize) {
        let labels = [("group", self.group.to_string()), ("topic", topic.to_string())];
        metrics::gauge!("idem_messages_set_aside", &labels).set(messages as f64);
    }
}
