//! Calls whose messages wait: which of them keep their threads, and which give them back or send their messages back.

mod aside;
mod calls;
mod crowd;
mod seats;
mod thread;
mod threads;
mod ticket;

pub(super) use self::aside::watch as watch_seats;
pub(super) use self::calls::ListenerCalls;
pub(crate) use self::crowd::CROWD;
pub(super) use self::crowd::watch as watch_crowd;
pub(super) use self::seats::CallSignals;
#[cfg(test)]
pub(super) use self::seats::ENOUGH;
pub(crate) use self::threads::{FEW, THREADS};
