//! What most programs need: `use idem_rocketmq::prelude::*;`.

#[cfg(feature = "redis")]
pub use crate::RedisStore;
pub use crate::codec::{Codec, Json, Payload, Raw, Text};
pub use crate::extract::{Attempt, Extract, Lease, State};
pub use crate::{
    Backoff, Consumer, Delivery, HandlerError, HandlerResult, IdempotencyKey, KeySource, Keyed, MemoryStore,
    Reject, ResultExt, Retry, Route, Settings, handler, handler_with, handlers, idempotent,
};
pub use bytes::Bytes;
pub use serde::{Deserialize, Serialize};
