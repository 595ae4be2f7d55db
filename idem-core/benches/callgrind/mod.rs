//! Counts instructions and allocations by valgrind's `callgrind`, which gives the same figures on a busy machine.
//!
//! The benchmark starts itself under `callgrind`, once with [`MESSAGES`] messages and once with twice as many. The
//! difference is the messages' own cost: start-up and preparation are in both.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;

/// The messages of the shorter run.
pub(crate) const MESSAGES: usize = 6_400;
/// The first argument of a run that is counted; the case's name and the number of messages follow.
const COUNTED: &str = "counted";
/// The width of a case's name, in the table and in the file.
const NAME: usize = 32;
/// The functions of libc that give out memory.
const ALLOCATORS: [&str; 6] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];

/// A kind of message whose cost is counted.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Prepares the same for every number of messages, up to twice [`MESSAGES`], and handles so many.
    pub(crate) handle: fn(usize),
}

/// The cost of one message.
#[derive(Clone, Copy)]
struct MessageCost {
    instructions: f64,
    allocations: f64,
}

/// Counts all cases and prints them beside the figures in the file `kept`; `--save` rewrites it.
pub(crate) fn main(kept: &Path, cases: &[Case]) -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [counted, name, messages, ..] = &arguments[..]
        && counted == COUNTED
    {
        let case = cases.iter().find(|case| case.name == name).context("no case has this name")?;
        (case.handle)(messages.parse()?);
        return Ok(ExitCode::SUCCESS);
    }
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("This benchmark counts with valgrind, which is not installed: `apt-get install valgrind`.");
        return Ok(ExitCode::FAILURE);
    }
    let (compiler, before) = (compiler()?, fs::read_to_string(kept).unwrap_or_default());
    let costs_before = parse(&before);
    println!("kept: {}\nnow:  {compiler}\n", before.lines().next().unwrap_or("nothing"));
    println!("{:<NAME$}{:^31}{:^31}", "", "instructions a message", "allocations a message");
    let columns = format!("{:>11} {:>11} {:>7}", "now", "kept", "ratio");
    println!("{:<NAME$}{columns}{columns}", "");
    let mut text = format!("{compiler}\n");
    for case in cases {
        let (name, now) = (case.name, case.cost()?);
        let MessageCost { instructions, allocations } = now;
        let before = costs_before.get(name);
        let instructions_beside = beside(instructions, before.map(|cost| cost.instructions), 0);
        let allocations_beside = beside(allocations, before.map(|cost| cost.allocations), 2);
        println!("{name:<NAME$}{instructions_beside}{allocations_beside}");
        writeln!(text, "{name:<NAME$}{instructions:>11.0} {allocations:>11.2}")?;
    }
    println!("\nwhere they go: callgrind_annotate {}", file("CASE").display());
    if arguments.iter().any(|argument| argument == "--save") {
        fs::write(kept, text).with_context(|| format!("{} cannot be written", kept.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A figure, the one that was kept, and how much of it the new one is.
fn beside(now: f64, kept: Option<f64>, digits: usize) -> String {
    match kept {
        Some(kept) => format!("{now:>11.digits$} {kept:>11.digits$} {:>7.3}", now / kept),
        None => format!("{now:>11.digits$} {:>11} {:>7}", "-", "-"),
    }
}

/// The file of callgrind's that stays of a case, for a look with `callgrind_annotate`.
fn file(case: &str) -> PathBuf {
    let name = format!("{} {case}", env!("CARGO_PKG_NAME")).replace(',', "").replace(' ', "-");
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension("callgrind")
}

impl Case {
    fn cost(&self) -> anyhow::Result<MessageCost> {
        let (once, twice) = (self.counts(MESSAGES)?, self.counts(2 * MESSAGES)?);
        Ok(MessageCost {
            instructions: a_message(once.instructions, twice.instructions),
            allocations: a_message(once.allocations, twice.allocations),
        })
    }

    fn counts(&self, messages: usize) -> anyhow::Result<Counts> {
        let file = file(self.name);
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--quiet"]);
        valgrind.arg(format!("--callgrind-out-file={}", file.display()));
        valgrind.arg(std::env::current_exe()?).args([COUNTED, self.name, &messages.to_string()]);
        let status = valgrind.status()?;
        anyhow::ensure!(status.success(), "{}: {status}", self.name);
        Counts::of(&fs::read_to_string(&file)?).with_context(|| format!("{} has no total", file.display()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn a_message(once: u64, twice: u64) -> f64 {
    (twice as f64 - once as f64) / MESSAGES as f64
}

/// The counts of a whole run.
struct Counts {
    instructions: u64,
    allocations: u64,
}

impl Counts {
    /// Reads a file of `callgrind`'s. A line `cfn=(ID) NAME`, or without the name behind its first time, says who is
    /// called by the line `calls=COUNT ..` after it; `fn=` names functions in the same way.
    fn of(text: &str) -> Option<Self> {
        let (mut instructions, mut allocations) = (None, 0);
        let mut allocators = HashSet::new();
        let mut is_allocator = false;
        for line in text.lines() {
            if let Some(total) = line.strip_prefix("totals: ") {
                instructions = total.trim().parse().ok();
            } else if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
                let (id, name) = function.split_once(' ').unwrap_or((function, ""));
                if ALLOCATORS.contains(&name) {
                    allocators.insert(id);
                }
                is_allocator = allocators.contains(id);
            } else if let Some(calls) = line.strip_prefix("calls=")
                && is_allocator
            {
                allocations += calls.split(' ').next()?.parse::<u64>().ok()?;
            }
        }
        Some(Self { instructions: instructions?, allocations })
    }
}

/// The compiler and the machine, which the figures depend on.
fn compiler() -> anyhow::Result<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().context("rustc does not start")?;
    Ok(format!("{} on {}", String::from_utf8(output.stdout)?.trim(), std::env::consts::ARCH))
}

/// Reads the lines behind the first one: each has a case's name, its instructions and its allocations.
fn parse(text: &str) -> BTreeMap<&str, MessageCost> {
    text.lines().skip(1).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(&str, MessageCost)> {
    let (name, figures) = line.split_at_checked(NAME)?;
    let (instructions, allocations) = figures.trim().split_once(' ')?;
    let (instructions, allocations) = (instructions.parse().ok()?, allocations.trim().parse().ok()?);
    Some((name.trim(), MessageCost { instructions, allocations }))
}
