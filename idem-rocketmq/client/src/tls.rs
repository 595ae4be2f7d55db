//! TLS to name servers and brokers: what the user says, and what becomes of it at a start.
//!
//! The client reads certificates from files, at each connection, and says nothing when it cannot. So the files are
//! read here first; what was given in memory is written into a directory that only this user can read.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocketmq_transport::api::TlsConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

use crate::error::ClientError;

/// How the servers prove who they are, and how this client does.
///
/// Name servers and brokers are asked with the same settings. A server's certificate must be for the host or address
/// under which it is reached: for a name server the one given to the consumer, for a broker its `brokerIP1`.
///
/// ```no_run
/// # mod idem_rocketmq { pub use idem_rocketmq_client as cluster; pub use idem_rocketmq_client::Cluster; }
/// use idem_rocketmq::Cluster;
/// use idem_rocketmq::cluster::Tls;
///
/// let tls = Tls::new()
///     .root_certificates_file("/etc/rocketmq/ca.pem")
///     .client_certificate_files("/etc/rocketmq/client.pem", "/etc/rocketmq/client.key");
/// let cluster = Cluster::at("mq.example.com:9876").tls(tls);
/// ```
#[derive(Clone, Default)]
pub struct Tls {
    roots: Option<Pem>,
    client: Option<(Pem, Pem)>,
}

#[derive(Clone)]
enum Pem {
    File(PathBuf),
    Text(Vec<u8>),
}

impl Tls {
    /// Servers whose certificates the operating system trusts; no certificate of the client's own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities in this PEM text, and no others.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(Pem::Text(pem.into()));
        self
    }

    /// Trusts the authorities in this PEM file, and no others. It is read again for each connection.
    #[must_use]
    pub fn root_certificates_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots = Some(Pem::File(path.into()));
        self
    }

    /// Shows servers this certificate (with its chain) and proves it by this key, both PEM text. They are written to
    /// files that only the process's user can read, for as long as the consumer runs, because the RocketMQ client
    /// takes nothing else.
    #[must_use]
    pub fn client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.client = Some((Pem::Text(chain.into()), Pem::Text(key.into())));
        self
    }

    /// As [`client_certificate`](Self::client_certificate), from PEM files, which are read again for each connection.
    #[must_use]
    pub fn client_certificate_files(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some((Pem::File(chain.into()), Pem::File(key.into())));
        self
    }
}

/// Where certificates come from; never a key's text.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = self.client.as_ref().map(|(chain, _)| chain);
        f.debug_struct("Tls")
            .field("root_certificates", &self.roots)
            .field("client_certificate", &client)
            .finish()
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Text(_) => f.write_str("PEM"),
        }
    }
}

/// Settings whose files have been found to be good.
pub(super) struct LoadedTls {
    /// For the connections of this crate's own.
    pub(super) rustls: Arc<ClientConfig>,
    /// For the client's.
    pub(super) client: TlsConfig,
    pub(super) has_client_certificate: bool,
    /// Files with the PEM that was given as text, for as long as the client reads them.
    pub(super) files: Option<TempDir>,
}

impl Tls {
    /// Reads everything. Blocks on files.
    pub(super) fn load(&self) -> Result<LoadedTls, ClientError> {
        // The client's own code asks for the provider of the process, and panics where there are two and none is set.
        if CryptoProvider::get_default().is_none() {
            let _ = aws_lc_rs::default_provider().install_default();
        }
        let mut files = TlsFiles(None);
        let mut client = TlsConfig { enable: true, config_file: String::new(), ..TlsConfig::default() };
        client.client.auth_server = true;
        let roots = match &self.roots {
            None => native_roots()?,
            Some(pem) => {
                let path = files.path("roots.pem", pem)?;
                client.client.trust_cert_path = Some(path.to_string_lossy().into_owned());
                roots(&path)?
            }
        };
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match &self.client {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let (chain, key) = (files.path("client.pem", chain)?, files.path("client.key", key)?);
                client.client.cert_path = Some(chain.to_string_lossy().into_owned());
                client.client.key_path = Some(key.to_string_lossy().into_owned());
                let (certificates, private) =
                    (certificates("client certificate", &chain)?, private_key(&key)?);
                let with = config.with_client_auth_cert(certificates, private);
                with.map_err(|error| bad("key of the client certificate", &key, error))?
            }
        };
        Ok(LoadedTls {
            rustls: Arc::new(config),
            client,
            has_client_certificate: self.client.is_some(),
            files: files.0,
        })
    }
}

