//! What the stores behind a connection share.

use std::future::Future;

use futures_util::TryFutureExt as _;

use super::StoreError;
use crate::runtime;

/// Runs a call where the connections live: the caller's runtime may end, pause its clock, or have none.
pub(super) fn on_runtime<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Result<T, StoreError>> + Send {
    let cut_off = |error| StoreError::unavailable("a call to the store was cut off").with_source(error);
    runtime::on(runtime::handle(), call).map_err(cut_off)
}
