//! What most programs need: `use idem_rocketmq::prelude::*;`.

pub use crate::codec::{Codec, Json, Payload, Raw, Text};
pub use crate::extract::{Attempt, Extract, Lease, State};
pub use crate::{
    Backoff, Delivery, HandlerError, HandlerResult, IdempotencyKey, KeySource, Keyed, Reject, ResultExt,
    Retry, Route, handler, handler_with, handlers, idempotent,
};
pub use bytes::Bytes;
pub use serde::{Deserialize, Serialize};
