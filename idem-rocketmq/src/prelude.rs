//! Names that most programs need: `use idem_rocketmq::prelude::*;`.

#[cfg(feature = "mysql")]
pub use crate::MySqlStore;
#[cfg(feature = "postgres")]
pub use crate::PostgresStore;
#[cfg(feature = "redis")]
pub use crate::RedisStore;
#[cfg(feature = "sqlite")]
pub use crate::SqliteStore;
pub use crate::extract::{Attempt, Delivery, State};
pub use crate::{
    Batch, BatchFailures, BatchResult, Cluster, Consumer, HandlerResult, IdempotencyKey, Keyed, MemoryStore,
    Message, OutgoingMessage, Producer, Reject, ResultExt, Retry, Route, Settings, Uncertain, handler,
    handlers, idempotent,
};
pub use serde::{Deserialize, Serialize};
