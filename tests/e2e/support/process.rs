//! Redis servers and consumers in processes of their own, which end with the test.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use idem_rocketmq::embedded::Outgoing;
use tempfile::TempDir;

use crate::support::kit::until;
use crate::support::place::Place;

/// A process that is killed with this value, also one that stands still.
struct Process {
    child: Child,
    /// Kills the process when the test's own process is gone, and its end of a pipe with it.
    guard: Child,
}

impl Process {
    fn spawn(command: &mut Command) -> Self {
        let program = command.get_program().to_owned();
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let mut guard = Command::new("sh");
        guard.args(["-c", &format!("read -r _; kill -KILL {}", child.id())]);
        let guard = guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, guard }
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it is dead, also where nobody has waited for it yet.
    fn is_gone(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z') || rest.is_empty())
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status();
        assert!(status.unwrap().success(), "signal {name} was not sent");
    }

    fn kill(&mut self) {
        self.let_go();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Before the process ends: its number may be another's afterwards.
    fn let_go(&mut self) {
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }

    async fn ended(&mut self) -> ExitStatus {
        self.let_go();
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(status) = self.has_ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.let_go();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Redis server of one test, whose data survive its end.
pub(crate) struct Redis {
    process: Process,
    port: u16,
    dir: TempDir,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// Another server with what this one, which was killed, has on its disk.
    pub(crate) async fn twin(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-r").args([&self.dir.path().join("."), dir.path()]).status();
        assert!(copied.unwrap().success(), "the data were not copied");
        Self::start_in(dir).await
    }

    async fn start_in(mut dir: TempDir) -> Self {
        // Somebody else may take the port first.
        for _ in 0..10 {
            let port = free_port();
            let mut server = Self { process: spawn_redis(dir.path(), port), port, dir };
            if server.is_up().await {
                return server;
            }
            dir = server.dir;
        }
        panic!("Redis does not start")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// It stands still and its sockets stay open, as on a machine that hangs.
    pub(crate) fn pause(&self) {
        self.process.signal("STOP");
    }

    pub(crate) fn go_on(&self) {
        self.process.signal("CONT");
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Again, on the same port and with the same data.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn_redis(self.dir.path(), self.port);
        assert!(self.is_up().await, "Redis is not up again");
    }

    async fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.process.has_ended().is_none() && Instant::now() < deadline {
            if self.answers().unwrap_or(false) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// Whether it has read its data, and is not another test's server on the same port.
    fn answers(&self) -> std::io::Result<bool> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        connection.write_all(b"PING\r\nINFO server\r\nQUIT\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer.starts_with("+PONG") && answer.contains(&format!("process_id:{}\r", self.process.id())))
    }
}

/// With `everysec`, Redis may answer before the operating system has the write: a kill would lose it.
fn spawn_redis(dir: &Path, port: u16) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir", "."]);
    command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    Process::spawn(command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

/// A port that no system hands out by itself, so that a server finds it free again after minutes of absence.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(12_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The arguments that all workers of a test share.
pub(crate) struct Crew {
    name_server: String,
    topic: String,
    group: String,
    redis: String,
    pub(crate) ledger: Ledger,
}

impl Crew {
    pub(crate) fn of(place: &Place, redis: &Redis) -> Self {
        let (name_server, topic, group) =
            (place.name_server().to_owned(), place.topic.clone(), place.group.clone());
        Self { name_server, topic, group, redis: redis.url(), ledger: Ledger::new() }
    }
}

/// An order that tells its worker how to handle it.
pub(crate) fn work(topic: &str, key: &str, millis: usize, fails: u32, blocks: bool) -> Outgoing {
    let body = format!(r#"{{"id":"{key}","millis":{millis},"fails":{fails},"blocks":{blocks}}}"#);
    Outgoing::new(topic, body)
}

/// An `idem-worker`: see `tests/worker/main.rs`.
pub(crate) struct Worker(Process);

impl Worker {
    pub(crate) fn start(crew: &Crew, instance: &str, threads: usize) -> Self {
        Self::with(crew, instance, threads, &[])
    }

    /// One that keeps the order of keys that begin alike.
    pub(crate) fn orderly(crew: &Crew, instance: &str, threads: usize) -> Self {
        Self::with(crew, instance, threads, &["orderly"])
    }

    fn with(crew: &Crew, instance: &str, threads: usize, rest: &[&str]) -> Self {
        let ledger = crew.ledger.path().display().to_string();
        let threads = threads.to_string();
        let mut arguments =
            vec![&*crew.name_server, &crew.topic, &crew.redis, &crew.group, instance, &ledger, &threads];
        arguments.extend(rest);
        Self::run(&arguments, &crew.ledger.log(instance))
    }

    /// With these arguments; what it logs is added to a file.
    pub(crate) fn run(arguments: &[&str], log: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idem-worker"));
        let log = OpenOptions::new().append(true).create(true).open(log).unwrap();
        Self(Process::spawn(command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log)))
    }

    /// It stands still, as on a machine that sleeps.
    pub(crate) fn pause(&self) {
        self.0.signal("STOP");
    }

    pub(crate) fn go_on(&self) {
        self.0.signal("CONT");
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill();
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_gone()
    }

    /// A clean shutdown.
    pub(crate) async fn terminate(&mut self) {
        self.0.signal("TERM");
        let status = self.0.ended().await;
        assert!(status.success(), "a worker ended with {status}");
    }
}

/// The file to which the workers' runs write.
pub(crate) struct Ledger(TempDir);

/// One run of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) process: u32,
    pub(crate) attempt: u32,
    pub(crate) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Not yet, or the process was killed.
    Open,
    Done,
    Failed,
}

/// The runs of each key, in the order in which they began.
pub(crate) type Runs = BTreeMap<String, Vec<Run>>;

impl Ledger {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("ledger")
    }

    /// The logs of the workers of this name.
    pub(crate) fn logged(&self, instance: &str) -> String {
        std::fs::read_to_string(self.log(instance)).unwrap_or_default()
    }

    fn log(&self, instance: &str) -> PathBuf {
        self.0.path().join(format!("{instance}.log"))
    }

    /// Lets the runs that block their threads go on.
    pub(crate) fn go(&self) {
        std::fs::write(self.0.path().join("go"), "").unwrap();
    }

    /// The lines in their order: a begin has the end `Open`.
    pub(crate) fn lines(&self) -> Vec<(String, Run)> {
        let text = std::fs::read_to_string(self.path()).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let parsed = lines.map(|line| {
            let [key, process, attempt, what] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("a torn line: {line}");
            };
            let end = match what {
                "begin" => End::Open,
                "done" => End::Done,
                _ => End::Failed,
            };
            (
                key.to_owned(),
                Run { process: process.parse().unwrap(), attempt: attempt.parse().unwrap(), end },
            )
        });
        parsed.collect()
    }

    pub(crate) fn runs(&self) -> Runs {
        let mut runs = Runs::new();
        for (key, run) in self.lines() {
            let runs = runs.entry(key).or_default();
            if run.end == End::Open {
                runs.push(run);
                continue;
            }
            let begun = Run { end: End::Open, ..run };
            let open = runs.iter_mut().rev().find(|run| **run == begun);
            open.expect("what ends has begun").end = run.end;
        }
        runs
    }

    /// Waits until the runs so far are as `seen` wants them.
    pub(crate) async fn until(&self, what: &str, deadline: Duration, seen: impl Fn(&Runs) -> bool) {
        until(what, deadline, async || seen(&self.runs())).await;
    }
}

/// How many keys are done.
pub(crate) fn done(runs: &Runs) -> usize {
    runs.values().filter(|runs| runs.iter().any(|run| run.end == End::Done)).count()
}

/// Whether a run began after, or beside, one that had not failed.
pub(crate) fn ran_twice(runs: &[Run]) -> bool {
    runs.iter().rev().skip(1).any(|earlier| earlier.end != End::Failed)
}
