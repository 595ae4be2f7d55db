//! The members of one group, which come, go, are killed and stand still.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::ledger::{Cut, Ledger};
use crate::support::place::Place;
use crate::support::process::Worker;

const MOST: usize = 3;
/// Longer than the workers' lease at times.
const STANDSTILL_MILLIS: std::ops::Range<u64> = 500..6_000;
const PAUSE_MILLIS: std::ops::Range<u64> = 800..3_000;

pub(crate) struct Crew {
    arguments: Vec<String>,
    members: Vec<Member>,
    dir: TempDir,
    next: Instant,
    cuts: Vec<Cut>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    started: usize,
    ended: usize,
    killed: usize,
    stopped: usize,
}

struct Member {
    worker: Worker,
    /// Since when it stands still, and until when.
    still: Option<(u64, Instant)>,
}

impl Crew {
    /// A crew of two, in a group of its own.
    pub(crate) fn new(place: &Place, name: &str, store: &str) -> Self {
        let group = format!("{}_{name}", place.group);
        let arguments = [place.name_server(), &place.topic, store, &group].map(str::to_owned).to_vec();
        let (dir, next) = (tempfile::tempdir().unwrap(), Instant::now() + pause());
        let mut crew =
            Self { arguments, members: Vec::new(), dir, next, cuts: Vec::new(), counts: Counts::default() };
        crew.add();
        crew.add();
        crew
    }

    pub(crate) fn group(&self) -> &str {
        &self.arguments[3]
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::new(self.ledger_path())
    }

    fn ledger_path(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    pub(crate) fn cuts(&self) -> Vec<Cut> {
        self.cuts.clone()
    }

    pub(crate) fn told(&self) -> String {
        format!("{:?}", self.counts)
    }

    fn add(&mut self) {
        let instance = format!("member-{}", self.counts.started);
        let ledger = self.ledger_path().display().to_string();
        let mut arguments = vec!["soak"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        arguments.extend([&*instance, &*ledger]);
        let worker = Worker::run(&arguments, &self.dir.path().join("log"));
        self.members.push(Member { worker, still: None });
        self.counts.started += 1;
    }

    /// Does something to one of the members, when it is time for it.
    pub(crate) async fn stir(&mut self) {
        self.wake(Instant::now());
        for member in &self.members {
            assert!(!member.worker.has_ended(), "a member ended by itself: {}", self.log());
        }
        if Instant::now() < self.next {
            return;
        }
        let place = rand::random_range(0..self.members.len());
        match rand::random_range(0..4) {
            _ if self.members[place].still.is_some() => {}
            0 if self.members.len() < MOST => self.add(),
            1 => {
                let mut member = self.members.swap_remove(place);
                member.worker.terminate().await;
                self.counts.ended += 1;
            }
            2 => {
                let mut member = self.members.swap_remove(place);
                let process = member.worker.id();
                let from = now();
                member.worker.kill();
                self.cuts.push(Cut { process, from, to: u64::MAX });
                self.counts.killed += 1;
            }
            _ => {
                let until = Instant::now() + Duration::from_millis(rand::random_range(STANDSTILL_MILLIS));
                self.members[place].still = Some((now(), until));
                self.members[place].worker.pause();
                self.counts.stopped += 1;
            }
        }
        if self.members.is_empty() {
            self.add();
        }
        self.next = Instant::now() + pause();
    }

    /// Lets those go on whose time has come.
    fn wake(&mut self, now_is: Instant) {
        for member in &mut self.members {
            if let Some((from, _)) = member.still.take_if(|(_, until)| *until <= now_is) {
                member.worker.go_on();
                self.cuts.push(Cut { process: member.worker.id(), from, to: now() });
            }
        }
    }

    /// No more of it: all go on, and nothing happens to them.
    pub(crate) async fn settle(&mut self) {
        while let Some(until) = self.members.iter().filter_map(|member| Some(member.still?.1)).max() {
            tokio::time::sleep_until(until.into()).await;
            self.wake(Instant::now());
        }
    }

    pub(crate) async fn disband(&mut self) {
        for mut member in self.members.drain(..) {
            member.worker.terminate().await;
            self.counts.ended += 1;
        }
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        log.lines().rev().take(20).flat_map(|line| ["\n", line]).collect()
    }
}

fn pause() -> Duration {
    Duration::from_millis(rand::random_range(PAUSE_MILLIS))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
