//! The attempts of one send, until a broker confirms it.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use idem_core::clock::Later as _;
use rocketmq_client_rust::{ClientError as Cause, DefaultMQProducer, SendResult};
use rocketmq_model::common::message::message_queue::MessageQueue;
use tokio::time::sleep;

use super::sending::{self, ErrorMeaning, SendFailure, SendLoad, pick};
use crate::delay::{Delays, TOO_LONG, Timer};
use crate::error::text;
use crate::probe::Probe;

/// Time for one attempt, so that a broker that hangs leaves time for another.
const ATTEMPT: Duration = Duration::from_secs(5);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A send under way.
pub(super) struct SendAttempts<'a> {
    producer: &'a DefaultMQProducer,
    delays: &'a Delays,
    probe: &'a Probe,
    load: SendLoad,
    topic: String,
    order: Option<i32>,
    deadline: Instant,
    /// An attempt may have been stored.
    is_maybe_sent: bool,
    /// The code with which a broker's timer has refused the message.
    timer_refusal: Option<i32>,
    other_brokers: OtherBrokers,
}

/// The end of an attempt after which the send goes on, or is done.
enum AttemptEnd {
    Sent(SendResult),
    /// The next attempt follows at once, by delay level or at another broker.
    Redirected,
    /// The next attempt follows after a pause.
    Failed(String),
}

impl<'a> SendAttempts<'a> {
    pub(super) fn new(
        producer: &'a DefaultMQProducer,
        delays: &'a Delays,
        probe: &'a Probe,
        load: SendLoad,
        order: Option<i32>,
        deadline: Instant,
    ) -> Self {
        Self {
            producer,
            delays,
            probe,
            topic: load.topic().to_owned(),
            load,
            order,
            deadline,
            is_maybe_sent: false,
            timer_refusal: None,
            other_brokers: OtherBrokers::default(),
        }
    }

    /// Sends until a broker confirms, with pauses that grow; a message that a broker's timer does not take goes again by delay
    /// level. Must run on the client's runtime.
    pub(super) async fn run(mut self) -> Result<SendResult, SendFailure> {
        let mut pause = FIRST_PAUSE;
        loop {
            let cause = match self.attempt().await? {
                AttemptEnd::Sent(result) => return Ok(result),
                AttemptEnd::Redirected => continue,
                AttemptEnd::Failed(cause) => cause,
            };
            if Instant::now().later(pause) >= self.deadline {
                return Err(if self.is_maybe_sent {
                    SendFailure::MaybeSent { cause }
                } else {
                    SendFailure::NotSent { cause }
                });
            }
            tracing::debug!(topic = self.topic, cause, "a send failed and is tried again");
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            let refreshing = refresh_route(self.producer, &self.topic);
            let _ = tokio::time::timeout_at(self.deadline.into(), refreshing).await;
        }
    }

    async fn attempt(&mut self) -> Result<AttemptEnd, SendFailure> {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(ATTEMPT);
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        self.choose_delay()?;
        if let Some(cause) = self.probe.refusal(self.producer, &self.topic).await {
            self.probe.note(false);
            return Ok(AttemptEnd::Failed(cause));
        }
        let sent = self.load.attempt(self.producer, self.other_brokers.next(), self.order, millis).await;
        self.probe.note(matches!(sent, Ok(Some(_))));
        match sent {
            Ok(Some(result)) => {
                self.delays.refused(self.timer_refusal);
                Ok(AttemptEnd::Sent(result))
            }
            Ok(None) => {
                self.is_maybe_sent = true;
                Ok(AttemptEnd::Failed("the client gave no result".to_owned()))
            }
            Err(error) => self.failed(error).await,
        }
    }

    /// Has a message wait by level that no timer would take.
    fn choose_delay(&mut self) -> Result<(), SendFailure> {
        let needs_level = self.load.is_timed() && !self.delays.have_timers();
        if needs_level && !self.load.wait_by_level(&self.delays.levels) {
            let cause = "a broker is older than RocketMQ 5.0 and has no timer, and no delay level is as long as the delay";
            return Err(SendFailure::Refused { code: TOO_LONG, cause: cause.to_owned() });
        }
        Ok(())
    }

