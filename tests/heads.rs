//! Each test file of the two suites with servers begins with the command that runs it alone.

use std::fs;
use std::path::{Path, PathBuf};

/// Every file with tests or rules in a folder of a suite.
fn test_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() && name != "support" {
            files.extend(test_files(&path));
        } else if path.is_file() && name != "main.rs" {
            files.push(path);
        }
    }
    files
}

/// The module of a file, such as `order::mixed::`.
fn module_of(file: &Path) -> String {
    let mut module = String::new();
    for part in &file.with_extension("") {
        if part != "mod" {
            module += part.to_str().unwrap();
            module += "::";
        }
    }
    module
}

fn has_tests_of_its_own(text: &str) -> bool {
    let begins =
        |line: &str| ["#[tokio::test", "#[test]", "on_both!"].iter().any(|word| line.starts_with(word));
    text.lines().any(|line| begins(line) || (!line.starts_with(' ') && line.contains("_tests!(")))
}

/// Whether the filter selects the tests of a module. Rules, which are tests of other modules, may name their room.
fn fits(filter: &str, module: &str, text: &str) -> bool {
    let room = module
        .trim_end_matches("::")
        .rsplit_once("::")
        .map_or(String::new(), |(room, _)| format!("{room}::"));
    let is_rules = !has_tests_of_its_own(text) && filter == room;
    is_rules || (!filter.is_empty() && format!("::{module}").ends_with(&format!("::{filter}")))
}

/// The command in the head of a file: its options and its filter.
fn command(text: &str) -> Option<(&str, &str)> {
    let head_ends = text.find("\n\n").unwrap_or(text.len());
    let (_, command) = text[..head_ends].split_once("//! Run alone: `cargo test ")?;
    command.split_once('`')?.0.split_once(" -- ")
}

#[test]
fn each_test_file_begins_with_the_command_that_runs_it_alone() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (suite, folder) in [("e2e", tests.join("e2e")), ("stores", tests.join("../idem-core/tests/stores"))] {
        let files = test_files(&folder);
        assert!(files.len() > 30, "{} files in {}", files.len(), folder.display());
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let module = module_of(file.strip_prefix(&folder).unwrap());
            let (options, filter) = command(&text)
                .unwrap_or_else(|| panic!("no line `//! Run alone:` with a command in {}", file.display()));
            assert!(options.ends_with(&format!("--test {suite}")), "{options} in {}", file.display());
            assert!(fits(filter, &module, &text), "`{filter}` does not select {module}");
        }
    }
}

#[test]
fn a_missing_line_and_a_filter_of_another_module_are_found() {
    assert_eq!(command("//! Orders.\n\nuse std::fs;"), None);
    let head =
        "//! Orders.\n//!\n//! Run alone: `cargo test --test e2e -- order::mixed::`\n\n#[test]\nfn one() {}";
    assert_eq!(command(head), Some(("--test e2e", "order::mixed::")));
    assert!(fits("order::mixed::", "order::mixed::", head));
    for other in ["order::", "fixed::", "order::ordered::", ""] {
        assert!(!fits(other, "order::mixed::", head), "{other}");
    }
}
