//! How the messages of a call come in: each is decoded and has its key, and the first of each key is claimed.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use idem_core::IdempotencyKey;
use idem_core::engine::{self, Settled, UnfitAdmission, verdict};

use super::{Call, Event, Message, State};
use crate::client::{self, Mode, Queue};
use crate::listener::Bridge;
use crate::listener::dispatch::Entry;
use crate::listener::recall::Past;
use crate::listener::settle;
use crate::listener::waiting::Waiting;

impl Call<'_> {
    /// Looks into every message, and lets in those that follow no other one.
    pub(super) fn enter(&mut self, queue: &Queue) {
        let is_orderly = self.mode() == Mode::Orderly;
        let past = if is_orderly { self.bridge.recall.take(queue) } else { HashMap::new() };
        let mut last: HashMap<Option<IdempotencyKey>, usize> = HashMap::new();
        let mut first = Vec::with_capacity(self.sources.len());
        for place in 0..self.sources.len() {
            let past = past.get(&self.sources[place].queue_offset());
            let (message, order) = self.message(place, queue, past.copied());
            let is_settled = message.state == State::Settled;
            self.messages.push(message);
            if is_settled {
                self.shared.close();
            } else if let Some(before) = is_orderly.then(|| last.insert(order, place)).flatten() {
                self.messages[before].next = Some(place);
            } else {
                first.push(place);
            }
        }
        let (parked, first): (Vec<_>, Vec<_>) =
            first.into_iter().partition(|place| self.messages[*place].state != State::Open);
        for place in parked {
            if let State::Early(left) = self.messages[place].state {
                self.pass_on(place, left);
            } else {
                self.park(place);
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

    /// A message, and what its order is kept by.
    fn message(&self, place: usize, queue: &Queue, past: Option<Past>) -> (Message, Option<IdempotencyKey>) {
        let Bridge { group, largest_body, retry_topic, .. } = self.bridge;
        let delivery = Arc::new(client::delivery(self.sources[place], group, *largest_body));
        // What a message says that came another way, such as a dead letter, is about something else.
        let is_retry = queue.topic_str() == retry_topic;
        let (state, failures, tries) = match past {
            None if is_retry => {
                let left = settle::left_to_wait(&delivery);
                (left.map_or(State::Open, State::Early), settle::attempts(&delivery), 0)
            }
            None => (State::Open, 0, 0),
            Some(Past::Settled) => (State::Settled, 0, 0),
            Some(Past::Failed { until, failures, tries }) => {
                let state = if until > Instant::now() { State::Parked(until) } else { State::Open };
                (state, failures, tries)
            }
        };
        let handler = self.bridge.dispatch.handler(delivery.topic(), delivery.tag());
        let handler = handler.map(|(index, handler)| (index, handler.clone()));
        let (mut entry, mut order) = (None, None);
        let is_looked_into = !matches!(state, State::Settled | State::Early(_));
        if let (Some((_, handler)), true) = (&handler, is_looked_into) {
            let prepared = handler.prepare(&delivery);
            (entry, order) = (Some(prepared.entry), prepared.order);
        }
        let message = Message {
            delivery,
            handler,
            entry,
            run: None,
            key: None,
            next: None,
            is_running: false,
            failures,
            tries,
            state,
        };
        (message, order)
    }

    /// Lets messages in; the leaders of each handler are claimed together.
    pub(super) fn admit(&mut self, places: impl IntoIterator<Item = usize>) {
        let is_concurrent = self.mode() == Mode::Concurrent;
        let mut waiting: HashMap<usize, Waiting> = HashMap::new();
        for place in places {
            let message = &mut self.messages[place];
            let (Some((index, handler)), Some(entry)) = (message.handler.clone(), message.entry.take())
            else {
                self.unhandled(place);
                continue;
            };
            let gate = &handler.gate;
            match entry {
                Entry::Ready { mut job, run } => {
                    gate.fit();
                    message.run = Some(run);
                    message.key = Some(job.key.clone());
                    job.failures = message.failures;
                    if !is_concurrent {
                        job.redeliveries = message.tries;
                    }
                    match gate.enter(job) {
                        engine::Entry::Leader(leader) => {
                            let waiting =
                                waiting.entry(index).or_insert_with(|| Waiting::at(handler.clone()));
                            waiting.places.push_back(place);
                            waiting.leaders.push_back(leader);
                        }
                        engine::Entry::Follower(follower) => self
                            .events
                            .push(Box::pin(async move { Event::Admitted(place, follower.admit().await) })),
                        engine::Entry::Decided(settled) => self.decided(place, settled),
                    }
                }
                Entry::Unfit { what, reason, run } => {
                    message.run = run;
                    let UnfitAdmission { is_held, admission } =
                        gate.unfit(what, reason, message.failures.saturating_add(1));
                    if is_held {
                        self.shared.held(place, what, self.from(place).skip(1));
                    }
                    self.events.push(Box::pin(async move { Event::Admitted(place, admission.await) }));
                }
            }
        }
        for waiting in waiting.into_values() {
            self.events.push(Box::pin(waiting.claim(self.bridge)));
        }
    }

    fn unhandled(&mut self, place: usize) {
        let decision = verdict::no_handler(self.messages[place].delivery.reconsume_times());
        self.decided(place, Settled { decision, held: None });
    }
}
