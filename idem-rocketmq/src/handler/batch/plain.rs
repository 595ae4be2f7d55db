//! Functions and closures as batch handlers, without a macro.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;

use super::super::plain::{InTransaction, Plain};
use super::{Batch, BatchCall, BatchHandler, BatchResult, BatchReturn, FromBatch};
use crate::extract::BatchExtract;
use crate::handler::Needs;

macro_rules! functions {
    ($($arg:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<F, B, Fut, $($arg),*> BatchHandler<B::Payload, Plain<fn(B, $($arg),*)>> for F
        where
            F: Fn(B, $($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: BatchReturn> + Send,
            B: FromBatch<Payload: Send + 'static>,
            $($arg: for<'x> BatchExtract<'x> + Send,)*
        {
            #[allow(unused_variables, reason = "a function without extractors needs nothing")]
            fn needs(&self, needs: &mut Needs) {
                $($arg::needs(needs);)*
            }

            #[allow(non_snake_case, unused_mut, unused_variables, reason = "arguments are named after their types")]
            fn call<'d>(&'d self, batch: Batch<B::Payload>, mut call: BatchCall<'d>) -> BoxFuture<'d, BatchResult> {
                Box::pin(async move {
                    let running = {
                        $(let $arg = $arg::extracted(&mut call).await?;)*
                        self(B::from_batch(batch), $($arg),*)
                    };
                    running.await.into_batch_result()
                })
            }
        }
    };
}

functions! {}
functions! { A }
functions! { A C }
functions! { A C D }
functions! { A C D E }
functions! { A C D E G }
functions! { A C D E G H }

/// A function of a batch and the connection of a transaction, for one lifetime of it.
#[doc(hidden)]
pub trait TransactsTogether<'x, B, C: 'x>: Fn(B, &'x mut C) -> Self::Running {
    type Running: Future<Output: BatchReturn> + Send + 'x;
}

impl<'x, F, Fut, B, C: 'x> TransactsTogether<'x, B, C> for F
where
    F: Fn(B, &'x mut C) -> Fut,
    Fut: Future<Output: BatchReturn> + Send + 'x,
{
    type Running = Fut;
}

#[diagnostic::do_not_recommend]
impl<F, B, C> BatchHandler<B::Payload, Plain<InTransaction<fn(B, C)>>> for F
where
    F: for<'x> TransactsTogether<'x, B, C> + Send + Sync + 'static,
    B: FromBatch<Payload: Send + 'static> + 'static,
    C: Send + 'static,
{
    fn needs(&self, needs: &mut Needs) {
        needs.connection::<C>();
    }

    fn call<'d>(&'d self, batch: Batch<B::Payload>, mut call: BatchCall<'d>) -> BoxFuture<'d, BatchResult> {
        Box::pin(async move {
            let running = self(B::from_batch(batch), call.connection::<C>()?);
            running.await.into_batch_result()
        })
    }
}

/// A batch handler without the parameter that tells implementations apart.
pub(in crate::handler) struct BatchBound<H, M>(H, PhantomData<fn() -> M>);

impl<H, M> BatchBound<H, M> {
    pub(in crate::handler) fn new(handler: H) -> Self {
        Self(handler, PhantomData)
    }
}

impl<P, H: BatchHandler<P, M>, M: 'static> BatchHandler<P> for BatchBound<H, M> {
    fn needs(&self, needs: &mut Needs) {
        self.0.needs(needs);
    }

    fn call<'d>(&'d self, batch: Batch<P>, call: BatchCall<'d>) -> BoxFuture<'d, BatchResult> {
        self.0.call(batch, call)
    }
}
