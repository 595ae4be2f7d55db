//! From a key to the server that has it.

use std::time::Duration;

use redis::{Cmd, RedisResult, Value};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::link::{Link, Message};
use super::slot::slot;

/// The way to the server or servers of a store.
pub(super) struct Route {
    pub(super) ways: Ways,
    /// What errors call the other end.
    pub(super) name: String,
    pub(super) response_timeout: Duration,
}

/// One server, or the nodes of a cluster.
pub(super) enum Ways {
    One(Link),
    Cluster(Cluster),
}

impl Route {
    /// A number that is equal for keys which one script may name together.
    pub(super) fn group(&self, key: &[u8]) -> usize {
        match &self.ways {
            Ways::One(_) => 0,
            Ways::Cluster(_) => slot(key),
        }
    }

    /// Sends a command about keys of this group, and waits for its answer up to the response time-out.
    pub(super) async fn query(&self, group: usize, command: &Cmd) -> RedisResult<Value> {
        let deadline = Instant::now() + self.response_timeout;
        match &self.ways {
            Ways::One(link) => link.query(Message::Plain(command), deadline).await,
            Ways::Cluster(cluster) => cluster.query(group, command, deadline).await,
        }
    }
}
