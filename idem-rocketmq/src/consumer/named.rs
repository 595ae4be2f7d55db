//! The instance names that this process's consumers were given.
//!
//! A broker knows a member by its address and its instance name. Two members of one group with one name are one
//! to it, so that some queues are read by nobody. Without a name of its own a consumer gets a unique one.

use std::collections::HashSet;
use std::sync::LazyLock;

use parking_lot::Mutex;

use super::plan::Plan;
use crate::Error;
use crate::error::Kind;

/// Name servers, namespace, group and instance name.
type Member = [String; 4];

static MEMBERS: LazyLock<Mutex<HashSet<Member>>> = LazyLock::new(Mutex::default);

/// A name that is taken until this is dropped.
pub(super) struct Named(Member);

impl Named {
    /// `None` where the user gave no name.
    pub(super) fn take(plan: &Plan) -> Result<Option<Self>, Error> {
        let Some(name) = plan.cluster.instance_name.clone() else { return Ok(None) };
        let mut servers = plan.cluster.name_servers.clone();
        servers.sort();
        let namespace = plan.cluster.namespace.clone().unwrap_or_default();
        let member = [servers.join(";"), namespace, plan.group().to_owned(), name.clone()];
        if MEMBERS.lock().insert(member.clone()) {
            return Ok(Some(Self(member)));
        }
        Err(Kind::SameInstance { group: plan.group().to_owned(), instance_name: name }.into())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        MEMBERS.lock().remove(&self.0);
    }
}
