//! What may come along with a crate that others add to their programs.

use std::process::Command;

use crate::assert_none;

/// Crates that a user of `starling-client` must not have to build: servers, command lines, allocators, ours.
const NOT_FOR_CLIENTS: &[&str] = &[
    "axum",
    "clap",
    "config",
    "mimalloc",
    "starling",
    "starling-core",
    "tonic-health",
    "tonic-reflection",
    "tonic-web",
    "tower-http",
    "tracing-subscriber",
];

/// The names of all crates that a package is built from, build scripts excepted.
fn dependencies(package: &str) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--package", package])
        .output()
        .expect("cargo is there: it runs the tests");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("names are UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_client_brings_no_server_along() {
    let found = dependencies("starling-client");
    assert!(found.iter().any(|name| name == "tonic"), "the list is not read: {found:?}");
    let problems: Vec<String> = (NOT_FOR_CLIENTS.iter())
        .filter(|name| found.iter().any(|own| own == *name))
        .map(|name| format!("crates/client/Cargo.toml: brings `{name}` along, which no client needs"))
        .collect();
    assert_none(&problems);
}

#[test]
fn the_core_needs_errors_and_nothing_else() {
    let found = dependencies("starling-core");
    let own = found.iter().filter(|name| !["starling-core", "thiserror"].contains(&name.as_str()));
    // A derive macro is no part of what is built in, and thiserror has nothing else.
    let foreign: Vec<String> = own.filter(|name| *name != "thiserror-impl").cloned().collect();
    assert!(
        foreign.iter().all(|name| ["proc-macro2", "quote", "syn", "unicode-ident"].contains(&name.as_str())),
        "{foreign:?}"
    );
}

#[test]
fn the_replica_needs_the_core_and_nothing_else() {
    let core = dependencies("starling-core");
    let found = dependencies("starling-replica");
    let foreign: Vec<&String> =
        found.iter().filter(|name| *name != "starling-replica" && !core.contains(name)).collect();
    assert!(found.iter().any(|name| name == "starling-core"), "the list is not read: {found:?}");
    assert!(foreign.is_empty(), "no runtime and no network: {foreign:?}");
}