/// Of the directory for what was given as text.
const PREFIX: &str = "idem-tls-";

struct TlsFiles(Option<TempDir>);

impl TlsFiles {
    /// A path to the PEM, written there where it was given as text.
    fn path(&mut self, name: &str, pem: &Pem) -> Result<PathBuf, ClientError> {
        match pem {
            Pem::File(path) => Ok(path.clone()),
            Pem::Text(text) => {
                self.write(name, text).map_err(|error| ClientError::TlsDirectory(error.to_string()))
            }
        }
    }

    fn write(&mut self, name: &str, text: &[u8]) -> std::io::Result<PathBuf> {
        let directory = match self.0.take() {
            Some(directory) => directory,
            None => tempfile::Builder::new().prefix(PREFIX).tempdir()?,
        };
        let path = self.0.insert(directory).path().join(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path)?.write_all(text)?;
        Ok(path)
    }
}

fn roots(path: &Path) -> Result<RootCertStore, ClientError> {
    const WHAT: &str = "root certificates";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(WHAT, path)? {
        roots.add(certificate).map_err(|error| bad(WHAT, path, error))?;
    }
    Ok(roots)
}

fn native_roots() -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(ClientError::TlsNoSystemRoots) } else { Ok(roots) }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let text = fs::read(path).map_err(|error| bad(what, path, error))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| bad(what, path, error))?;
    if all.is_empty() { Err(bad(what, path, "no certificate in PEM form is in it")) } else { Ok(all) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ClientError> {
    const WHAT: &str = "key of the client certificate";
    let text = fs::read(path).map_err(|error| bad(WHAT, path, error))?;
    // The parser's own words are not passed on: they must not show a piece of the key.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| bad(WHAT, path, "no private key in PEM form is in it"))
}

fn bad(what: &'static str, path: &Path, cause: impl fmt::Display) -> ClientError {
    let place = if is_ours(path) { "given as text".to_owned() } else { format!("in {}", path.display()) };
    ClientError::TlsFile { what, place, cause: cause.to_string() }
}

/// Whether [`TlsFiles`] has written it.
fn is_ours(path: &Path) -> bool {
    let directory = path.parent().and_then(Path::file_name).and_then(std::ffi::OsStr::to_str);
    directory.is_some_and(|name| name.starts_with(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_key_is_shown() {
        let tls = Tls::new().root_certificates("CERT").client_certificate("CHAIN", "s3cret");
        let shown = format!("{tls:?}");
        assert!(!shown.contains("s3cret") && shown.contains("PEM"), "{shown}");
        let tls = Tls::new().client_certificate("CHAIN", "s3cret");
        let error = tls.load().err().map(|error| format!("{error} {error:?}"));
        assert!(error.is_none_or(|error| !error.contains("s3cret")));
    }

    #[test]
    fn a_missing_or_empty_file_is_told() {
        let told = |tls: Tls| tls.load().err().map(|error| error.to_string()).unwrap_or_default();
        let text = told(Tls::new().root_certificates_file("/no/such/ca.pem"));
        assert!(text.contains("root certificates") && text.contains("/no/such/ca.pem"), "{text}");
        let text = told(Tls::new().root_certificates("nothing"));
        assert!(text.contains("no certificate in PEM form"), "{text}");
    }
}
