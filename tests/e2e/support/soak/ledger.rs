//! The runs under leases, and those that may be repeated.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use super::load::Told;

/// A completion is recorded a moment after its run has written that it is done.
const RECORDED_AFTER: u64 = 1_000;

/// When a process was killed, or stood still, in milliseconds of the day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) process: u32,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// The workers' ledger, as far as it was read.
pub(crate) struct Ledger {
    path: PathBuf,
    read: u64,
    /// The runs of each key, in the order in which they began.
    runs: BTreeMap<String, Vec<Run>>,
    done: usize,
}

#[derive(Debug, Clone)]
struct Run {
    process: u32,
    began: u64,
    ended: Option<(u64, End)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Failed,
}

impl Run {
    fn is_done(&self) -> bool {
        matches!(self.ended, Some((_, End::Done)))
    }

    fn has_failed(&self) -> bool {
        matches!(self.ended, Some((_, End::Failed)))
    }

    /// Whether its process was killed, or stood still, before its end was recorded.
    fn was_cut(&self, cuts: &HashMap<u32, Vec<Cut>>) -> bool {
        let recorded = self.ended.map_or(u64::MAX, |(at, _)| at + RECORDED_AFTER);
        let cuts = cuts.get(&self.process).map(Vec::as_slice).unwrap_or_default();
        cuts.iter().any(|cut| self.began <= cut.to && recorded >= cut.from)
    }
}

impl Ledger {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, read: 0, runs: BTreeMap::new(), done: 0 }
    }

    /// Reads what is new.
    pub(crate) fn read(&mut self) {
        let Ok(mut file) = File::open(&self.path) else { return };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        file.read_to_string(&mut text).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        text[..whole].lines().for_each(|line| self.take(line));
    }

    fn take(&mut self, line: &str) {
        let [key, process, at, what] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a torn line: {line}");
        };
        let (process, at) = (process.parse().unwrap(), at.parse().unwrap());
        if !self.runs.contains_key(key) {
            self.runs.insert(key.to_owned(), Vec::new());
        }
        let runs = self.runs.get_mut(key).unwrap();
        if what == "begin" {
            runs.push(Run { process, began: at, ended: None });
            return;
        }
        let is_first = !runs.iter().any(Run::is_done);
        let open = runs.iter_mut().rev().find(|run| run.process == process && run.ended.is_none());
        let end = if what == "done" { End::Done } else { End::Failed };
        open.expect("what ends has begun").ended = Some((at, end));
        self.done += usize::from(end == End::Done && is_first);
    }

    /// How many keys are done.
    pub(crate) const fn done(&self) -> usize {
        self.done
    }

    pub(crate) fn missing<'a>(&self, told: &'a Told) -> Vec<&'a String> {
        let is_done = |key: &String| self.runs.get(key).is_some_and(|runs| runs.iter().any(Run::is_done));
        told.sent.iter().filter(|key| !is_done(key)).collect()
    }

    /// Of a key's runs that did not fail, one at most was let finish: the others were cut by a kill or a standstill, which is
    /// what the promise excepts.
    pub(crate) fn assert_once(&self, told: &Told, cuts: &[Cut]) {
        let mut by_process: HashMap<u32, Vec<Cut>> = HashMap::new();
        for cut in cuts {
            by_process.entry(cut.process).or_default().push(*cut);
        }
        let was_cut = |run: &&Run| run.was_cut(&by_process);
        let (mut twice, mut repeated, mut failed) = (Vec::new(), 0, 0);
        for (key, runs) in &self.runs {
            assert!(!told.undone.contains(key), "leases, ran although it was rolled back: {key}");
            assert!(told.may_be(key), "leases, ran and never was sent: {key}");
            failed += runs.iter().filter(|run| run.has_failed()).count();
            let kept: Vec<_> = runs.iter().filter(|run| !run.has_failed()).collect();
            repeated += usize::from(kept.len() > 1);
            if kept.iter().filter(|run| !was_cut(run)).count() > 1 {
                twice.push((key, runs));
            }
        }
        let in_flight = self.runs.values().flatten().filter(|run| !run.is_done() && was_cut(run)).count();
        println!(
            "under leases: {} keys, {failed} failed runs, {repeated} repeated in {} cuts ({in_flight} runs without an end)",
            self.runs.len(),
            cuts.len()
        );
        assert!(twice.is_empty(), "leases, ran more than once without a cause: {twice:?}");
        assert!(repeated <= cuts.len() * MOST_IN_FLIGHT, "{repeated} repeated in {} cuts", cuts.len());
    }
}

/// The messages that a member has in flight: its handler's concurrency, and as many on their way to the store.
const MOST_IN_FLIGHT: usize = 2 * 16;
