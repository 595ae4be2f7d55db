//! From a key to the server that has it.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::errors::ends_connection;
use super::link::{LinkCommand, RedisLink, deadline};
use super::slot::slot;

/// The way to the server or servers of a store.
pub(super) struct Route {
    pub(super) ways: ServerLinks,
    /// The name of the other end in errors.
    pub(super) name: String,
    pub(super) response_timeout: Duration,
}

/// One server, or the nodes of a cluster.
pub(super) enum ServerLinks {
    One(Arc<RedisLink>),
    Cluster(Cluster),
}

impl Route {
    /// A number that is equal for keys which one script may name together.
    pub(super) fn group(&self, key: &[u8]) -> usize {
        match &self.ways {
            ServerLinks::One(_) => 0,
            ServerLinks::Cluster(_) => slot(key),
        }
    }

    /// The servers that have records, always in the same order.
    pub(super) fn masters(&self) -> Vec<Arc<RedisLink>> {
        match &self.ways {
            ServerLinks::One(link) => vec![Arc::clone(link)],
            ServerLinks::Cluster(cluster) => cluster.masters(),
        }
    }

    /// Asks a cluster's nodes who has which slot now, where an error says that one is gone.
    pub(super) async fn look_again(&self, error: &RedisError, deadline: Instant) {
        if let ServerLinks::Cluster(cluster) = &self.ways
            && ends_connection(error)
        {
            cluster.look_again(deadline).await;
        }
    }

    /// When a call that begins now must have its answer, however many commands it is.
    pub(super) fn deadline(&self) -> Instant {
        deadline(self.response_timeout)
    }

    /// Sends a command about keys of this group, and waits for its answer up to the deadline. Every wait for a server of a store
    /// goes through here.
    pub(super) async fn query(&self, group: usize, command: &Cmd, deadline: Instant) -> RedisResult<Value> {
        match &self.ways {
            ServerLinks::One(link) => link.query(LinkCommand::Plain(command), deadline).await,
            ServerLinks::Cluster(cluster) => cluster.query(group, command, deadline).await,
        }
    }
}
