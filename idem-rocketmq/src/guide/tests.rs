//! Lists in the pages, held against the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use idem_core::Policy;

use crate::consumer::{ConsumeFrom, Plan};
use crate::handler::LONGEST_BATCH;
use crate::settings::FingerprintMismatch;
use crate::{Backoff, Consumer, MemoryStore, Route, handler};

const README: &str = include_str!("../../../README.md");
const ARCHITECTURE: &str = include_str!("../../../ARCHITECTURE.md");
const STRATEGIES: &str = include_str!("../docs/strategies.md");

/// The cells of the tables under a heading, row by row.
fn rows<'p>(page: &'p str, heading: &str) -> Vec<Vec<&'p str>> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the page has the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The texts in backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn time(time: Duration) -> String {
    match time.as_secs() {
        days if days % 86_400 == 0 => format!("{} days", days / 86_400),
        minutes if minutes % 60 == 0 => format!("{} min", minutes / 60),
        seconds => format!("{seconds} s"),
    }
}

/// A choice as the attribute writes it.
fn choice(choice: impl Debug) -> String {
    let name = format!("{choice:?}");
    let words = name.split_inclusive(|_: char| true).map(|letter| match letter.to_lowercase() {
        lower if lower == letter => lower,
        lower => format!("_{lower}"),
    });
    format!("`{}`", words.collect::<String>().trim_start_matches('_'))
}

fn plan(change: impl FnOnce(Route) -> Route) -> Plan {
    let route = handler("orders", async |_: u32| {}).key(|order| *order);
    let builder = Consumer::builder("campaign").instance_name("one").store(MemoryStore::new());
    builder.handlers([change(route)]).plan_without_broker().unwrap().0
}

fn policy(change: impl FnOnce(Route) -> Route) -> Policy {
    plan(change).handlers.remove(0).policy
}

#[test]
fn the_defaults_are_those_of_the_readme() {
    let table = rows(README, "What a handler can say");
    let said = |option: &str| {
        let row = table.iter().find(|row| code(row[0]).any(|code| code == option));
        (*row.expect(option).last().unwrap()).to_owned()
    };
    let plain = policy(|route| route);
    assert_eq!(said("lease"), time(plain.lease));
    assert_eq!(said("timeout"), time(plain.timeout));
    assert_eq!(said("retention"), time(plain.retention));
    assert_eq!(said("max_attempts"), plain.max_attempts.to_string());
    assert_eq!(said("concurrency"), plain.concurrency.to_string());
    assert_eq!(said("in_progress"), choice(plain.in_progress));
    assert_eq!(said("store_failure"), choice(plain.store_failure));
    assert_eq!(said("undecodable"), choice(plain.undecodable));
    assert_eq!(said("missing_key"), choice(plain.missing_key));
    assert_eq!(said("fingerprint"), "not compared");
    assert_eq!(plain.fingerprint, FingerprintMismatch::Ignore);

    assert_eq!(
        said("backoff"),
        "the broker's levels from 10 s; orderly and broadcast, doubling from 1 to 30 s"
    );
    assert_eq!((plain.backoff.after(1), &plain.backoff), (Duration::from_secs(10), &Backoff::levels()));
    let doubling = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(30));
    assert_eq!(policy(Route::orderly).backoff, doubling);
    assert_eq!(policy(Route::broadcast).backoff, doubling);

    let batch = table.iter().find(|row| row[0].contains("`batch`")).unwrap();
    assert!(batch[1].contains(&format!("at most {LONGEST_BATCH} ")), "{batch:?}");

    let consumer = plan(|route| route);
    let page = README.split_whitespace().collect::<Vec<_>>().join(" ");
    let drain = format!("lets handlers finish for {}", time(consumer.drain));
    assert!(page.contains(&drain), "the README does not say: {drain}");
    assert!(page.contains("a group that is new to a topic starts at the first offset"));
    assert_eq!(consumer.consume_from, ConsumeFrom::First);
}

