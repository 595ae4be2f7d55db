//! The macros as users see them: mistakes with their errors, and programs that must compile without a word.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use ui_test::spanned::Spanned;
use ui_test::status_emitter::Text;

/// Each file is one mistake, and its error is beside it. `UPDATE_EXPECT=1` writes the errors anew.
#[test]
fn a_mistake_gives_one_error_that_says_the_fix() {
    let scratch = tempfile::tempdir().unwrap();
    let mut config = ui_test::Config::rustc("fail");
    config.out_dir = scratch.path().to_owned();
    config.program.args.extend(["--edition=2024".into(), "--emit=metadata".into()]);
    config.program.args.extend(built_crates(&[
        ("idem_rocketmq", "idem_rocketmq"),
        ("serde", "idem_ui_tests"),
        ("sqlx", "sqlx"),
    ]));
    let defaults = config.comment_defaults.base();
    // The error beside the file is all that must be said, what rustc suggests is not applied, and the edition is said above.
    defaults.require_annotations = Spanned::dummy(false).into();
    defaults.custom.remove("rustfix");
    defaults.custom.remove("edition");
    // Neither how many errors there are, which the other test counts, nor in which line of idem's own code is what they point at.
    config.stderr_filter("error: aborting due to .*\\n\\n", "");
    config.stderr_filter("(Some errors have|For more information about|For more information).*\\n", "");
    // Nor where the compiler has written a long type.
    config.stderr_filter(
        " *= note: (the full name for the type has|consider using `--verbose` to print).*\\n",
        "",
    );
    config.stderr_filter("\\n\\n\\z", "\n");
    config.stderr_filter("(idem-[a-z/_-]+\\.rs):[0-9]+:[0-9]+", "$1");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        config.output_conflict_handling = ui_test::bless_output_files;
    }
    let tests = ui_test::run_tests_generic(
        vec![config],
        ui_test::default_file_filter,
        ui_test::default_per_file_config,
        Text::quiet(),
    );
    assert!(
        tests.is_ok(),
        "an error is another than the one beside its file; UPDATE_EXPECT=1 writes them anew"
    );
}

/// The arguments that give rustc these crates, each under the name that stands first, as they were built for this file: so the
/// client is not built once more.
fn built_crates(crates: &[(&str, &str)]) -> Vec<OsString> {
    // Cargo says where they are. It has nothing to build when this file was built with the same selection, and when it sees
    // nothing of the variables of this test, which some build scripts look at.
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_")
            || name.to_string_lossy().starts_with("CARGO_MANIFEST_")
        {
            cargo.env_remove(name);
        }
    }
    cargo.args(["test", "--workspace", "--all-features", "--locked", "--test", "ui", "--no-run"]);
    let cargo = cargo.arg("--message-format=json").output().unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let artifacts = String::from_utf8(cargo.stdout).unwrap();
    let artifacts = artifacts.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let libraries: HashMap<String, PathBuf> = artifacts
        .filter_map(|artifact| {
            let files = artifact["filenames"].as_array()?.iter();
            let library = files.filter_map(|file| file.as_str()).map(PathBuf::from);
            let library = { library }.find(|file| file.extension().is_some_and(|kind| kind == "rlib"))?;
            Some((artifact["target"]["name"].as_str()?.to_owned(), library))
        })
        .collect();
    let arguments = crates.iter().flat_map(|(name, built)| {
        let library = libraries.get(*built).expect("cargo has built it");
        let beside = library.parent().unwrap();
        [format!("--extern={name}={}", library.display()), format!("-Ldependency={}", beside.display())]
    });
    arguments.map(OsString::from).collect()
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

/// Compiled with this file, which also runs them.
#[path = "pass/mod.rs"]
mod pass;
