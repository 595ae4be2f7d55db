//! The log of this process: a connection's tasks run on other threads, so it is gathered for all of them.

use std::io::{self, Write};
use std::sync::{Once, OnceLock};

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

fn lines() -> &'static Mutex<Vec<u8>> {
    static LINES: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();
    LINES.get_or_init(Mutex::default)
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lines().lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// Starts to gather, once.
pub(crate) fn gather() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt().with_ansi(false).with_writer(|| Lines.make_writer()).init();
    });
}

/// The lines that say all of this.
pub(crate) fn saying(words: &[&str]) -> Vec<String> {
    let text = String::from_utf8_lossy(&lines().lock()).into_owned();
    let matches = |line: &&str| words.iter().all(|word| line.contains(word));
    text.lines().filter(matches).map(str::to_owned).collect()
}
