//! No strategy at all.

use super::*;

pub(super) fn strategy(ground: &Ground) -> Strategy {
    ground
        .strategy("none", "example-none", &ground.redis, handlers![whatever_comes])
        .promises(Promise::Nothing)
        .weak_at("each duplicate counts, and each retry")
}

/// Its messages have no key, so idem runs it for each of them.
#[idempotent(key_from = property("none"), missing_key = run, topic = "example-none", backoff = "1s")]
async fn whatever_comes(paid: Paid, State(books): State<Books>, attempt: Attempt) -> HandlerResult {
    books.work_at_once(&paid, attempt).await
}
