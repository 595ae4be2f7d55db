//! Redis Cluster: which node has which slot, and a link to each.
//!
//! Each node's link breaks and repairs itself without the others', so that a dead node fails its own keys only.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::{Instant, timeout_at};

use super::errors::{ends_connection, timed_out};
use super::link::{LinkCommand, RedisLink, deadline};
use super::slot_map::{Address, Owners, read_owners};
use super::target::ServerTarget;
use crate::panics::loud;
use crate::runtime;

/// A slot moves once; more redirections than a few mean that the nodes disagree.
const MOST_REDIRECTIONS: usize = 5;

/// A cluster's nodes.
pub(super) struct Cluster(Arc<Nodes>);

struct Nodes {
    seeds: Vec<Arc<RedisLink>>,
    response_timeout: Duration,
    map: Mutex<SlotMap>,
    /// Held while the map is asked for, so that one caller asks and the others wait for what it learns.
    asking: tokio::sync::Mutex<()>,
}

/// Which node has which slot, as far as is known. `generation` counts how often that was asked.
#[derive(Default)]
struct SlotMap {
    generation: u64,
    owners: Owners,
    links: Vec<(Address, Arc<RedisLink>)>,
}

impl Cluster {
    /// The cluster that these nodes belong to. They are asked about the others before anything else.
    pub(super) async fn connect(seeds: Vec<ServerTarget>, response_timeout: Duration) -> RedisResult<Self> {
        let seeds = seeds.into_iter().map(|seed| Arc::new(RedisLink::connecting(seed))).collect();
        let asking = tokio::sync::Mutex::default();
        let nodes = Arc::new(Nodes { seeds, response_timeout, map: Mutex::default(), asking });
        nodes.refresh(0).await?;
        Ok(Self(nodes))
    }

    /// Sends a command to the node that has the slot. Follows the slot where it has moved, or where it has
    /// another owner since a failover.
    pub(super) async fn query(&self, slot: usize, command: &Cmd, deadline: Instant) -> RedisResult<Value> {
        let (mut generation, mut link) = self.0.owner(slot)?;
        let mut message = LinkCommand::Plain(command);
        for _ in 0..MOST_REDIRECTIONS {
            let error = match link.query(message, deadline).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            message = LinkCommand::Plain(command);
            match error.kind() {
                ErrorKind::Server(ServerErrorKind::Ask) => {
                    link = self.0.redirected(&link, &error)?;
                    message = LinkCommand::Asking(command);
                }
                ErrorKind::Server(ServerErrorKind::Moved) => {
                    link = self.0.redirected(&link, &error)?;
                    self.0.moved(slot, &link);
                }
                _ if ends_connection(&error) => {
                    self.refresh(generation, deadline).await;
                    let (now, owner) = self.0.owner(slot)?;
                    if Arc::ptr_eq(&owner, &link) {
                        return Err(error);
                    }
                    (generation, link) = (now, owner);
                }
                _ => return Err(error),
            }
        }
        Err(lost("the cluster's nodes redirect in circles"))
    }

    /// The node that has a slot, as far as is known, and how many nodes have some.
    pub(super) fn owner(&self, slot: usize) -> Option<Address> {
        self.0.map.lock().owners.of(slot).cloned()
    }

    /// The nodes that have slots, in the order of their addresses.
    pub(super) fn masters(&self) -> Vec<Arc<RedisLink>> {
        let mut map = self.0.map.lock();
        let mut addresses = map.owners.addresses().to_vec();
        addresses.sort_unstable();
        addresses.iter().map(|address| self.0.link(&mut map, address)).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.0.map.lock().owners.addresses().len()
    }

    /// Asks who has which slot now.
    pub(super) async fn look_again(&self, deadline: Instant) {
        let seen = self.0.map.lock().generation;
        self.refresh(seen, deadline).await;
    }

