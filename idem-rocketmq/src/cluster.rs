//! The cluster that consumers and producers work with.

#[doc = include_str!("docs/cluster.md")]
pub use crate::client::Cluster;
pub use crate::client::{Credentials, DelayBy, Tls};

use crate::client::{check_addresses, check_credentials};
use crate::error::Kind;

/// Checks a cluster without asking it. `none` is the error where no name server was said.
pub(crate) fn check(cluster: &Cluster, group: &str, none: fn(String) -> Kind) -> Result<(), Kind> {
    let group = || group.to_owned();
    if cluster.name_servers.is_empty() {
        return Err(none(group()));
    }
    check_addresses(&cluster.name_servers).map_err(Kind::Client)?;
    if let Some(what) = cluster.credentials.as_ref().and_then(check_credentials) {
        return Err(Kind::EmptyCredentials { group: group(), what });
    }
    match cluster.bad_levels() {
        Some(levels) => Err(Kind::DelayLevels { group: group(), levels: levels.to_owned() }),
        None => Ok(()),
    }
}
