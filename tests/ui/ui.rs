//! The macros as users see them: mistakes with their errors, and programs that must compile without a word.

/// Each file is one mistake, and its error is beside it.
#[test]
fn a_mistake_gives_one_error_that_says_the_fix() {
    trybuild::TestCases::new().compile_fail("fail/*.rs");
}

/// But for a body that is only half typed, where rustc adds one of its own.
#[test]
fn no_mistake_gives_a_second_error() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fail");
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "stderr")
            && !path.ends_with("half_typed_body.stderr")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let errors =
                text.lines().filter(|line| line.starts_with("error") || line.starts_with("warning")).count();
            assert_eq!(errors, 1, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 50, "{seen}");
}

/// Compiled with this file and not by trybuild, which would build the client a second time to run them.
#[path = "pass/mod.rs"]
mod pass;
