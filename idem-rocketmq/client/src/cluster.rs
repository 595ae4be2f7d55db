//! Where the brokers are, and what they require of their clients.

use crate::credentials::Credentials;
use crate::delay::{DelayBy, Levels};
use crate::error::ClientError;
use crate::tls::Tls;

/// Where a RocketMQ cluster is, and how to come in: what a service's consumers and producers have in common.
///
/// `Debug` shows no secrets.
#[derive(Clone, Debug, Default)]
#[must_use = "a cluster does nothing until a consumer or a producer is given it"]
pub struct Cluster {
    #[doc(hidden)]
    pub name_servers: Vec<String>,
    #[doc(hidden)]
    pub namespace: Option<String>,
    #[doc(hidden)]
    pub instance_name: Option<String>,
    #[doc(hidden)]
    pub credentials: Option<Credentials>,
    #[doc(hidden)]
    pub tls: Option<Tls>,
    delay_by: Option<DelayBy>,
    /// A text that does not read as levels is kept, for the error.
    delay_levels: Option<Result<Levels, String>>,
}

impl Cluster {
    /// The cluster with this name server, `host:port`, or several with semicolons between them.
    pub fn at(name_server: impl Into<String>) -> Self {
        Self::default().name_server(name_server)
    }

    /// Adds a name server, `host:port`, or several with semicolons between them.
    pub fn name_server(mut self, address: impl Into<String>) -> Self {
        let addresses = address.into();
        self.name_servers.extend(addresses.split(';').map(|address| address.trim().to_owned()));
        self
    }

    /// The RocketMQ namespace of groups and topics. It is part of the namespace of a consumer's records too.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The name of this process's members among those on the same machine. A unique one for each by default.
    ///
    /// Two consumers of one group must not have the same name, and consumers that broadcast need one.
    pub fn instance_name(mut self, name: impl Into<String>) -> Self {
        self.instance_name = Some(name.into());
        self
    }

    /// The access key and secret key for brokers with access control.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// TLS to name servers and brokers, which both must speak it.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How delays are asked from the broker. By timer message by default, and by delay level where the broker takes none.
    pub fn delay_by(mut self, by: DelayBy) -> Self {
        self.delay_by = Some(by);
        self
    }

    /// The brokers' delay levels, where their `messageDelayLevel` is not the usual `1s 5s 10s 30s 1m 2m .. 1h 2h`.
    pub fn delay_levels(mut self, levels: impl Into<String>) -> Self {
        let levels = levels.into();
        self.delay_levels = Some(Levels::parse(&levels).ok_or(levels));
        self
    }

    /// This cluster, and what `earlier` says where this one says nothing.
    #[doc(hidden)]
    pub fn or(self, earlier: Self) -> Self {
        let servers = if self.name_servers.is_empty() { earlier.name_servers } else { self.name_servers };
        Self {
            name_servers: servers,
            namespace: self.namespace.or(earlier.namespace),
            instance_name: self.instance_name.or(earlier.instance_name),
            credentials: self.credentials.or(earlier.credentials),
            tls: self.tls.or(earlier.tls),
            delay_by: self.delay_by.or(earlier.delay_by),
            delay_levels: self.delay_levels.or(earlier.delay_levels),
        }
    }

    #[doc(hidden)]
    pub fn asks_delays_by(&self) -> DelayBy {
        self.delay_by.unwrap_or_default()
    }

    /// The usual ones if none were given, or those given do not read as levels; see [`Cluster::bad_levels`].
    #[doc(hidden)]
    pub fn levels(&self) -> Levels {
        self.delay_levels.clone().and_then(Result::ok).unwrap_or_default()
    }

    /// The text that was given for delay levels and does not read as such.
    #[doc(hidden)]
    pub fn bad_levels(&self) -> Option<&str> {
        self.delay_levels.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// A topic's or a group's name as brokers know it.
    pub(crate) fn full(&self, name: &str) -> String {
        in_namespace(self.namespace.as_deref(), name)
    }
}

/// A name as brokers know it: the namespace stands behind the prefix of a group's own topics (`NamespaceUtil` in Apache's
/// sources).
pub(crate) fn in_namespace(namespace: Option<&str>, name: &str) -> String {
    let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) else { return name.to_owned() };
    let prefix = ["%RETRY%", "%DLQ%"].into_iter().find(|prefix| name.starts_with(prefix)).unwrap_or_default();
    let bare = &name[prefix.len()..];
    if bare.strip_prefix(namespace).is_some_and(|rest| rest.starts_with('%')) {
        return name.to_owned();
    }
    format!("{prefix}{namespace}%{bare}")
}

