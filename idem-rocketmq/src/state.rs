//! Values that a consumer shares with its handlers.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;

use idem_core::panics::Careful;

use crate::handler::{Needs, Route};

/// The states of a consumer: at most one value of each type.
#[derive(Default)]
pub struct States(HashMap<TypeId, Slot>);

struct Slot {
    type_name: &'static str,
    /// Its `Drop` is the user's.
    value: Careful<Box<dyn Any + Send + Sync>>,
}

impl States {
    /// No state at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a state. A second value of one type takes the first one's place.
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, state: T) {
        let slot = Slot { type_name: type_name::<T>(), value: Careful::new(Box::new(state)) };
        self.0.insert(TypeId::of::<T>(), slot);
    }

    /// The state of type `T`.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.value.downcast_ref()
    }

    /// Checks that every handler finds the states that it takes.
    pub(crate) fn check<'r>(&self, routes: impl IntoIterator<Item = &'r Route>) -> Result<(), MissingState> {
        for route in routes {
            let mut needs = Needs::default();
            route.handler().needs(&mut needs);
            if let Some(missing) = needs.states().find(|(id, _)| !self.0.contains_key(id)) {
                return Err(self.missing(route.name(), missing.1));
            }
        }
        Ok(())
    }

    fn missing(&self, handler: &str, state: &'static str) -> MissingState {
        let mut available = self.type_names();
        available.sort_unstable();
        MissingState { handler: handler.to_owned(), state, available }
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

/// A handler takes a state that the consumer does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingState {
    handler: String,
    state: &'static str,
    available: Vec<&'static str>,
}

impl MissingState {
    /// The handler's name.
    pub fn handler(&self) -> &str {
        &self.handler
    }

    /// The type that it takes.
    pub fn state(&self) -> &str {
        self.state
    }
}

impl fmt::Display for MissingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handler, state, available } = self;
        write!(f, "the handler `{handler}` takes `State<{state}>`, and the consumer has ")?;
        match available.as_slice() {
            [] => f.write_str("no state")?,
            some => write!(f, "only `{}`", some.join("`, `"))?,
        }
        write!(f, ": give it one with `.state(..)` on the consumer's builder")
    }
}

impl std::error::Error for MissingState {}
