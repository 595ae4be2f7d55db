//! The Redis store over TLS, with a certificate authority of the test's own.
//!
//! Run alone: `cargo test -p idem-core --features conformance,redis --test stores -- redis::tls::`

use std::path::Path;
use std::process::Command;

use idem_core::{RedisStore, Store as _};
use tempfile::TempDir;

use crate::support::records::claims;
use crate::support::redis_server::{Server, free_port};

struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        openssl(
            dir.path(),
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
        );
        std::fs::write(dir.path().join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
        for name in ["server", "client"] {
            openssl(
                dir.path(),
                &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"),
            );
            openssl(
                dir.path(),
                &format!(
                    "x509 -req -days 2 -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out {name}.crt"
                ),
            );
        }
        Self(dir)
    }

    fn pem(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }

    /// A server that speaks TLS on the port that is given too.
    fn server(&self, clients: &str) -> (Server, String) {
        let (port, path) =
            (free_port().to_string(), |name: &str| self.0.path().join(name).display().to_string());
        let (key, certificate, root) = (path("server.key"), path("server.crt"), path("ca.crt"));
        let server = Server::start(&[
            "--tls-port",
            &port,
            "--tls-key-file",
            &key,
            "--tls-cert-file",
            &certificate,
            "--tls-ca-cert-file",
            &root,
            "--tls-auth-clients",
            clients,
        ]);
        (server, format!("rediss://127.0.0.1:{port}/"))
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output();
    let output = output.expect("openssl is not installed: scripts/services installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_given_and_only_then() {
    let authority = Authority::new();
    let (_server, url) = authority.server("no");
    let error = RedisStore::connect(url.clone()).await.unwrap_err();
    assert!(error.is_config(), "{error:?}");
    let store = RedisStore::builder(url).root_certificates(authority.pem("ca.crt")).connect().await.unwrap();
    store.claim(&claims(3)).await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks() {
    let authority = Authority::new();
    let (_server, url) = authority.server("yes");
    let builder = RedisStore::builder(url).root_certificates(authority.pem("ca.crt"));
    builder.clone().connect().await.unwrap_err();
    let builder = builder.client_certificate(authority.pem("client.crt"), authority.pem("client.key"));
    builder.connect().await.unwrap().claim(&claims(3)).await.unwrap();
}

#[tokio::test]
async fn certificates_for_a_url_without_tls_are_a_setting() {
    let server = Server::start(&[]);
    let builder = RedisStore::builder(server.url()).root_certificates(Authority::new().pem("ca.crt"));
    assert!(builder.connect().await.unwrap_err().is_config());
}
