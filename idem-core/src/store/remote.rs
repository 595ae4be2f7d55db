//! What the stores behind a connection share.

use std::future::Future;

use super::StoreError;
use crate::runtime;

/// Runs a call where the connections live: the caller's runtime may end, pause its clock, or have none.
pub(super) async fn on_runtime<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> Result<T, StoreError> {
    let own = runtime::handle();
    if tokio::runtime::Handle::try_current().is_ok_and(|current| current.id() == own.id()) {
        return Ok(call.await);
    }
    let ended = own.spawn(call).await;
    ended.map_err(|error| StoreError::unavailable("a call to the store was cut off").with_source(error))
}
