//! A connection that is made again when it broke.
//!
//! Architecture Invariant: everything here runs on idem's own runtime, so that the connection's tasks outlive
//! the caller's runtime and go on while a handler blocks its threads.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::time::{Instant, timeout_at};

use super::errors::{broke_off, ends_cluster, ends_connection, timed_out};
use super::target::Target;
use crate::runtime;

/// A connection to one server, or to all of a cluster. Clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn query(&mut self, command: &Cmd) -> RedisResult<Value> {
        let value = match self {
            Self::Server(server) => server.req_packed_command(command).await,
            Self::Cluster(cluster) => cluster.req_packed_command(command).await,
        }?;
        value.extract_error()
    }

    /// Whether this connection is of no more use after this error. A cluster's repairs itself, except where it
    /// knows no node any more.
    fn ends_with(&self, error: &RedisError) -> bool {
        match self {
            Self::Server(_) => ends_connection(error),
            Self::Cluster(_) => ends_cluster(error),
        }
    }
}

/// The way to the target, connected or being connected.
pub(super) struct Link {
    target: Arc<Target>,
    response_timeout: Duration,
    current: Mutex<Current>,
}

/// `generation` tells a caller's broken connection from the one that has replaced it.
#[derive(Clone)]
struct Current {
    generation: u64,
    connection: Connecting,
}

type Connecting = Shared<BoxFuture<'static, RedisResult<Connection>>>;

impl Link {
    /// A link that is connected already.
    pub(super) fn new(target: Arc<Target>, response_timeout: Duration, connection: Connection) -> Self {
        let connection = ready(Ok(connection)).boxed().shared();
        let current = Mutex::new(Current { generation: 0, connection });
        Self { target, response_timeout, current }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a command and waits for its answer, up to the response time-out.
    ///
    /// A connection to a server that turns out to be broken is replaced, and the command repeated once on the new
    /// one: that is safe for every command of a store. A cluster's connection repeats by itself.
    pub(super) async fn query(&self, command: &Cmd) -> RedisResult<Value> {
        let deadline = Instant::now() + self.response_timeout;
        match self.attempt(command, deadline).await {
            Err(error) if !self.target.is_cluster() && broke_off(&error) => {
                self.attempt(command, deadline).await
            }
            answer => answer,
        }
    }

    async fn attempt(&self, command: &Cmd, deadline: Instant) -> RedisResult<Value> {
        let Current { generation, connection } = self.current.lock().clone();
        let mut connection = match timeout_at(deadline, connection).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                self.replace(generation);
                return Err(error);
            }
            // The handshake goes on in its own task; a later call finds its end.
            Err(_) => return Err(timed_out()),
        };
        let answer =
            timeout_at(deadline, connection.query(command)).await.unwrap_or_else(|_| Err(timed_out()));
        if answer.as_ref().is_err_and(|error| connection.ends_with(error)) {
            self.replace(generation);
        }
        answer
    }

    /// Starts a new connection, unless somebody did already.
    fn replace(&self, generation: u64) {
        let mut current = self.current.lock();
        if current.generation == generation {
            *current = Current { generation: generation + 1, connection: connect(&self.target) };
        }
    }
}

/// Connects in a task of its own, so that it ends even when the caller that started it has gone.
fn connect(target: &Arc<Target>) -> Connecting {
    let target = Arc::clone(target);
    let connecting = runtime::handle().spawn(async move { target.connect().await });
    async { connecting.await.unwrap_or_else(|_| Err(timed_out())) }.boxed().shared()
}
