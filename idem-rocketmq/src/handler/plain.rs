//! Functions and closures as handlers, without a macro.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use idem_core::HandlerResult;

use super::{Call, Handler, HandlerReturn, Needs};
use crate::extract::Extract;

/// Tells the implementations for functions of different length apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Plain<T>(PhantomData<T>);

macro_rules! functions {
    ($($arg:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<F, P, Fut, $($arg),*> Handler<P, Plain<fn($($arg),*)>> for F
        where
            F: Fn(P, $($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: HandlerReturn> + Send,
            P: Send + 'static,
            $($arg: for<'x> Extract<'x> + Send,)*
        {
            #[allow(unused_variables, reason = "a function without extractors needs nothing")]
            fn needs(&self, needs: &mut Needs) {
                $($arg::needs(needs);)*
            }

            #[allow(non_snake_case, unused_mut, unused_variables, reason = "arguments are named after their types")]
            fn call<'d>(&'d self, payload: P, mut call: Call<'d>) -> BoxFuture<'d, HandlerResult> {
                Box::pin(async move {
                    let running = {
                        $(let $arg = $arg::extracted(&mut call).await?;)*
                        self(payload, $($arg),*)
                    };
                    running.await.into_result()
                })
            }
        }
    };
}

functions! {}
functions! { A }
functions! { A B }
functions! { A B C }
functions! { A B C D }
functions! { A B C D E }
functions! { A B C D E G }

/// Tells functions that work in a transaction from others.
#[doc(hidden)]
#[derive(Debug)]
pub struct InTransaction<C>(PhantomData<C>);

/// A function of a payload and the connection of a transaction, for one lifetime of it.
#[doc(hidden)]
pub trait Transacts<'x, P, C: 'x>: Fn(P, &'x mut C) -> Self::Running {
    type Running: Future<Output: HandlerReturn> + Send + 'x;
}

impl<'x, F, Fut, P, C: 'x> Transacts<'x, P, C> for F
where
    F: Fn(P, &'x mut C) -> Fut,
    Fut: Future<Output: HandlerReturn> + Send + 'x,
{
    type Running = Fut;
}

#[diagnostic::do_not_recommend]
impl<F, P, C> Handler<P, Plain<InTransaction<C>>> for F
where
    F: for<'x> Transacts<'x, P, C> + Send + Sync + 'static,
    P: Send + 'static,
    C: Send + 'static,
{
    fn needs(&self, needs: &mut Needs) {
        needs.connection::<C>();
    }

    fn call<'d>(&'d self, payload: P, mut call: Call<'d>) -> BoxFuture<'d, HandlerResult> {
        Box::pin(async move {
            let running = self(payload, call.connection::<C>()?);
            running.await.into_result()
        })
    }
}

/// A handler without the parameter that tells implementations apart.
pub(super) struct Bound<H, M>(H, PhantomData<fn() -> M>);

impl<H, M> Bound<H, M> {
    pub(super) fn new(handler: H) -> Self {
        Self(handler, PhantomData)
    }
}

impl<P, H: Handler<P, M>, M: 'static> Handler<P> for Bound<H, M> {
    fn needs(&self, needs: &mut Needs) {
        self.0.needs(needs);
    }

    fn call<'d>(&'d self, payload: P, call: Call<'d>) -> BoxFuture<'d, HandlerResult> {
        self.0.call(payload, call)
    }
}
