use std::any::{TypeId, type_name};

/// What a handler looks up in its consumer.
#[derive(Debug, Default)]
pub struct Needs {
    states: Vec<(TypeId, &'static str)>,
}

impl Needs {
    /// The state of type `T`, which [`Call::state`](super::Call::state) will give.
    pub fn state<T: 'static>(&mut self) {
        self.states.push((TypeId::of::<T>(), type_name::<T>()));
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = (&TypeId, &'static str)> {
        self.states.iter().map(|(id, name)| (id, *name))
    }
}
