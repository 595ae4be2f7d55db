use super::extracted::at_once;
use super::{BatchCall, BatchExtract, Call, Extract, Needs};

/// A value that the consumer was given with `.state(..)`, cloned for each call.
///
/// Wrap what is expensive to clone into an `Arc`, outside or inside of the type. A missing state is an error
/// when the consumer starts, not when a message comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

impl<T: Clone + Send + Sync + 'static> Extract<'_> for State<T> {
    fn needs(needs: &mut Needs) {
        needs.state::<T>();
    }

    at_once!(|call: &mut Call<'_>| call.state::<T>().cloned().map(State));
}

impl<T: Clone + Send + Sync + 'static> BatchExtract<'_> for State<T> {
    fn needs(needs: &mut Needs) {
        needs.state::<T>();
    }

    at_once!(|call: &mut BatchCall<'_>| call.state::<T>().cloned().map(State));
}

impl<T> std::ops::Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
