//! RocketMQ's remoting protocol, as little of it as the questions before a start need.
//!
//! The client hides why a server did not answer: a certificate that nobody trusts, a key that the broker does not
//! know and a broker that is down look alike, and a consumer starts over all three. So what can go wrong is asked for
//! on connections of our own first.
//!
//! A frame is its length, the header's length with the header's format in the first byte, the header and the body
//! (`RemotingCommand` in Apache's sources). Requests have JSON headers; so have the answers to them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cheetah_string::CheetahString;
use rocketmq_client_rust::AclClientRPCHook;
use rocketmq_protocol::protocol::remoting_command::RemotingCommand;
use rocketmq_transport::api::RPCHook as _;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::error::{ClientError, ServerKind};
use crate::tls::LoadedTls;

/// For connecting and each exchange: an error must come within seconds. A name server answers from its memory; a broker writes,
/// looks rights up and collects garbage, and a start is no moment to be nervous.
const fn patience(server: ServerKind) -> Duration {
    match server {
        ServerKind::Name => Duration::from_millis(2500),
        ServerKind::Broker => Duration::from_secs(5),
    }
}

/// Requests that more than one file of this folder makes.
pub(super) const QUERY_CONSUMER_OFFSET: i32 = 14;
pub(super) const GET_CONSUMER_LIST_BY_GROUP: i32 = 38;

pub(super) const SUCCESS: i64 = 0;

/// Far above the route of any topic.
const LONGEST_FRAME: usize = 16 << 20;

pub(super) struct Connection<'a> {
    server: ServerKind,
    address: String,
    tls: Option<&'a LoadedTls>,
    signer: Option<&'a AclClientRPCHook>,
    stream: Box<dyn Stream>,
}

#[derive(Debug)]
pub(super) struct Response {
    pub(super) code: i64,
    pub(super) remark: String,
    pub(super) fields: Value,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// The server's reason for a refusal, on one line.
    pub(super) fn reason(&self) -> &str {
        let line = self.remark.lines().map(str::trim).find(|line| !line.is_empty());
        let line = line.unwrap_or("no reason given");
        // The name of the Java exception tells a reader nothing.
        match line.split_once(": ") {
            Some((class, text)) if class.starts_with("org.apache.") => text.trim(),
            _ => line,
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl<'a> Connection<'a> {
    pub(super) async fn open(
        server: ServerKind,
        address: &str,
        tls: Option<&'a LoadedTls>,
        signer: Option<&'a AclClientRPCHook>,
    ) -> Result<Self, ClientError> {
        let address = address.to_owned();
        let stream = match timeout(patience(server), connect(&address, tls)).await {
            Ok(stream) => stream,
            Err(_) => Err(late(server)),
        };
        match stream {
            Ok(stream) => Ok(Self { server, address, tls, signer, stream }),
            Err(error) => Err(explain(server, &address, tls, &error)),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) async fn ask(
        &mut self,
        code: i32,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, ClientError> {
        let fields = signed(self.signer, code, fields, body)?;
        let exchange = async {
            self.stream.write_all(&frame(code, &fields, body)).await?;
            self.stream.flush().await?;
            read(&mut self.stream).await
        };
        let answer =
            timeout(patience(self.server), exchange).await.unwrap_or_else(|_| Err(late(self.server)));
        answer.map_err(|error| explain(self.server, &self.address, self.tls, &error))
    }
}

fn late(server: ServerKind) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {:?}", patience(server)))
}

async fn connect(address: &str, tls: Option<&LoadedTls>) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(address).await?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = server_name(address).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls.rustls.clone()).connect(name, stream).await?))
}

fn server_name(address: &str) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(ip) => Ok(ServerName::IpAddress(ip.into())),
        Err(_) => ServerName::try_from(host.to_owned()),
    }
}

/// The fields with the access key and the signature, where there are credentials.
fn signed(
    signer: Option<&AclClientRPCHook>,
    code: i32,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Result<Map<String, Value>, ClientError> {
    let text = |text: &str| CheetahString::from(text);
    let all = fields.iter().map(|(name, value)| (text(name), text(value))).collect();
    let mut command = RemotingCommand::create_remoting_command(code).set_ext_fields(all);
    if !body.is_empty() {
        command = command.set_body(body.to_vec());
    }
    if let Some(signer) = signer {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let result = signer.do_before_request(nobody, &mut command);
        result.map_err(|_| ClientError::Runtime { cause: "a request could not be signed".to_owned() })?;
    }
    let fields = command.ext_fields().into_iter().flatten();
    Ok(fields.map(|(name, value)| (name.to_string(), Value::String(value.to_string()))).collect())
}

fn frame(code: i32, fields: &Map<String, Value>, body: &[u8]) -> Vec<u8> {
    let header = json!({
        "code": code, "language": "JAVA", "version": 493, "opaque": 0, "flag": 0,
        "serializeTypeCurrentRPC": "JSON", "extFields": fields,
    });
    let header = header.to_string().into_bytes();
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    [&length(4 + header.len() + body.len())[..], &length(header.len()), &header, body].concat()
}

async fn read(stream: &mut Box<dyn Stream>) -> io::Result<Response> {
    let total = stream.read_u32().await? as usize;
    let word = stream.read_u32().await?;
    let header = (word & 0x00FF_FFFF) as usize;
    let body = total.checked_sub(4 + header).filter(|_| total <= LONGEST_FRAME && word >> 24 <= 1);
    let Some(body) = body else { return Err(stranger()) };
    let (mut header, mut body) = (vec![0; header], vec![0; body]);
    stream.read_exact(&mut header).await?;
    stream.read_exact(&mut body).await?;
    let header: Value = serde_json::from_slice(&header).map_err(|_| stranger())?;
    Ok(Response {
        code: header["code"].as_i64().unwrap_or(-1),
        remark: header["remark"].as_str().unwrap_or_default().to_owned(),
        fields: header["extFields"].clone(),
        body,
    })
}

/// Such as a proxy, or the port of another service.
fn stranger() -> io::Error {
    io::Error::other("what answers there is no RocketMQ name server")
}

/// Explains a failed connection.
fn explain(server: ServerKind, address: &str, tls: Option<&LoadedTls>, error: &io::Error) -> ClientError {
    let (what, address) = (server.what(), address.to_owned());
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let given = tls.is_some_and(|tls| tls.has_client_certificate);
    match inner {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => ClientError::TlsName { what, address },
        Some(rustls::Error::InvalidCertificate(fault)) => {
            ClientError::TlsUntrusted { what, address, cause: certificate_fault(fault).to_owned() }
        }
        Some(rustls::Error::AlertReceived(alert)) if is_about_our_certificate(*alert) => {
            ClientError::TlsClientCertificate { what, address, given }
        }
        Some(error) => ClientError::TlsHandshake { what, address, cause: error.to_string() },
        None => ClientError::unreachable(server, address, cause(error, tls)),
    }
}

fn is_about_our_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

fn certificate_fault(fault: &CertificateError) -> &'static str {
    match fault {
        CertificateError::UnknownIssuer => "its authority is unknown",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::Revoked => "it has been revoked",
        _ => "it cannot be verified",
    }
}

fn cause(error: &io::Error, tls: Option<&LoadedTls>) -> String {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe => match tls {
            None => "it closed the connection without an answer, as a server does that asks for TLS: add \
                     `.tls(Tls::new())` if it is one"
                .to_owned(),
            Some(_) => "it closed the connection without an answer; a server without TLS does so".to_owned(),
        },
        _ => error.to_string(),
    }
}
