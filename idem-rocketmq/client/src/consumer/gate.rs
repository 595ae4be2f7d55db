use parking_lot::{Condvar, Mutex};

/// Where a client is on its way down, for requests that come too late and for listener calls that must not answer.
#[derive(Default)]
pub(super) struct Gate {
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    Closing,
    Down,
}

impl Gate {
    pub(super) fn close(&self) {
        let mut phase = self.phase.lock();
        if *phase == Phase::Open {
            *phase = Phase::Closing;
        }
    }

    /// Lets everyone through: nobody listens to them any more.
    pub(super) fn down(&self) {
        *self.phase.lock() = Phase::Down;
        self.changed.notify_all();
    }

    pub(super) fn is_open(&self) -> bool {
        *self.phase.lock() == Phase::Open
    }

    /// Blocks until the client is down.
    pub(super) fn wait(&self) {
        let mut phase = self.phase.lock();
        self.changed.wait_while(&mut phase, |phase| *phase != Phase::Down);
    }
}
