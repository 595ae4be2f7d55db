//! Apache's producers in a process of their own: see `tests/rocketmq/newest/JavaLoad.java`.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::kit;
use crate::support::servers::variable;

pub(crate) struct Load {
    child: Child,
    input: Option<ChildStdin>,
    said: Arc<Mutex<Said>>,
}

#[derive(Default)]
struct Said {
    told: Told,
    is_ready: bool,
    is_over: bool,
}

/// The messages that were sent, and how each ended.
#[derive(Default, Clone)]
pub(crate) struct Told {
    /// To be handled.
    pub(crate) sent: HashSet<String>,
    /// Not to be handled.
    pub(crate) undone: HashSet<String>,
    /// Nobody knows whether it is with the broker.
    unsure: HashSet<String>,
}

impl Told {
    pub(crate) fn all(&self) -> usize {
        self.sent.len()
    }

    pub(crate) fn may_be(&self, key: &String) -> bool {
        self.sent.contains(key) || self.unsure.contains(key)
    }

    pub(crate) fn missing_in<T>(&self, handled: &BTreeMap<String, T>) -> Vec<&String> {
        self.sent.iter().filter(|key| !handled.contains_key(*key)).collect()
    }
}

impl Load {
    pub(crate) async fn start(topic: &str) -> Self {
        let mut command = Command::new(variable("IDEM_TEST_JAVA_CLIENT_LEVELS"));
        command.args(["load", topic]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::<Mutex<Said>>::default();
        let (lines, seen) = (BufReader::new(child.stdout.take().unwrap()).lines(), said.clone());
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| seen.lock().unwrap().hear(&line));
        });
        let input = child.stdin.take();
        let load = Self { child, input, said };
        kit::until("the load is ready", 2 * kit::SOON, async || load.said.lock().unwrap().is_ready).await;
        load
    }

    /// Lets each kind send so many more.
    pub(crate) fn more(&mut self, messages: usize) {
        self.write(&messages.to_string());
    }

    /// Ends all sending. Questions about transactions are answered as long as this lives.
    pub(crate) async fn end(&mut self) {
        self.write("end");
        kit::until("all producers have ended", 2 * kit::SOON, async || self.said.lock().unwrap().is_over)
            .await;
    }

    pub(crate) fn told(&self) -> Told {
        self.said.lock().unwrap().told.clone()
    }

    fn write(&mut self, line: &str) {
        let mut input = self.input.as_ref().unwrap();
        writeln!(input, "{line}").unwrap();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    fn hear(&mut self, line: &str) {
        let (word, key) = line.split_once(' ').unwrap_or((line, ""));
        let keys = match word {
            "sent" => &mut self.told.sent,
            "undone" => &mut self.told.undone,
            "unsure" => &mut self.told.unsure,
            "ready" => return self.is_ready = true,
            "over" => return self.is_over = true,
            // A line that the client prints by itself.
            _ => return eprintln!("{line}"),
        };
        keys.insert(key.to_owned());
    }
}
