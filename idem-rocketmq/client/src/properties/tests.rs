use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use super::*;

/// Constants of `MessageConst` that are no property's name.
const NO_PROPERTIES: [&str; 7] = [
    "KEY_SEPARATOR",
    "PROPERTY_TRANSIENT_PREFIX",
    "TIMER_ENGINE_ROCKSDB_TIMELINE",
    "TIMER_ENGINE_FILE_TIME_WHEEL",
    "INDEX_KEY_TYPE",
    "INDEX_UNIQUE_TYPE",
    "INDEX_TAG_TYPE",
];

/// The values of the constants with such a pattern in a file, by name.
fn constants(source: &str) -> Vec<(&str, &str)> {
    let lines = source.lines().filter_map(|line| line.trim().split_once("const ").map(|(_, rest)| rest));
    let pairs = lines.filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        Some((name, rest.split_once("str = \"")?.1.split_once('"')?.0))
    });
    pairs.collect()
}

/// The directory of a package of the client's family.
fn package(name: &str) -> PathBuf {
    // Packages of other platforms need not be here.
    let about = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let about = String::from_utf8(about).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let arguments = ["metadata", "--offline", "--format-version=1", "--filter-platform", host];
    let cargo = Command::new(env!("CARGO")).args(arguments).output().unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let package = packages.find(|package| package["name"] == name).unwrap();
    PathBuf::from(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

#[test]
fn every_property_of_rocketmq_and_of_idem_has_its_place_in_the_table() {
    let known: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    assert_eq!(known.len(), TABLE.len(), "no name is there twice");
    let model = package("rocketmq-model").join("src/common/message.rs");
    let model = std::fs::read_to_string(model).unwrap();
    let (_, model) = model.split_once("impl MessageConst").unwrap();
    let (model, _) = model.split_once("\n}").unwrap();
    let all = constants(model);
    assert!(all.len() > 80, "{}", all.len());
    for (constant, value) in all.into_iter().filter(|(constant, _)| !NO_PROPERTIES.contains(constant)) {
        assert!(known.contains(value), "{constant} ({value}) is not in the table");
    }
    let own = [
        include_str!("../properties.rs"),
        include_str!("../hook.rs"),
        include_str!("../pulled.rs"),
        include_str!("../../../src/producer/key.rs"),
        include_str!("../../../src/producer/outbox/mod.rs"),
    ];
    let own: Vec<_> =
        own.into_iter().flat_map(constants).filter(|(_, value)| value.starts_with("IDEM_")).collect();
    assert!(own.len() >= 10, "{own:?}");
    for (constant, value) in own {
        assert!(known.contains(value), "{constant} ({value}) is not in the table");
    }
}

#[test]
fn what_is_not_in_the_table_is_the_users_unless_brokers_write_it() {
    assert_eq!(fate("colour"), CopyRule::Kept);
    assert_eq!(fate("TIMER_OF_A_LATER_RELEASE"), CopyRule::Dropped);
    assert_eq!(fate("__RMQ.TRANSIENT.OF_A_LATER_RELEASE"), CopyRule::Dropped);
}
