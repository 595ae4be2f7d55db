//! The code of idem's crates, for tests of names, of comments, and of the places where things are decided.

use std::path::Path;

/// The crates' folders of code, seen from this crate. Those that are not there are passed over.
const ALL: [&str; 4] =
    ["src", "../idem-rocketmq/src", "../idem-rocketmq/client/src", "../idem-rocketmq/embedded/src"];

/// One file.
pub(crate) struct SourceFile {
    /// Seen from this crate, with `/` between its parts.
    pub(crate) path: String,
    pub(crate) code: String,
}

/// The files of this crate, and of those that lie beside it, without their unit tests.
pub(crate) fn all() -> Vec<SourceFile> {
    let is_test = |file: &SourceFile| {
        file.path.ends_with("tests.rs")
            || file.path.contains("/tests/")
            || file.path.contains("/conformance/")
    };
    let files = ALL.into_iter().flat_map(files_in).filter(|file| !is_test(file));
    files
        .map(|SourceFile { path, code }| {
            let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
            SourceFile { path, code }
        })
        .collect()
}

/// All files of one folder, with their unit tests.
fn files_in(folder: &str) -> Vec<SourceFile> {
    let mut files = Vec::new();
    if Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).is_dir() {
        gather(folder, &mut files);
    }
    files
}

fn gather(folder: &str, files: &mut Vec<SourceFile>) {
    for entry in Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).read_dir().unwrap().map(Result::unwrap) {
        let (full, path) = (entry.path(), format!("{folder}/{}", entry.file_name().to_string_lossy()));
        if full.is_dir() {
            gather(&path, files);
        } else if full.extension().is_some_and(|extension| extension == "rs") {
            files.push(SourceFile { path, code: std::fs::read_to_string(full).unwrap() });
        }
    }
}

mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The folders of code whose types have names of their own.
    const CRATES: [&str; 5] = [
        "src",
        "../idem-rocketmq/src",
        "../idem-rocketmq/client/src",
        "../idem-rocketmq/embedded/src",
        "../idem-macros/src",
    ];

    /// Other folders whose comments are read.
    const OTHERS: [&str; 5] = ["tests", "benches", "../idem-rocketmq/benches", "../tests", "../examples"];

    /// Words that say nothing of a type which bears them alone.
    const VAGUE: [&str; 32] = [
        "Again",
        "Another",
        "Begun",
        "Both",
        "Careful",
        "Current",
        "Each",
        "Found",
        "Free",
        "Given",
        "Gone",
        "Half",
        "Held",
        "Here",
        "Inner",
        "Known",
        "Lead",
        "Left",
        "Mute",
        "Now",
        "Otherwise",
        "Over",
        "Past",
        "Ran",
        "Rest",
        "Said",
        "Shared",
        "Taken",
        "There",
        "Together",
        "Told",
        "Ways",
    ];

    /// The name that a line defines: of a struct, enum, trait or union, or of an alias, which unlike an associated type begins
    /// its line.
    fn defined(line: &str) -> Option<&str> {
        let mut words = line.split_whitespace().peekable();
        if words.peek()?.starts_with("pub") {
            let is_in = words.next()? == "pub(in";
            is_in.then(|| words.next());
        }
        match words.next()? {
            "struct" | "enum" | "trait" | "union" => {}
            "type" if !line.starts_with(' ') => {}
            _ => return None,
        }
        let name = words.next()?.split(|letter: char| !letter.is_alphanumeric()).next()?;
        name.starts_with(char::is_uppercase).then_some(name)
    }

    #[test]
    fn each_type_has_a_name_of_its_own() {
        let mut wrong = Vec::new();
        for folder in CRATES {
            let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
            // Functions that write code have it in their tests.
            let written = |file: &SourceFile| {
                file.path.starts_with("../idem-macros") && file.path.ends_with("tests.rs")
            };
            for SourceFile { path, code } in files_in(folder).into_iter().filter(|file| !written(file)) {
                for (line, text) in code.lines().enumerate() {
                    if let Some(name) = defined(text) {
                        places.entry(name.to_owned()).or_default().push(format!("{path}:{}", line + 1));
                    }
                }
            }
            assert!(places.len() > 15, "hardly a type was found in {folder}");
            places.retain(|name, places| places.len() > 1 || VAGUE.contains(&name.as_str()));
            wrong.extend(places);
        }
        assert!(
            wrong.is_empty(),
            "two types of one crate have one name, or a name that says nothing: {wrong:#?}"
        );
    }

    fn comment(line: &str) -> Option<&str> {
        ["/// ", "//! ", "// "].iter().find_map(|mark| line.trim_start().strip_prefix(mark))
    }

    /// Whether a sentence of a comment begins on the first of these lines with `What`, and asks nothing.
    fn begins_with_what(lines: &[&str]) -> bool {
        let text: Vec<_> = lines.iter().map_while(|line| comment(line)).collect();
        let text = text.join(" ");
        let asks = || text.split_inclusive(['.', '?']).next().is_some_and(|first| first.ends_with('?'));
        text.starts_with("What ") && !asks()
    }

    #[test]
    fn no_comment_begins_with_what() {
        let mut found = Vec::new();
        for SourceFile { path, code } in CRATES.into_iter().chain(OTHERS).flat_map(files_in) {
            let lines: Vec<_> = code.lines().collect();
            for place in 0..lines.len() {
                let before = place.checked_sub(1).and_then(|before| comment(lines[before]));
                let goes_on = before.is_some_and(|before| !before.ends_with(['.', '?', ':']));
                if !goes_on && begins_with_what(&lines[place..]) {
                    found.push(format!("{path}:{}", place + 1));
                }
            }
        }
        assert!(found.is_empty(), "say these as sentences whose subject comes first: {found:#?}");
    }
}
