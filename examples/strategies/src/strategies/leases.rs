//! A record beside the work: idem's lease mode. A table of message states (in progress, completed) with expiry.

use super::*;

pub(super) fn strategies(ground: &Ground) -> [Strategy; 2] {
    let redis = format!("the same in Redis, SETNX ({})", ground.place.redis_name());
    [
        ground
            .strategy(
                "table of message states with expiry",
                "example-states",
                &ground.store,
                handlers![in_sql],
            )
            .weak_at("an effect before a failure is repeated"),
        ground
            .strategy(redis, "example-setnx", &ground.redis, handlers![in_redis])
            .weak_at("the same, and what Redis forgets is done again"),
    ]
    .map(|strategy| strategy.promises(Promise::OnceOrRepeated))
}

#[idempotent(key = "order", topic = "example-states", backoff = "1s")]
async fn in_sql(paid: Paid, State(books): State<Books>, attempt: Attempt) -> HandlerResult {
    books.work_at_once(&paid, attempt).await
}

#[idempotent(key = "order", topic = "example-setnx", backoff = "1s")]
async fn in_redis(paid: Paid, State(books): State<Books>, attempt: Attempt) -> HandlerResult {
    books.work_at_once(&paid, attempt).await
}
