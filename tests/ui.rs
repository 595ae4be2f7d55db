//! What users see of the macros: mistakes and their errors, and what must compile without a word.

/// Each file is one mistake, and its error is beside it.
#[test]
fn a_mistake_gives_one_error_that_says_the_fix() {
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}

/// Compiled with this file and not by trybuild, which would build the client a second time to run them.
#[path = "ui/pass/mod.rs"]
mod pass;
