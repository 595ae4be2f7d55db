//! Databases of a test's own, which it may crash.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::{AnyConnection, Connection as _};
use tempfile::TempDir;

/// A database of the test's own.
pub(crate) struct Database {
    /// For the workers.
    pub(crate) url: String,
    /// The server, where there is one, as `scripts/services` calls it, in a directory of its own.
    server: Option<(&'static str, PathBuf)>,
    _dir: TempDir,
}

impl Database {
    pub(crate) fn serve(name: &'static str, variable: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A database's own user has to get there.
        Command::new("chmod").arg("755").arg(dir.path()).status().unwrap();
        services(&["start", &dir.path().display().to_string(), name]);
        let environment = std::fs::read_to_string(dir.path().join("env")).unwrap();
        let value = environment.lines().find_map(|line| line.split_once(&format!("{variable}=")));
        let url = value.expect("the server's address").1.to_owned();
        Self { url, server: Some((name, dir.path().to_owned())), _dir: dir }
    }

    pub(crate) fn file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = dir.path().join("bank.db").display().to_string();
        Self { url, server: None, _dir: dir }
    }

    /// As connections to any database have it.
    fn any_url(&self) -> String {
        if self.server.is_some() { self.url.clone() } else { format!("sqlite://{}?mode=rwc", self.url) }
    }

    pub(crate) async fn session(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.any_url()).await.unwrap()
    }

    /// None while the server is away.
    pub(crate) async fn try_session(&self) -> Option<AnyConnection> {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.any_url()).await.ok()
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        let Some(mut session) = self.try_session().await else { return -1 };
        sqlx::query_scalar(sql).fetch_one(&mut session).await.unwrap_or(-1)
    }

    /// Whether it has a server.
    pub(crate) fn can_crash(&self) -> bool {
        self.server.is_some()
    }

    pub(crate) fn crash(&self) {
        self.down();
        self.up();
    }

    pub(crate) fn down(&self) {
        self.serve_again("kill");
    }

    pub(crate) fn up(&self) {
        self.serve_again("restart");
    }

    fn serve_again(&self, how: &str) {
        if let Some((name, dir)) = &self.server {
            services(&[how, &dir.display().to_string(), name]);
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((_, dir)) = &self.server {
            services(&["stop", &dir.display().to_string()]);
        }
    }
}

fn services(arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services");
    let mut command = Command::new(script);
    // Servers of the test's own, whatever the environment names.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("IDEM_TEST_")) {
        command.env_remove(name);
    }
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// How often a test kills: `IDEM_TEST_KILLS`.
pub(crate) fn kills() -> usize {
    std::env::var("IDEM_TEST_KILLS").map_or(15, |text| text.parse().expect("a number"))
}
