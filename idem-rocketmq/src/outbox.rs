//! Messages that are stored in a database transaction of yours and sent after its commit.
//!
//! [`ProducerBuilder::outbox`](crate::producer::ProducerBuilder::outbox) tells how.

pub use idem_core::outbox::*;
#[cfg(feature = "mysql")]
pub use idem_core::store::{MySqlOutbox, MySqlOutboxBuilder};
#[cfg(feature = "postgres")]
pub use idem_core::store::{PostgresOutbox, PostgresOutboxBuilder};
#[cfg(feature = "sqlite")]
pub use idem_core::store::{SqliteOutbox, SqliteOutboxBuilder};

pub use crate::producer::{NoOutbox, OutboxError};
