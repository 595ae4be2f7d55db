//! A Redis server of a test's own, for what must not happen to a shared one.

use std::collections::{BTreeSet, HashMap};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::Client;
use tempfile::TempDir;

/// A process that ends with this value.
pub(crate) struct Server {
    port: u16,
    arguments: Vec<String>,
    dir: TempDir,
    process: Child,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let arguments = [&["--save", "", "--dir", "."], arguments].concat();
        Self::start_in(tempfile::tempdir().unwrap(), &arguments)
    }

    /// A Sentinel with this configuration, which it rewrites.
    pub(crate) fn start_sentinel(configuration: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("sentinel.conf"), configuration).unwrap();
        Self::start_in(dir, &["sentinel.conf", "--sentinel"])
    }

    fn start_in(dir: TempDir, arguments: &[&str]) -> Self {
        let port = free_port();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = spawn(dir.path(), port, &arguments);
        let server = Self { port, arguments, dir, process };
        server.wait_until_it_listens();
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        self.url_with("", "")
    }

    pub(crate) fn url_with(&self, user: &str, database: &str) -> String {
        format!("redis://{user}127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn client(&self) -> Client {
        Client::open(self.url()).unwrap()
    }

    /// How often each command was called. Asked again where a failover cuts the connection.
    pub(crate) fn calls(&self) -> HashMap<String, u64> {
        let start = Instant::now();
        let stats = loop {
            match self.commandstats() {
                Ok(stats) => break stats,
                Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let call = |line: &str| {
            let (command, stats) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((command.to_owned(), stats.split(',').next()?.parse().ok()?))
        };
        stats.lines().filter_map(call).collect()
    }

    fn commandstats(&self) -> redis::RedisResult<String> {
        redis::cmd("INFO").arg("commandstats").query(&mut self.client().get_connection()?)
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on the same port, with the data that is on its disk.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(self.dir.path(), self.port, &self.arguments);
        self.wait_until_it_listens();
    }

    /// The process stands still and its sockets stay open, as on a machine that hangs.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let signal = Command::new("kill").args([format!("-{name}"), self.process.id().to_string()]).status();
        assert!(signal.unwrap().success());
    }

    fn wait_until_it_listens(&self) {
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "the server on port {} is not up", self.port);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(dir: &Path, port: u16, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(arguments).args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server is not installed: scripts/services installs it")
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        // Below what the kernel gives to connections and proxies, which could take it before the server does.
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}
