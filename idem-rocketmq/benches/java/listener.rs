//! The listener in Java, which Maven and javac build beside this benchmark.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;

/// Builds it, and returns its class path.
pub(crate) fn build() -> anyhow::Result<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/java/listener");
    let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("dedup-listener");
    let (jars, classes) = (built.join("lib"), built.join("classes"));
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--quiet", "--no-transfer-progress", "dependency:copy-dependencies"]);
    maven.arg("-f").arg(source.join("pom.xml")).arg("-DincludeScope=runtime");
    maven.arg(format!("-DoutputDirectory={}", jars.display()));
    ensure!(maven.status()?.success(), "Maven did not bring the jars of the listener in Java");
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-proc:none", "-cp"]).arg(jars.join("*"));
    javac.arg("-d").arg(&classes).arg(source.join("DedupListener.java"));
    ensure!(javac.status()?.success(), "the listener in Java does not compile");
    Ok(format!("{}:{}", classes.display(), jars.join("*").display()))
}

/// The command that consumes with it: name server, Redis, topic and group, and in so many threads so many messages.
pub(crate) fn command(class_path: &str, group: [&String; 4], threads: u32, messages: usize) -> Command {
    let mut command = Command::new("java");
    command.args(["-cp", class_path, "DedupListener"]).args(group);
    command.args([threads.to_string(), messages.to_string()]);
    command
}