    /// As [`look_again`](Self::look_again), unless somebody has since `seen`. Past the deadline that goes on for the calls to come.
    async fn refresh(&self, seen: u64, deadline: Instant) {
        let nodes = Arc::clone(&self.0);
        let refreshing = async move { nodes.refresh(seen).await };
        let refreshing = runtime::handle().spawn(loud("cluster", refreshing, || {}));
        // Where nobody knew better, the call's own error says more.
        let _ = timeout_at(deadline, refreshing).await;
    }
}

impl Nodes {
    fn owner(&self, slot: usize) -> RedisResult<(u64, Arc<RedisLink>)> {
        let map = self.map.lock();
        let address = map.owners.of(slot).ok_or_else(|| lost("no node of the cluster has the key's slot"))?;
        let link = map.links.iter().find(|(known, _)| known == address);
        let (_, link) = link.ok_or_else(|| lost("a node of the cluster is not known"))?;
        Ok((map.generation, Arc::clone(link)))
    }

    /// The link to the node that an error sends to. Without a host that is another port of the one who says so.
    fn redirected(&self, from: &RedisLink, error: &RedisError) -> RedisResult<Arc<RedisLink>> {
        let unreadable = || lost("a node of the cluster redirects to nowhere");
        let (address, _) = error.redirect_node().ok_or_else(unreadable)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(unreadable)?;
        let port = port.parse().map_err(|_| unreadable())?;
        let own_host = from.target().address().map_or("", |(host, _)| host);
        let host = if host.is_empty() { own_host } else { host };
        Ok(self.link(&mut self.map.lock(), &(host.to_owned(), port)))
    }

    fn moved(&self, slot: usize, to: &RedisLink) {
        if let Some((host, port)) = to.target().address() {
            self.map.lock().owners.set(slot, (host.to_owned(), port));
        }
    }

    /// The link to a node, known or new.
    fn link(&self, map: &mut SlotMap, address: &Address) -> Arc<RedisLink> {
        if let Some((_, link)) = map.links.iter().find(|(known, _)| known == address) {
            return Arc::clone(link);
        }
        let (host, port) = (address.0.as_str(), address.1);
        let seed = self.seeds.iter().find(|seed| seed.target().address() == Some((host, port)));
        let new = || Arc::new(RedisLink::connecting(self.seeds[0].target().sibling(host, port)));
        let link = seed.map_or_else(new, Arc::clone);
        map.links.push((address.clone(), Arc::clone(&link)));
        link
    }

    /// Asks all nodes that are known and takes the first answer. Does nothing where somebody has asked since
    /// `seen`.
    async fn refresh(&self, seen: u64) -> RedisResult<()> {
        let _asking = self.asking.lock().await;
        if self.map.lock().generation > seen {
            return Ok(());
        }
        let owners = self.ask().await;
        let mut map = self.map.lock();
        map.generation += 1;
        let owners = owners?;
        map.links.retain(|(address, _)| owners.addresses().contains(address));
        for address in owners.addresses() {
            self.link(&mut map, address);
        }
        map.owners = owners;
        Ok(())
    }

    async fn ask(&self) -> RedisResult<Owners> {
        let known: Vec<_> = self.map.lock().links.iter().map(|(_, link)| Arc::clone(link)).collect();
        let new_seeds = self.seeds.iter().filter(|seed| !known.iter().any(|link| Arc::ptr_eq(link, seed)));
        let links: Vec<_> = known.iter().chain(new_seeds).collect();
        let deadline = deadline(self.response_timeout);
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let ask = async |link: &RedisLink| {
            let value = link.query(LinkCommand::Plain(&slots), deadline).await?;
            let own_host = link.target().address().map_or("", |(host, _)| host);
            read_owners(&value, own_host).ok_or_else(|| lost("a node of the cluster does not say its slots"))
        };
        let mut asked: FuturesUnordered<_> = links.into_iter().map(|link| ask(link)).collect();
        let mut failed = timed_out();
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(owners) => return Ok(owners),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

fn lost(why: &'static str) -> RedisError {
    (ErrorKind::ClusterConnectionNotFound, why).into()
}
