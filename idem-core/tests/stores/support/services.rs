//! Database servers of a test's own, which it may crash.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Servers that `scripts/services` has started; they end with this value.
pub(crate) struct Services {
    dir: TempDir,
}

impl Services {
    pub(crate) fn start(name: &str) -> Self {
        // A port that was free may be another test's a moment later.
        let started = (0..3).find_map(|_| {
            let services = Self { dir: tempfile::tempdir().unwrap() };
            services.try_to("start", name).is_ok().then_some(services)
        });
        started.unwrap_or_else(|| panic!("scripts/services does not start {name}"))
    }

    /// A variable that the servers' start has set.
    pub(crate) fn variable(&self, name: &str) -> String {
        let script = format!(". {}/env && printf %s \"${name}\"", self.path().display());
        let output = Command::new("bash").args(["-c", &script]).env_remove(name).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn kill(&self, name: &str) {
        self.run("kill", name);
    }

    pub(crate) fn restart(&self, name: &str) {
        self.run("restart", name);
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn run(&self, command: &str, name: &str) {
        self.try_to(command, name).unwrap_or_else(|said| panic!("scripts/services {command} {name}: {said}"));
    }

    fn try_to(&self, command: &str, name: &str) -> Result<(), String> {
        let mut script = Command::new(script());
        script.arg(command).arg(self.path()).arg(name);
        // A server that the environment names would not be started.
        for variable in ["IDEM_TEST_POSTGRES_URL", "IDEM_TEST_MYSQL_URL"] {
            script.env_remove(variable);
        }
        let output = script.output().expect("scripts/services cannot be run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("stop").arg(self.path()).output();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services")
}
