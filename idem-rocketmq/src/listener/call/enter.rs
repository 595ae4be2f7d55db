//! How the messages of a call come in: each is decoded and has its key, and the first of each key is claimed.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use idem_core::IdempotencyKey;
use idem_core::engine::{self, Settled, UnfitAdmission, verdict};

use super::ListenerCall;
use super::claim::{CallEvent, WaitingLeaders};
use super::message::{CallMessage, EnteredMessage, MessageState};
use super::recall::EarlierEnd;
use crate::client::{self, Mode, Queue};
use crate::listener::Bridge;
use crate::listener::dispatch::GateEntry;
use crate::listener::settle;

impl ListenerCall<'_> {
    /// Looks into every message, and lets in those that follow no other one.
    pub(super) fn enter(&mut self, queue: &Queue) {
        let is_orderly = self.mode() == Mode::Orderly;
        let ends = if is_orderly { self.bridge.suspended.take(queue) } else { HashMap::new() };
        let mut last: HashMap<Option<IdempotencyKey>, usize> = HashMap::new();
        let mut first = Vec::with_capacity(self.sources.len());
        for place in 0..self.sources.len() {
            let end = ends.get(&self.sources[place].queue_offset());
            let (message, order) = self.message(place, queue, end.copied());
            let is_settled = message.state.is_closed();
            self.messages.push(message);
            if is_settled {
                self.progress.close();
            } else if let Some(before) = is_orderly.then(|| last.insert(order, place)).flatten() {
                self.messages[before].next = Some(place);
            } else {
                first.push(place);
            }
        }
        self.admit(first);
        self.admit_next();
    }

    /// Lets in the messages whose turn has come: one after the other, where each is settled as soon as it is in.
    pub(super) fn admit_next(&mut self) {
        while !self.next.is_empty() {
            let places = mem::take(&mut self.next);
            self.admit(places);
        }
    }

    /// A message, and the key that its order is kept by.
    fn message(
        &self,
        place: usize,
        queue: &Queue,
        end: Option<EarlierEnd>,
    ) -> (CallMessage, Option<IdempotencyKey>) {
        let Bridge { group, largest_body, retry_topic, dispatch, .. } = self.bridge;
        let delivery = Arc::new(client::delivery(&self.sources[place], group, *largest_body));
        let handler = dispatch.handler(delivery.topic(), delivery.tag());
        let handler = handler.map(|(index, handler)| (index, handler.clone()));
        // A message that came another way, such as a dead letter, has properties that are about something else.
        let is_retry = queue.topic() == retry_topic.as_str();
        let (mut failures, mut tries, mut order) = (0, 0, None);
        let mut decoded = || {
            let (_, handler) = handler.as_ref()?;
            let prepared = handler.prepare(&delivery);
            order = prepared.order;
            Some(prepared.entry)
        };
        let state = match end {
            Some(EarlierEnd::Settled) => MessageState::Settled,
            Some(EarlierEnd::Failed { until, failures: before, tries: again }) => {
                (failures, tries) = (before, again);
                let entry = decoded();
                if until > Instant::now() {
                    MessageState::Parked { until, entry }
                } else {
                    MessageState::Waiting(entry)
                }
            }
            None if is_retry => {
                failures = settle::attempts(&delivery);
                let left = settle::left_to_wait(&delivery);
                left.map_or_else(|| MessageState::Waiting(decoded()), MessageState::Early)
            }
            None => MessageState::Waiting(decoded()),
        };
        (CallMessage { delivery, handler, key: None, next: None, failures, tries, state }, order)
    }

    /// Lets messages in; the leaders of each handler are claimed together.
    pub(super) fn admit(&mut self, places: impl IntoIterator<Item = usize>) {
        let mut waiting: HashMap<usize, WaitingLeaders> = HashMap::new();
        for place in places {
            match self.messages[place].state {
                MessageState::Early(left) => self.pass_on(place, left),
                MessageState::Parked { until, .. } => self.wait(place, until),
                _ => self.let_in(place, &mut waiting),
            }
        }
        for waiting in waiting.into_values() {
            self.events.push(Box::pin(waiting.claim(self.bridge)));
        }
    }

    fn let_in(&mut self, place: usize, waiting: &mut HashMap<usize, WaitingLeaders>) {
        let is_concurrent = self.mode() == Mode::Concurrent;
        let message = &mut self.messages[place];
        let Some((index, handler, entry)) = message.let_in() else { return self.unhandled(place) };
        match entry {
            GateEntry::Ready { mut job, run } => {
                handler.gate.fit();
                message.key = Some(job.key.clone());
                job.failures = message.failures;
                if !is_concurrent {
                    job.redeliveries = message.tries;
                }
                let message = EnteredMessage { place, handler, run: Some(run) };
                match message.handler.gate.enter(job) {
                    engine::Entry::Leader(leader) => {
                        let waiting = waiting
                            .entry(index)
                            .or_insert_with(|| WaitingLeaders::at(message.handler.clone()));
                        waiting.leaders.push_back((message, leader));
                    }
                    engine::Entry::Follower(follower) => self
                        .events
                        .push(Box::pin(async move { CallEvent::Admitted(message, follower.admit().await) })),
                    engine::Entry::Decided(settled) => self.decided(place, settled),
                }
            }
            GateEntry::Unfit { what, reason, run } => {
                let attempt = message.failures.saturating_add(1);
                let UnfitAdmission { is_held, admission } = handler.gate.unfit(what, reason, attempt);
                if is_held {
                    self.progress.held(place, what, self.from(place).skip(1));
                }
                let message = EnteredMessage { place, handler, run };
                self.events.push(Box::pin(async move { CallEvent::Admitted(message, admission.await) }));
            }
        }
    }

    fn unhandled(&mut self, place: usize) {
        let decision = verdict::no_handler(self.messages[place].delivery.reconsume_times());
        self.decided(place, Settled { decision, held: None });
    }
}
