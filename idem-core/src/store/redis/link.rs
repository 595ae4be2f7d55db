//! A connection to one server that is made again when it broke.
//!
//! Architecture Invariant: everything here runs on idem's own runtime, so that the connection's tasks outlive
//! the caller's runtime and go on while a handler blocks its threads.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, ready};
use parking_lot::Mutex;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::time::{Instant, timeout_at};

use super::errors::{broke_off, ends_connection, timed_out};
use super::target::ServerTarget;
use crate::clock::Later as _;
use crate::panics::loud;
use crate::runtime;

/// A moment as long from now.
pub(super) fn deadline(time: Duration) -> Instant {
    Instant::now().later(time)
}

/// One command, and the command that goes before it; or several.
#[derive(Clone, Copy)]
pub(super) enum LinkCommand<'a> {
    Plain(&'a Cmd),
    /// To a cluster's node that is just taking the key's slot over.
    Asking(&'a Cmd),
    /// Several, sent together; the answer is all of theirs.
    Pipeline(&'a Pipeline),
}

/// The way to the target, connected or being connected.
pub(super) struct RedisLink {
    target: Arc<ServerTarget>,
    current: Mutex<CurrentConnection>,
}

/// `generation` tells a caller's broken connection from the one that has replaced it.
#[derive(Clone)]
struct CurrentConnection {
    generation: u64,
    connection: ConnectionAttempt,
}

type ConnectionAttempt = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

impl RedisLink {
    /// A link that is connected already.
    pub(super) fn connected(target: ServerTarget, connection: MultiplexedConnection) -> Self {
        Self::with(Arc::new(target), ready(Ok(connection)).boxed().shared())
    }

    /// A link that connects now.
    pub(super) fn connecting(target: ServerTarget) -> Self {
        let target = Arc::new(target);
        let connection = connect(&target);
        Self::with(target, connection)
    }

    fn with(target: Arc<ServerTarget>, connection: ConnectionAttempt) -> Self {
        Self { target, current: Mutex::new(CurrentConnection { generation: 0, connection }) }
    }

    pub(super) fn target(&self) -> &ServerTarget {
        &self.target
    }

    /// Sends a message and waits for its answer, up to the deadline.
    ///
    /// A connection that turns out to be broken is replaced, and the message repeated once on the new one: that
    /// is safe for every command of a store.
    pub(super) async fn query(&self, message: LinkCommand<'_>, deadline: Instant) -> RedisResult<Value> {
        match self.attempt(message, deadline).await {
            Err(error) if broke_off(&error) => self.attempt(message, deadline).await,
            answer => answer,
        }
    }

    async fn attempt(&self, message: LinkCommand<'_>, deadline: Instant) -> RedisResult<Value> {
        let CurrentConnection { generation, connection } = self.current.lock().clone();
        let mut connection = match timeout_at(deadline, connection).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                self.replace(generation);
                return Err(error);
            }
            // The handshake goes on in its own task; a later call finds its end.
            Err(_) => return Err(timed_out()),
        };
        let answer = timeout_at(deadline, send(&mut connection, message)).await;
        let answer = answer.unwrap_or_else(|_| Err(timed_out()));
        if answer.as_ref().is_err_and(ends_connection) {
            self.replace(generation);
        }
        answer
    }

    /// Starts a new connection, unless somebody did already.
    fn replace(&self, generation: u64) {
        let mut current = self.current.lock();
        if current.generation == generation {
            *current = CurrentConnection { generation: generation + 1, connection: connect(&self.target) };
        }
    }
}

/// Connects in a task of its own, so that it ends even when the caller that started it has gone.
fn connect(target: &Arc<ServerTarget>) -> ConnectionAttempt {
    let target = Arc::clone(target);
    let connecting = async move { target.connect().await };
    let connecting = runtime::handle().spawn(loud("connection", connecting, || {}));
    async { connecting.await.ok().flatten().unwrap_or_else(|| Err(timed_out())) }.boxed().shared()
}

async fn send(connection: &mut MultiplexedConnection, message: LinkCommand<'_>) -> RedisResult<Value> {
    match message {
        LinkCommand::Plain(command) => connection.req_packed_command(command).await?,
        LinkCommand::Asking(command) => {
            let mut pipeline = Pipeline::with_capacity(2);
            pipeline.cmd("ASKING").add_command(command.clone());
            let answers = connection.req_packed_commands(&pipeline, 0, 2).await?;
            let none = || RedisError::from((ErrorKind::UnexpectedReturnType, "no answer behind ASKING"));
            answers.into_iter().next_back().ok_or_else(none)?
        }
        LinkCommand::Pipeline(commands) => {
            // An answer that is an error stays one of them.
            return Ok(Value::Array(connection.req_packed_commands(commands, 0, commands.len()).await?));
        }
    }
    .extract_error()
}