    async fn failed(&mut self, error: Cause) -> Result<AttemptEnd, SendFailure> {
        let cause = text(&error);
        let code = error.broker_response_code().filter(|_| self.load.is_timed());
        let timer_refusal = code.filter(|_| Timer::is_refusal(code));
        if timer_refusal.is_some() && self.load.wait_by_level(&self.delays.levels) {
            self.timer_refusal = timer_refusal;
            return Ok(AttemptEnd::Redirected);
        }
        match timer_refusal.map_or_else(|| sending::meaning(&error), ErrorMeaning::Refused) {
            ErrorMeaning::Refused(_) if self.is_maybe_sent => Err(SendFailure::MaybeSent { cause }),
            ErrorMeaning::Refused(code) => self.refused(code, cause).await,
            ErrorMeaning::MaybeSent => {
                self.is_maybe_sent = true;
                Ok(AttemptEnd::Failed(cause))
            }
            ErrorMeaning::NotSent => Ok(AttemptEnd::Failed(cause)),
        }
    }

    /// A refusal that is one broker's sends the message to another one.
    async fn refused(&mut self, code: i32, cause: String) -> Result<AttemptEnd, SendFailure> {
        let Self { producer, other_brokers, .. } = self;
        if sending::is_of_the_broker(code)
            && other_brokers.is_left(producer, &self.topic, self.order, self.deadline).await
        {
            tracing::debug!(topic = self.topic, cause, "a broker refused a send, which goes to another one");
            return Ok(AttemptEnd::Redirected);
        }
        Err(SendFailure::Refused { code, cause })
    }
}

/// Where a message may go that one broker has refused.
#[derive(Default)]
struct OtherBrokers {
    /// A queue of each broker that is still to be asked, once one has refused. The client does not say which one that was.
    queues: Option<Vec<MessageQueue>>,
    /// Where the order wants the message, as of the last refusal.
    ordered: Option<MessageQueue>,
}

impl OtherBrokers {
    fn next(&mut self) -> Option<MessageQueue> {
        self.queues.as_mut()?.pop()
    }

    /// Whether another queue can be asked after a refusal. A message with an order goes where the name server's queues say, and
    /// nowhere else.
    async fn is_left(
        &mut self,
        producer: &DefaultMQProducer,
        topic: &str,
        order: Option<i32>,
        deadline: Instant,
    ) -> bool {
        if self.queues.is_some() {
            return self.queues.as_ref().is_some_and(|queues| !queues.is_empty());
        }
        let refreshing = refresh_route(producer, topic);
        let _ = tokio::time::timeout_at(deadline.into(), refreshing).await;
        let mut now = queues(producer, topic).await;
        if let Some(hash) = order {
            // The first refusal may be by a queue that the client knew from an older route.
            let refused = std::mem::replace(&mut self.ordered, pick(&now, hash));
            return self.ordered.is_some() && self.ordered != refused && Instant::now() < deadline;
        }
        now.sort_by_key(|queue| (queue.broker_name().clone(), queue.queue_id()));
        now.dedup_by_key(|queue| queue.broker_name().clone());
        let is_left = now.len() > 1;
        self.queues = Some(now);
        is_left
    }
}

fn queues<'a>(producer: &'a DefaultMQProducer, topic: &'a str) -> BoxFuture<'a, Vec<MessageQueue>> {
    Box::pin(async move {
        let Some(inner) = producer.default_mq_producer_impl() else { return Vec::new() };
        inner.fetch_publish_message_queues(&topic.into()).await.unwrap_or_default()
    })
}

/// Asks the name server where the topic is: the client by itself asks every 10 s, and until then keeps to a broker
/// that has gone or does not know of one that has come back.
fn refresh_route<'a>(
    producer: &'a DefaultMQProducer,
    topic: &'a str,
) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    Box::pin(async move {
        let Some(inner) = producer.default_mq_producer_impl() else { return };
        if let Ok(client) = inner.get_mq_client_factory() {
            client.update_topic_route_info_from_name_server_topic(&topic.into()).await;
        }
    })
}