/// Each address must be `host:port`; a host may be a DNS name, an IPv4 address or `[IPv6]`.
pub fn check_addresses(addresses: &[String]) -> Result<(), ClientError> {
    if addresses.is_empty() {
        return Err(ClientError::NoNameServer);
    }
    match addresses.iter().find(|address| !is_host_and_port(address)) {
        Some(address) => Err(ClientError::NameServerSyntax { address: address.clone() }),
        None => Ok(()),
    }
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ';' | ',' | '@');
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    let port = port.parse::<u16>().is_ok_and(|port| port != 0);
    port && !host.is_empty() && !host.contains(strange) && !bare_ipv6
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rocketmq_protocol::protocol::namespace_util::NamespaceUtil;

    use super::*;

    #[test]
    fn a_name_in_a_namespace_is_the_one_that_the_client_makes_of_it() {
        for name in
            ["orders", "%RETRY%campaign", "%DLQ%campaign", "ns%orders", "%DLQ%ns%campaign", "nsx%orders"]
        {
            let ours = in_namespace(Some("ns"), name);
            assert_eq!(ours, NamespaceUtil::wrap_namespace("ns", name).as_str());
            assert_eq!(in_namespace(None, name), name);
            assert_eq!(in_namespace(Some(""), name), name);
        }
        assert_eq!(in_namespace(Some("ns"), "%DLQ%campaign"), "%DLQ%ns%campaign");
    }

    #[test]
    fn debug_shows_no_secret() {
        let tls = Tls::new().client_certificate("chain-text", "key-text");
        let credentials = Credentials::new("access-text", "secret-text").security_token("token-text");
        let cluster = Cluster::at("127.0.0.1:9876").namespace("ns").credentials(credentials).tls(tls);
        let text = format!("{cluster:?}");
        assert!(text.contains("127.0.0.1:9876") && text.contains("ns"), "{text}");
        assert!(!text.contains("-text"), "{text}");
    }

    #[test]
    fn several_name_servers_may_stand_in_one_text() {
        let cluster = Cluster::at("a:1; b:2").name_server("c:3");
        assert_eq!(cluster.name_servers, ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn what_a_cluster_does_not_say_stays_as_it_was_said_before() {
        let earlier = Cluster::at("old:1").namespace("old").instance_name("one").delay_by(DelayBy::Level);
        let cluster = Cluster::at("new:1").namespace("new").or(earlier);
        assert_eq!(
            (&*cluster.name_servers, cluster.namespace.as_deref()),
            (&["new:1".to_owned()][..], Some("new"))
        );
        assert_eq!(
            (cluster.instance_name.as_deref(), cluster.asks_delays_by()),
            (Some("one"), DelayBy::Level)
        );
        let unsaid = Cluster::default().or(Cluster::at("old:1").delay_levels("3s"));
        assert_eq!(
            (&*unsaid.name_servers, unsaid.levels().longest()),
            (&["old:1".to_owned()][..], Duration::from_secs(3))
        );
    }

    #[test]
    fn levels_that_are_none_are_kept_for_the_error() {
        let cluster = Cluster::at("a:1").delay_levels("soon");
        assert_eq!((cluster.bad_levels(), cluster.levels()), (Some("soon"), Levels::default()));
        assert_eq!(cluster.delay_levels("1s").bad_levels(), None);
    }

    #[test]
    fn host_and_port_is_asked_for() {
        let check = |address: &str| check_addresses(&[address.to_owned()]);
        for good in ["127.0.0.1:9876", "localhost:1", "mq-1.example.com:9876", "[::1]:9876"] {
            check(good).unwrap();
        }
        for bad in
            ["", "localhost", ":9876", "localhost:0", "localhost:99999", "::1:9876", "http://x:80", "a b:1"]
        {
            assert!(check(bad).unwrap_err().to_string().contains("host:port"), "{bad}");
        }
        assert!(matches!(check_addresses(&[]), Err(ClientError::NoNameServer)));
    }
}