/// The repository, from which the crate is built.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The texts of all sources in a folder; without those of tests where `tests` is false.
fn sources(folder: &Path, tests: bool, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && (tests || !is_test) && !path.ends_with("target") {
            sources(&path, tests, into);
        } else if path.extension().is_some_and(|end| end == "rs") && (tests || !is_test) {
            into.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// The metrics that a source counts, with their kinds, and with their labels where they stand beside the name.
fn metrics_in(source: &str) -> Vec<(String, &'static str, Option<Vec<String>>)> {
    let mut found = Vec::new();
    for kind in ["counter", "gauge", "histogram"] {
        for call in [format!("metrics::{kind}!("), format!("self.{kind}(")] {
            for text in source.split(&call).skip(1) {
                // Brackets are no matter: labels end with the statement.
                let text = text.trim_start().split_once(';').map_or(text, |(statement, _)| statement);
                let Some(name) = text.strip_prefix('"').and_then(|text| text.split('"').next()) else {
                    continue;
                };
                let strings: Vec<_> = text.split("\" =>").collect();
                let labels = strings[..strings.len() - 1].iter();
                let mut labels: Vec<_> =
                    labels.map(|text| text.rsplit('"').next().unwrap().to_owned()).collect();
                labels.sort();
                let are_here = call.starts_with("metrics") && !text.contains("&labels");
                found.push((name.to_owned(), kind, are_here.then_some(labels)));
            }
        }
    }
    found
}

#[test]
fn the_metrics_are_those_of_the_readme() {
    let mut listed = BTreeMap::new();
    for row in rows(README, "What can be seen") {
        let mut labels: Vec<_> = code(row[2]).map(str::to_owned).collect();
        labels.sort();
        let name = code(row[0]).next().expect("a metric has a name").to_owned();
        assert!(listed.insert(name, (row[1], labels)).is_none(), "listed twice: {}", row[0]);
    }
    let mut files = Vec::new();
    for folder in
        ["idem-core/src", "idem-rocketmq/src", "idem-rocketmq/client/src", "idem-rocketmq/embedded/src"]
    {
        sources(&repository().join(folder), false, &mut files);
    }
    let mut counted = BTreeSet::new();
    for (name, kind, labels) in files.iter().flat_map(|text| metrics_in(text)) {
        let (listed_kind, listed_labels) = listed.get(&name).unwrap_or_else(|| panic!("not listed: {name}"));
        assert_eq!(kind, *listed_kind, "{name}");
        if let Some(labels) = labels {
            assert_eq!(labels, *listed_labels, "{name}");
        }
        counted.insert(name);
    }
    assert!(counted.iter().eq(listed.keys()), "listed {:?}, counted {counted:?}", listed.keys());
}

#[test]
fn each_test_that_a_page_names_is_there() {
    let mut files = Vec::new();
    for folder in ["idem-core", "idem-rocketmq", "idem-macros", "tests"] {
        sources(&repository().join(folder), true, &mut files);
    }
    let (_, tests) = STRATEGIES.split_once("# The tests that show it").unwrap();
    let invariants = rows(ARCHITECTURE, "The invariants, and the test that proves each");
    let of_invariants = invariants.iter().flat_map(|row| code(row[1]));
    let is_name =
        |name: &str| name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'*'));
    let names: Vec<_> =
        code(tests).chain(of_invariants).filter(|name| name.contains('_') && is_name(name)).collect();
    assert!(names.len() > 60, "{} names", names.len());
    for name in names {
        let function = match name.strip_suffix('*') {
            Some(beginning) => vec![format!("fn {beginning}")],
            None => vec![format!("fn {name}("), format!("fn {name}<")],
        };
        let is_there = files.iter().any(|text| function.iter().any(|function| text.contains(function)));
        assert!(is_there, "a page names a test that is not there: {name}");
    }
}

/// The promises about doubt stand word for word in the README and in the guide.
#[test]
fn each_promise_about_doubt_has_the_same_words_everywhere() {
    for promise in [
        "For each key the handler is not run again after a run that may have had its effect.",
        "For each key the handler is not run again after a run that may have had its effect, unless the check said that nothing happened.",
    ] {
        assert!(README.contains(&format!("\n> {promise}\n")), "{promise}");
        assert!(include_str!("../docs/doubt.md").contains(&format!("*{promise}*")), "{promise}");
    }
}
