//! What most programs need: `use idem_rocketmq::prelude::*;`.

#[cfg(feature = "redis")]
pub use crate::RedisStore;
pub use crate::codec::{Codec, Encode, Json, Payload, Raw, Text};
pub use crate::extract::{Attempt, BatchExtract, Extract, Lease, State};
pub use crate::{
    Backoff, Batch, BatchFailures, BatchItem, BatchResult, Consumer, Delivery, FromBatch, HandlerError,
    HandlerResult, IdempotencyKey, KeySource, Keyed, MemoryStore, Message, OutgoingMessage, Producer, Reject,
    ResultExt, Retry, Route, SendError, Settings, TieredStore, TransactionState, batch_handler,
    batch_handler_with, handler, handler_with, handlers, idempotent,
};
#[cfg(feature = "mysql")]
pub use crate::{MySqlOutbox, MySqlStore};
#[cfg(feature = "postgres")]
pub use crate::{PostgresOutbox, PostgresStore};
#[cfg(feature = "sqlite")]
pub use crate::{SqliteOutbox, SqliteStore};
pub use bytes::Bytes;
pub use serde::{Deserialize, Serialize};
