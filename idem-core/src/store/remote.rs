//! The code that the stores behind a connection share.

use std::future::Future;

use futures_util::TryFutureExt as _;
use futures_util::future::BoxFuture;

use super::StoreError;
use crate::runtime;

/// Runs a call where the connections live: the caller's runtime may end, pause its clock, or have none.
///
/// Its type ends here: the drivers' futures are so deep that a program which awaits one of them inside of a few of its own
/// would need a higher `recursion_limit`.
pub(super) fn on_runtime<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Result<T, StoreError>> + Send {
    let cut_off = |error| StoreError::unavailable("a call to the store was cut off").with_source(error);
    let call: BoxFuture<'static, T> = Box::pin(call);
    runtime::on(runtime::handle(), call).map_err(cut_off)
}
