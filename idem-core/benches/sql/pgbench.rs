//! `pgbench`, as the bare database.

use std::process::Command;

use anyhow::Context as _;

use super::CONNECTIONS;

pub(crate) const CLAIM: &str = concat!(
    include_str!("../../src/store/postgres/sql/claim.sql"),
    include_str!("../../src/store/postgres/sql/claim_rows.sql")
);

/// A statement of the store's with its parameters filled in.
pub(crate) fn filled(statement: &str, schema: &str, columns: &[&str]) -> String {
    let names = statement.replace("\"idem_records\"", &format!("{schema}.idem_records"));
    let without_comments: Vec<_> =
        names.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let numbered = columns.iter().enumerate();
    numbered.fold(without_comments.join(" "), |text, (index, column)| {
        text.replace(&format!("${}", index + 1), column)
    })
}

/// How often a second a script runs that runs `count` times in all, as many at once as a store has connections.
pub(crate) fn rate(url: &str, script: &str, count: usize, options: &str) -> anyhow::Result<f64> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), script)?;
    let (connections, each) = (CONNECTIONS.to_string(), (count / CONNECTIONS).to_string());
    let program = std::env::var("IDEM_BENCH_PGBENCH").unwrap_or_else(|_| "pgbench".to_owned());
    let output = Command::new(program)
        .args(["-n", "-M", "prepared", "-c", &connections, "-j", "2", "-t", &each, "-f"])
        .arg(file.path())
        .arg(url)
        .env("PGOPTIONS", options)
        .output()
        .context("pgbench is PostgreSQL's; IDEM_BENCH_PGBENCH says where it is")?;
    let text = String::from_utf8(output.stdout)?;
    let rate =
        text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse::<f64>().ok());
    let said = || format!("pgbench said {text}{}", String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), said());
    rate.with_context(said)
}
