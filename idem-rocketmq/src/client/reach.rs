//! Whether the name servers can be reached: the client itself starts without one and says nothing.

use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ClientError;

const PATIENCE: Duration = Duration::from_millis(2500);

/// Each address must be `host:port`; a host may be a DNS name, an IPv4 address or `[IPv6]`.
pub(crate) fn check_syntax(addresses: &[String]) -> Result<(), ClientError> {
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

/// Asks all addresses at once. One that answers is enough, as the client needs only one; each other is a warning.
pub(super) async fn check(addresses: &[String]) -> Result<(), ClientError> {
    let answers = join_all(addresses.iter().map(|address| connect(address))).await;
    let (reached, mut missed): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    if reached.is_empty()
        && let Some(Err(error)) = missed.pop()
    {
        return Err(error);
    }
    for error in missed.into_iter().filter_map(Result::err) {
        tracing::warn!(%error, "a name server is out of reach; going on with the others");
    }
    Ok(())
}

async fn connect(address: &str) -> Result<(), ClientError> {
    let cause = match timeout(PATIENCE, greet(address)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {PATIENCE:?}"),
    };
    Err(ClientError::NameServerUnreachable { address: address.to_owned(), cause })
}

/// Asks for the route of a topic, and looks whether what comes back is an answer of RocketMQ's at all.
///
/// A frame is its length, the header's length with the header's format in the first byte, and the header
/// (`RemotingCommand`). Something else behind the address, such as a proxy or another service, leaves the client
/// without a route and without a word.
async fn greet(address: &str) -> io::Result<()> {
    const HEADER: &str = r#"{"code":105,"language":"JAVA","version":493,"opaque":0,"flag":0,"serializeTypeCurrentRPC":"JSON","extFields":{"topic":"TBW102"}}"#;
    let mut stream = TcpStream::connect(address).await?;
    let header = u32::try_from(HEADER.len()).unwrap_or_default();
    let frame = [&(header + 4).to_be_bytes(), &header.to_be_bytes(), HEADER.as_bytes()].concat();
    stream.write_all(&frame).await?;
    let (total, header) = (stream.read_u32().await?, stream.read_u32().await?);
    let is_frame = total >= 4 && header & 0x00FF_FFFF <= total - 4 && header >> 24 <= 1;
    is_frame.then_some(()).ok_or_else(|| io::Error::other("what answers there is no RocketMQ name server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_is_asked_for() {
        let check = |address: &str| check_syntax(&[address.to_owned()]);
        for good in ["127.0.0.1:9876", "localhost:1", "mq-1.example.com:9876", "[::1]:9876"] {
            check(good).unwrap();
        }
        for bad in
            ["", "localhost", ":9876", "localhost:0", "localhost:99999", "::1:9876", "http://x:80", "a b:1"]
        {
            assert!(check(bad).unwrap_err().to_string().contains("host:port"), "{bad}");
        }
        assert!(matches!(check_syntax(&[]), Err(ClientError::NoNameServer)));
    }
}
