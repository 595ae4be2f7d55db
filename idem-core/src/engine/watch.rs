//! Renewals, time-outs and local deadlines of all runs, on idem's own runtime.
//!
//! A handler that blocks every worker thread of the user's runtime does not stop this: its lease goes on, so its
//! key is not run elsewhere meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::lane::{Lane, Renewals};
use super::turn::TokenTurn;
use crate::clock::{Clock, Later as _};
use crate::lease::{Flight, Stop};
use crate::panics::{Fault, loud};
use crate::policy::Policy;
use crate::store::{Answer, RenewRequest};

/// The longest time between two looks.
const LONGEST_TICK: Duration = Duration::from_millis(500);
/// The shortest.
const SHORTEST_TICK: Duration = Duration::from_millis(5);

/// The part of a lease that a local deadline trusts: nine tenths. The rest is the margin for a look of the watch
/// that comes late and for clocks that do not run at quite the same rate.
pub(crate) fn safe_part(lease: Duration) -> Duration {
    lease / 10 * 9
}

/// All runs of an engine that have a time-out or a lease to look after.
pub(crate) struct Watch {
    live: Mutex<Slab<Watched>>,
    renewals: Lane<Renewals>,
    clock: Clock,
    runtime: Handle,
    fault: Arc<Fault>,
    /// The time between two looks that the shortest durations need, in µs.
    tick: AtomicU64,
    /// Whether the task looks by itself; where it does not, an addition wakes it.
    is_awake: AtomicBool,
    wake: Notify,
    ended: CancellationToken,
}

struct Watched {
    flight: Arc<Flight>,
    lease: Duration,
    retention: Duration,
    timeout: Duration,
    next_renewal: Duration,
    /// No run is bounded by it any more: the key is held until its dead letter is stored, however long that takes.
    is_held: bool,
}

impl Watch {
    pub(crate) fn start(
        renewals: Lane<Renewals>,
        clock: Clock,
        runtime: &Handle,
        fault: &Arc<Fault>,
    ) -> Arc<Self> {
        let watch = Arc::new(Self {
            live: Mutex::default(),
            renewals,
            clock,
            runtime: runtime.clone(),
            fault: fault.clone(),
            tick: AtomicU64::new(micros(LONGEST_TICK)),
            is_awake: AtomicBool::new(false),
            wake: Notify::new(),
            ended: CancellationToken::new(),
        });
        let looking = watch.clone();
        let fault = fault.clone();
        let looking = async move { looking.ended.run_until_cancelled(looking.look_forever()).await };
        runtime.spawn(loud("watch", looking, move || fault.fail("the watch over leases and time-outs")));
        watch
    }

    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// Looks after a flight from now on.
    pub(crate) fn add(&self, flight: &Arc<Flight>, policy: &Policy, now: Duration) {
        self.insert(flight, policy, now, false);
    }

    /// Keeps a flight's key from now on, whatever the result of its run, until it is removed or the store says that it is lost
    /// (`a_key_is_held_until_its_dead_letter_is_stored`).
    pub(crate) fn hold(&self, flight: &Arc<Flight>, policy: &Policy, now: Duration) {
        {
            let mut live = self.live.lock();
            flight.forget_stop();
            let slot = flight.slot.load(Ordering::Acquire);
            if let Some(watched) = live.get_mut(slot).filter(|watched| Arc::ptr_eq(&watched.flight, flight)) {
                watched.is_held = true;
                return;
            }
        }
        self.insert(flight, policy, now, true);
    }

    fn insert(&self, flight: &Arc<Flight>, policy: &Policy, now: Duration, is_held: bool) {
        let watched = Watched {
            is_held,
            next_renewal: now.later(policy.lease / 3),
            lease: policy.lease,
            retention: policy.retention,
            timeout: policy.timeout,
            flight: flight.clone(),
        };
        let tick = micros((policy.lease / 16).min(policy.timeout / 8).clamp(SHORTEST_TICK, LONGEST_TICK));
        let slot = self.live.lock().insert(watched);
        flight.slot.store(slot, Ordering::Release);
        let is_shorter = self.tick.fetch_min(tick, Ordering::AcqRel) > tick;
        if !self.is_awake.swap(true, Ordering::AcqRel) || is_shorter {
            self.wake.notify_one();
        }
    }

