use std::any::{TypeId, type_name};

use idem_core::store::ConnectionType;

/// The states and connections that a handler takes from its consumer.
#[derive(Debug, Default)]
pub struct Needs {
    states: Vec<(TypeId, &'static str)>,
    connections: Vec<ConnectionType>,
}

impl Needs {
    /// The state of type `T`, which [`Call::state`](super::Call::state) will give.
    pub fn state<T: 'static>(&mut self) {
        self.states.push((TypeId::of::<T>(), type_name::<T>()));
    }

    /// The connection of type `C` that [`Call::connection`](super::Call::connection) will give, of a transaction beside the
    /// message's record.
    pub fn connection<C: 'static>(&mut self) {
        self.connections.push(ConnectionType::of::<C>());
    }

    pub(crate) fn connections(&self) -> &[ConnectionType] {
        &self.connections
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = (&TypeId, &'static str)> {
        self.states.iter().map(|(id, name)| (id, *name))
    }
}
