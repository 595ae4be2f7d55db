//! What most programs need: `use idem_rocketmq::prelude::*;`.

#[cfg(feature = "mysql")]
pub use crate::MySqlStore;
#[cfg(feature = "postgres")]
pub use crate::PostgresStore;
#[cfg(feature = "redis")]
pub use crate::RedisStore;
#[cfg(feature = "sqlite")]
pub use crate::SqliteStore;
pub use crate::codec::{Codec, Encode, Json, Payload, Raw, Text};
pub use crate::extract::{Attempt, BatchExtract, Extract, Lease, State};
pub use crate::{
    Backoff, Batch, BatchFailures, BatchItem, BatchResult, Consumer, Delivery, FromBatch, HandlerError,
    HandlerResult, IdempotencyKey, KeySource, Keyed, MemoryStore, Message, OutgoingMessage, Producer, Reject,
    ResultExt, Retry, Route, SendError, Settings, TransactionState, batch_handler, batch_handler_with,
    handler, handler_with, handlers, idempotent,
};
pub use bytes::Bytes;
pub use serde::{Deserialize, Serialize};
