use parking_lot::{Condvar, Mutex};

/// Holds back answers that must have no effect while a client goes down.
///
/// Once a shutdown has begun, an answer "later" would make the client send its messages back and count a retry.
/// Such calls wait here until the client has let go of them.
#[derive(Default)]
pub(super) struct Gate {
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd)]
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

    /// Returns at once while the client runs, else when it is down.
    pub(super) fn wait(&self) {
        let mut phase = self.phase.lock();
        while *phase == Phase::Closing {
            self.changed.wait(&mut phase);
        }
    }
}
