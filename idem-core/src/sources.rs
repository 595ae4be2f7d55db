//! The code of both libraries, for tests of what stands where.

use std::path::Path;

/// One file, without its unit tests.
pub(crate) struct Source {
    /// With `/` between its parts.
    pub(crate) path: String,
    pub(crate) code: String,
}

/// The files of this crate, and of those that lie beside it.
pub(crate) fn all() -> Vec<Source> {
    let mut all = Vec::new();
    for source in
        ["src", "../idem-rocketmq/src", "../idem-rocketmq/client/src", "../idem-rocketmq/embedded/src"]
    {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        if source.is_dir() {
            gather(&source, &mut all);
        }
    }
    all
}

fn gather(directory: &Path, all: &mut Vec<Source>) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.to_string_lossy().replace('\\', "/");
        if path.is_dir() {
            if !name.ends_with("/tests") && !name.ends_with("/conformance") {
                gather(&path, all);
            }
        } else if !name.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
            all.push(Source { path: name, code });
        }
    }
}
