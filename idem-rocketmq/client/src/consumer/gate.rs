use parking_lot::{Condvar, Mutex};

/// Where a client is on its way down, for requests that come too late and for listener calls that must not answer.
#[derive(Default)]
pub(super) struct ShutdownGate {
    phase: Mutex<ClientPhase>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum ClientPhase {
    #[default]
    Open,
    Closing,
    Down,
}

impl ShutdownGate {
    pub(super) fn close(&self) {
        let mut phase = self.phase.lock();
        if *phase == ClientPhase::Open {
            *phase = ClientPhase::Closing;
        }
    }

    /// Lets everyone through: nobody listens to them any more.
    pub(super) fn down(&self) {
        *self.phase.lock() = ClientPhase::Down;
        self.changed.notify_all();
    }

    pub(super) fn is_open(&self) -> bool {
        *self.phase.lock() == ClientPhase::Open
    }

    /// Blocks until the client is down.
    pub(super) fn wait(&self) {
        let mut phase = self.phase.lock();
        self.changed.wait_while(&mut phase, |phase| *phase != ClientPhase::Down);
    }
}