    pub(crate) fn remove(&self, flight: &Flight) {
        let slot = flight.slot.swap(usize::MAX, Ordering::AcqRel);
        if slot != usize::MAX {
            self.live.lock().try_remove(slot);
        }
    }

    async fn look_forever(self: &Arc<Self>) {
        loop {
            let tick = Duration::from_micros(self.tick.load(Ordering::Acquire));
            tokio::select! {
                () = tokio::time::sleep(tick) => {}
                () = self.wake.notified() => continue,
            }
            if self.live.lock().is_empty() {
                self.rest().await;
            } else {
                self.look();
            }
        }
    }

    /// Sleeps until something is added.
    async fn rest(&self) {
        self.is_awake.store(false, Ordering::Release);
        if self.live.lock().is_empty() {
            self.wake.notified().await;
        }
        self.is_awake.store(true, Ordering::Release);
    }

    fn look(self: &Arc<Self>) {
        let (due, turns) = self.due();
        if !due.is_empty() {
            let (watch, fault) = (self.clone(), self.fault.clone());
            let renewing = async move { watch.renew(due, turns).await };
            self.runtime.spawn(loud("renewal", renewing, move || fault.fail("the renewal of leases")));
        }
    }

    /// Halts what is over, and says what is to be renewed, in whose turns.
    fn due(&self) -> (Vec<(Arc<Flight>, RenewRequest)>, Vec<TokenTurn>) {
        let now = self.clock.now();
        let (mut due, mut turns) = (Vec::new(), Vec::new());
        for (_, watched) in self.live.lock().iter_mut() {
            let flight = &watched.flight;
            if now >= flight.deadline() && !watched.is_held {
                flight.halt(Stop::Lost);
            }
            if flight.started().is_some_and(|started| now >= started.later(watched.timeout)) {
                flight.halt(Stop::TimedOut);
            }
            // Renewal runs until the handler's time-out and no longer; before the handler's first poll its time does not run.
            if flight.stop().is_none()
                && now >= watched.next_renewal
                && let Some(request) = watched.renewal()
                && let Some(turn) = TokenTurn::try_of(flight)
            {
                turns.push(turn);
                // Asked again after a sixteenth of the lease where this one is not confirmed.
                watched.next_renewal = now.later(watched.lease / 16);
                due.push((watched.flight.clone(), request));
            }
        }
        (due, turns)
    }

    async fn renew(&self, due: Vec<(Arc<Flight>, RenewRequest)>, turns: Vec<TokenTurn>) {
        let (flights, requests): (Vec<_>, Vec<_>) = due.into_iter().unzip();
        let leases: Vec<Duration> = requests.iter().map(|request| request.lease).collect();
        let replies = self.renewals.call(requests, turns).await;
        for ((flight, lease), answer) in flights.iter().zip(leases).zip(replies.answers) {
            match answer {
                Ok(Answer::Done) => self.confirmed(flight, replies.sent, lease),
                Ok(Answer::Lost) => flight.halt(Stop::Lost),
                Err(error) => {
                    metrics::counter!("idem_renewal_failures_total").increment(1);
                    tracing::debug!(%error, "a lease could not be renewed yet");
                }
            }
        }
    }

    fn confirmed(&self, flight: &Flight, sent: Duration, lease: Duration) {
        flight.set_deadline(sent.later(safe_part(lease)));
        let slot = flight.slot.load(Ordering::Acquire);
        if let Some(watched) = self.live.lock().get_mut(slot)
            && std::ptr::eq(Arc::as_ptr(&watched.flight), flight)
        {
            watched.next_renewal = sent.later(lease / 3);
        }
    }
}

impl Watched {
    /// None where there is no lease: in a run without dedup, or while the claim is part of an open transaction.
    fn renewal(&self) -> Option<RenewRequest> {
        if self.flight.is_unbounded() {
            return None;
        }
        Some(RenewRequest {
            key: self.flight.key.clone()?,
            token: self.flight.token,
            lease: self.lease,
            retention: self.retention,
            ends_doubt: None,
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
