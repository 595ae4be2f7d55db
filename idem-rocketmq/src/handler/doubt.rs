//! The check of a handler: what became of an earlier run that ended without an answer.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use idem_core::{Doubt, HandlerError, Happened, IdempotencyKey};

use super::{Call, CallContext, Needs};
use crate::extract::Extract;

/// An `async fn(&Payload, &Doubt, ..extractors) -> Result<Happened, E>`, which says whether an earlier run of the handler had its
/// effect.
///
/// Functions and closures with up to five extractors are checks.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a check of payload `{P}`",
    label = "not a check",
    note = "a check is `async fn(&{P}, &Doubt, ..extractors) -> Result<Happened, E>`, where `E` is an error, `anyhow::Error` or a string"
)]
pub trait Check<P, M>: Send + Sync + 'static {
    /// Says which states it looks up, so that a missing one is found at start-up.
    fn needs(&self, needs: &mut Needs);

    /// Finds out, for one payload.
    fn ask<'d>(
        &'d self,
        payload: &'d P,
        doubt: &'d Doubt,
        call: Call<'d>,
    ) -> BoxFuture<'d, Result<Happened, HandlerError>>;
}

/// A function that is a check, for one lifetime of what it borrows.
#[doc(hidden)]
pub trait Asks<'x, P, Args> {
    type Asking: Future<Output = Result<Happened, Self::Error>> + Send + 'x;
    type Error: Into<HandlerError>;

    fn asks(&self, payload: &'x P, doubt: &'x Doubt, args: Args) -> Self::Asking;
}

/// Tells the implementations for functions of different length apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Asked<T>(PhantomData<T>);

macro_rules! checks {
    ($($arg:ident)*) => {
        impl<'x, F, Fut, P: 'x, E, $($arg),*> Asks<'x, P, ($($arg,)*)> for F
        where
            F: Fn(&'x P, &'x Doubt, $($arg),*) -> Fut,
            Fut: Future<Output = Result<Happened, E>> + Send + 'x,
            E: Into<HandlerError>,
        {
            type Asking = Fut;
            type Error = E;

            #[allow(non_snake_case, reason = "arguments are named after their types")]
            fn asks(&self, payload: &'x P, doubt: &'x Doubt, ($($arg,)*): ($($arg,)*)) -> Fut {
                self(payload, doubt, $($arg),*)
            }
        }

        #[diagnostic::do_not_recommend]
        impl<F, P, $($arg),*> Check<P, Asked<fn($($arg),*)>> for F
        where
            F: for<'x> Asks<'x, P, ($($arg,)*)> + Send + Sync + 'static,
            P: Sync + 'static,
            $($arg: for<'x> Extract<'x> + Send + 'static,)*
        {
            #[allow(unused_variables, reason = "a check without extractors needs nothing")]
            fn needs(&self, needs: &mut Needs) {
                $($arg::needs(needs);)*
            }

            #[allow(non_snake_case, unused_mut, unused_variables, reason = "arguments are named after their types")]
            fn ask<'d>(
                &'d self,
                payload: &'d P,
                doubt: &'d Doubt,
                mut call: Call<'d>,
            ) -> BoxFuture<'d, Result<Happened, HandlerError>> {
                Box::pin(async move {
                    let asking = {
                        $(let $arg = $arg::extracted(&mut call).await?;)*
                        self.asks(payload, doubt, ($($arg,)*))
                    };
                    asking.await.map_err(Into::into)
                })
            }
        }
    };
}

checks! {}
checks! { A }
checks! { A B }
checks! { A B C }
checks! { A B C D }
checks! { A B C D G }

/// The thing that was asked about, and the answer.
pub(crate) type Answered<T> = (T, Result<Happened, HandlerError>);

/// A check without the parameter that tells implementations apart. It takes the payload and gives it back, so that only a payload
/// with a check has to be `Sync`.
pub(super) trait ErasedCheck<P>: Send + Sync {
    fn needs(&self, needs: &mut Needs);

    fn ask(
        &self,
        payload: P,
        key: Option<IdempotencyKey>,
        doubt: Doubt,
        context: CallContext,
    ) -> BoxFuture<'_, Answered<P>>;
}

pub(super) struct BoundCheck<C, M>(C, PhantomData<fn() -> M>);

impl<C, M> BoundCheck<C, M> {
    pub(super) fn new(check: C) -> Self {
        Self(check, PhantomData)
    }
}

impl<P: Send + Sync + 'static, C: Check<P, M>, M: 'static> ErasedCheck<P> for BoundCheck<C, M> {
    fn needs(&self, needs: &mut Needs) {
        self.0.needs(needs);
    }

    fn ask(
        &self,
        payload: P,
        key: Option<IdempotencyKey>,
        doubt: Doubt,
        context: CallContext,
    ) -> BoxFuture<'_, Answered<P>> {
        Box::pin(async move {
            let answer = self.0.ask(&payload, &doubt, Call::new(&context, key.as_ref(), None)).await;
            (payload, answer)
        })
    }
}
