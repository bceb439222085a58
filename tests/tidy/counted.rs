//! Where locks are held, collections are those whose work is counted: `tests/counting` sees what goes over them.

use crate::assert_none;
use crate::lexer;
use crate::tree::{SourceFile, crate_files};

/// What of `std` is in use all the same, and why it cannot grow with a population.
const BOUNDED: &[(&str, &str)] = &[
    ("crates/core/src/counted.rs", "what is counted"),
    ("crates/core/src/counted/lists.rs", "what is counted"),
    ("crates/core/src/counted/maps.rs", "what is counted"),
    ("crates/core/src/interest.rs", "edits of one request"),
    ("crates/core/src/node_index.rs", "one part, of some thousands; it counts by itself"),
    ("crates/core/src/stats.rs", "1 024 nodes at most"),
    ("crates/core/src/wire/state/head.rs", "1 024 nodes at most"),
    ("src/feed/chunk_cache.rs", "16 chunks"),
    ("src/store/revoked.rs", "asked for one node at a time, under no lock of a swarm"),
];

/// Whether what is in a file runs under locks of swarms or feeds.
fn runs_under_locks(file: &SourceFile) -> bool {
    match file.package.as_str() {
        "core" => true,
        "" => matches!(file.layer(), "store" | "feed"),
        _ => false,
    }
}

fn names_a_collection(path: &lexer::Path) -> bool {
    !path.test && matches!(&path.segments[..], [std, collections, ..] if std == "std" && collections == "collections")
}

#[test]
fn collections_under_locks_are_counted() {
    let (files, _) = crate_files();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| runs_under_locks(file)) {
        found.extend(lexer::paths(&file.tokens).iter().filter(|path| names_a_collection(path)).map(|_| &*file.path));
    }
    let is_listed = |path: &&str| BOUNDED.iter().any(|(file, _)| file == path);
    let new = found.iter().filter(|path| !is_listed(path));
    let new = new.map(|path| format!("{path}: take those of starling_core::counted, or say in BOUNDED why not"));
    let gone = BOUNDED.iter().filter(|(file, _)| !found.contains(file));
    let problems: Vec<_> = new.chain(gone.map(|(file, _)| format!("{file}: is in BOUNDED without need"))).collect();
    assert_none(&problems);
}
