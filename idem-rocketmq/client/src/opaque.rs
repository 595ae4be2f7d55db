//! Values whose types stop here.
//!
//! Whoever holds a type of the client has the compiler look through all of it to prove that a future may move between
//! threads, which takes long and is given up at its default depth. Behind an [`Opaque`] it is proved once, here.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

/// A shared value of a type that others need not look through. Cloning shares it.
pub(crate) struct Opaque<T>(Arc<dyn Any + Send + Sync>, PhantomData<fn() -> T>);

impl<T: Send + Sync + 'static> Opaque<T> {
    pub(crate) fn new(value: T) -> Self {
        Self::shared(Arc::new(value))
    }

    pub(crate) fn shared(value: Arc<T>) -> Self {
        Self(value, PhantomData)
    }

    pub(crate) fn get(&self) -> &T {
        self.0.downcast_ref().expect("it was made of this type")
    }

    pub(crate) fn share(&self) -> Arc<T> {
        self.0.clone().downcast().unwrap_or_else(|_| unreachable!("it was made of this type"))
    }
}
