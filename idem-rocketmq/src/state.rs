//! Values that a consumer shares with its handlers.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use idem_core::panics::CarefulDrop;

use crate::handler::{Needs, Route};

/// The states of a consumer: at most one value of each type. Clones share the values.
#[derive(Clone, Default)]
pub(crate) struct States(HashMap<TypeId, Arc<Slot>>);

struct Slot {
    type_name: &'static str,
    /// Its `Drop` is the user's.
    value: CarefulDrop<Box<dyn Any + Send + Sync>>,
}

impl States {
    /// Adds a state. A second value of one type takes the first one's place.
    pub(crate) fn insert<T: Clone + Send + Sync + 'static>(&mut self, state: T) {
        let slot = Slot { type_name: type_name::<T>(), value: CarefulDrop::new(Box::new(state)) };
        self.0.insert(TypeId::of::<T>(), Arc::new(slot));
    }

    /// The state of type `T`.
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.value.downcast_ref()
    }

    /// Checks that every handler finds the states that it takes. The error names all that are missing.
    pub(crate) fn check<'r>(&self, routes: impl IntoIterator<Item = &'r Route>) -> Result<(), MissingState> {
        let mut missing: Vec<Missing> = Vec::new();
        for route in routes {
            let mut needs = Needs::default();
            route.handler().needs(&mut needs);
            for (id, state) in needs.states().filter(|(id, _)| !self.0.contains_key(id)) {
                match missing.iter_mut().find(|known| known.id == *id) {
                    Some(known) => known.add(route.name()),
                    None => missing.push(Missing { id: *id, state, handlers: vec![route.name().to_owned()] }),
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let mut available = self.type_names();
        available.sort_unstable();
        Err(MissingState { missing, available })
    }

    fn type_names(&self) -> Vec<&'static str> {
        self.0.values().map(|slot| slot.type_name).collect()
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("States").field(&self.type_names()).finish()
    }
}

/// Handlers take states that the consumer does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingState {
    /// One at least.
    missing: Vec<Missing>,
    available: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Missing {
    id: TypeId,
    state: &'static str,
    /// Those that take it; one at least.
    handlers: Vec<String>,
}

impl Missing {
    /// Another handler that takes it, or the same one again.
    fn add(&mut self, handler: &str) {
        if self.handlers.last().is_none_or(|last| last != handler) {
            self.handlers.push(handler.to_owned());
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handlers, state, .. } = self;
        match handlers.as_slice() {
            [others @ .., last] if !others.is_empty() => {
                write!(f, "the handlers `{}` and `{last}` take `State<{state}>`", others.join("`, `"))
            }
            one => write!(f, "the handler `{}` takes `State<{state}>`", one.concat()),
        }
    }
}

impl fmt::Display for MissingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for missing in &self.missing {
            write!(f, "{missing}, ")?;
        }
        f.write_str("and the consumer has ")?;
        match self.available.as_slice() {
            [] => f.write_str("no state")?,
            some => write!(f, "only `{}`", some.join("`, `"))?,
        }
        let them = if self.missing.len() == 1 { "one" } else { "each of them" };
        write!(f, ": give it {them} with `.state(..)` on the consumer's builder")
    }
}

impl std::error::Error for MissingState {}
