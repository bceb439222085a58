//! Which module of the server may use which. Between crates the compiler checks it; inside one this does.

use std::collections::{BTreeMap, BTreeSet};

use crate::assert_none;
use crate::lexer::{self, Path};
use crate::tree::{SourceFile, read, server_files};

/// What the files of one top-level module may name.
struct Layer {
    module: &'static str,
    /// The crate's other modules. Tests keep to it too.
    modules: &'static str,
    /// Other crates, or parts of them; `std` needs no mention. Tests may use any.
    crates: &'static str,
}

const fn layer(module: &'static str, modules: &'static str, crates: &'static str) -> Layer {
    Layer { module, modules, crates }
}

/// The architecture. Dependencies point down only: each row names rows below it.
#[rustfmt::skip]
const LAYERS: &[Layer] = &[
    layer("main",      "app cli",
          "clap mimalloc tokio"),
    // For fuzz targets and their corpus alone.
    layer("fuzzing",   "cli app grpc identity tls config service cluster store clock shutdown",
          "starling_client starling_core starling_signing starling_verify arbitrary base64 prost serde_json tempfile \
           tokio tonic"),
    layer("cli",       "app clock cluster config identity pb shutdown telemetry",
          "starling_client starling_verify adts_reader bytes clap clap_complete futures_util humantime indicatif ogg prost \
           prost_reflect prost_types rand serde_json tempfile tokio tonic tonic_health \
           tracing"),
    layer("app",       "admin metrics grpc peer identity limits transport tls service cluster store feed clock config telemetry shutdown",
          "starling_cluster starling_core starling_replica bytes futures_util rand rlimit thiserror tokio tokio_stream tokio_util tonic \
           tonic_health tower tower_http tracing"),
    layer("admin",     "metrics budget cluster identity grpc transport tls shutdown sync",
          "bytes futures_util http http_body http_body_util serde serde_json tokio::net tokio::sync tonic tonic_health \
           tower"),
    layer("metrics",   "grpc limits transport store feed",
          "starling_core prometheus_client rlimit tokio::runtime tokio::task"),
    layer("telemetry", "config",
          "parking_lot thiserror tokio::time tracing tracing_subscriber"),
    layer("config",    "",
          "clap config http::HeaderName http::header humantime ipnet serde thiserror toml tracing_subscriber"),
    layer("grpc",      "budget identity limits transport tls service cluster store feed clock pb shutdown",
          "starling_core starling_signing bytes futures_util http http_body http_body_util prost prost_types rand tokio tokio_stream \
           tonic tonic_health tonic_reflection tonic_types tonic_web tower tower_http tracing"),
    layer("peer",      "service tls cluster store feed clock pb shutdown",
          "starling_core starling_cluster starling_replica futures_util hyper_util parking_lot rand sha2 tokio tokio_rustls \
           tokio_stream tokio_util tonic tracing"),
    layer("transport", "budget clock identity limits tls shutdown sync",
          "bytes futures_util http http_body hyper hyper_util ipnet parking_lot ppp rand socket2 thiserror tokio tokio_rustls \
           tower tracing"),
    layer("tls",       "identity",
          "starling_core parking_lot thiserror tokio::fs tokio::time tokio_rustls tracing x509_parser"),
    layer("pb",        "",
          "prost prost_types tonic tonic_prost"),
    layer("shutdown",  "",
          "tokio tokio_util tracing"),
    layer("service",   "cluster limits store feed clock",
          "starling_core starling_signing bytes futures_util parking_lot rand thiserror tokio tokio_util tracing"),
    layer("cluster",   "store feed clock sync",
          "starling_cluster starling_core starling_replica bytes futures_util parking_lot rand thiserror tokio tokio_util \
           tracing"),
    layer("store",     "feed limits sync clock",
          "starling_core bytes parking_lot::RwLock thiserror tokio::sync"),
    layer("feed",      "sync clock",
          "starling_core bytes parking_lot thiserror tokio::select tokio::spawn tokio::sync tokio::task tokio::time"),
    layer("identity",  "",
          "starling_core base64 ed25519_dalek jsonwebtoken p256 parking_lot quick_cache rsa serde serde_json sha2 \
           thiserror tokio::task tokio::time tracing"),
    layer("limits",    "clock",
          "starling_core governor parking_lot thiserror tracing"),
    layer("clock",     "",
          "tokio::time"),
    layer("budget",    "sync",
          "parking_lot tracing"),
    layer("sync",      "",
          "parking_lot shuttle starling_core::steps"),
    layer("lib",       "", ""),
];

fn row(module: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.module == module)
}

/// The other module of the crate that a path leads to.
fn module_named<'a>(path: &'a Path, file: &SourceFile) -> Option<&'a str> {
    let segments = &path.segments;
    let above_root = match segments[0].as_str() {
        "crate" => 1,
        "starling" if file.program => 1,
        "self" | "super" => {
            let own = usize::from(segments[0] == "self");
            let up = segments[own..].iter().take_while(|segment| *segment == "super").count();
            if up == 0 || up != file.module.len() + path.depth {
                return None;
            }
            own + up
        }
        _ => return None,
    };
    let name = segments.get(above_root)?;
    (name != "self" && *name != *file.layer()).then_some(name)
}

/// Names that mean a module in this file although a crate is called so too (`config`).
fn local_names(file: &SourceFile, paths: &[Path]) -> BTreeSet<String> {
    let declared = lexer::declarations(&file.tokens).into_iter().filter_map(|found| found.path.last().cloned());
    let imported = paths.iter().filter_map(|path| match (path.segments.first()?.as_str(), path.segments.last()) {
        ("crate" | "self" | "super", Some(last)) => Some(last.clone()),
        _ => None,
    });
    declared.chain(imported).collect()
}

/// Whether a list of the table admits a path: `tokio::sync` admits what is in it, and no other part
/// of `tokio`.
fn admits(list: &str, path: &[String]) -> bool {
    list.split_whitespace().any(|entry| {
        let mut segments = path.iter();
        entry.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
    })
}

/// What a file names against the table.
fn violations(file: &SourceFile, crates: &BTreeSet<String>) -> Vec<String> {
    let layer = file.layer();
    let Some(row) = row(layer) else {
        return vec![format!("{}:1: add a row for `{layer}` to LAYERS in tests/tidy/layers.rs", file.path)];
    };
    let paths = lexer::paths(&file.tokens);
    let local = local_names(file, &paths);
    let mut problems = Vec::new();
    for path in &paths {
        let place = format!("{}:{}", file.path, path.line);
        if let Some(name) = module_named(path, file) {
            if !row.modules.split(' ').any(|module| module == name) {
                problems.push(format!(
                    "{place}: `{layer}` may not use `{name}` ({}): move the code to a layer that may, or hand in what it needs",
                    path.segments.join("::")
                ));
            }
        } else if crates.contains(&path.segments[0])
            && !path.test
            && !local.contains(&path.segments[0])
            && !admits(row.crates, &path.segments)
        {
            problems.push(format!(
                "{place}: `{layer}` may not name `{}`: keep it in the layers that may",
                path.segments.join("::")
            ));
        }
    }
    problems
}

/// The crates that the manifest makes available, as code spells them.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end().trim_end_matches(']');
            inside = header.ends_with("dependencies");
            // [dependencies.name] has the crate in the header.
            if let Some((_, name)) = header.split_once("dependencies.") {
                found.insert(name.replace('-', "_"));
            }
        } else if let (true, Some((name, _))) = (inside, line.split_once(['=', '.']))
            && !line.starts_with('#')
        {
            found.insert(name.trim().replace('-', "_"));
        }
    }
    found
}

/// Which module uses which, in the whole tree.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in server_files() {
        let paths = lexer::paths(&file.tokens);
        let used = paths.iter().filter_map(|path| module_named(path, &file)).map(str::to_owned);
        edges.entry(file.layer().to_owned()).or_default().extend(used);
    }
    edges
}

#[test]
fn every_module_names_only_what_its_layer_may() {
    let crates = dependencies(&read("Cargo.toml"));
    let problems: Vec<String> = server_files().iter().flat_map(|file| violations(file, &crates)).collect();
    assert_none(&problems);
}

#[test]
fn every_row_names_code_that_exists() {
    let edges = edges();
    let crates = dependencies(&read("Cargo.toml"));
    let mut problems = Vec::new();
    for layer in LAYERS {
        let module = layer.module;
        if !edges.contains_key(module) {
            problems.push(format!("LAYERS: there is no module `{module}`: remove its row"));
        }
        for name in layer.crates.split_whitespace() {
            let name = name.split("::").next().expect("a split has a first part");
            if !crates.contains(name) {
                problems.push(format!("LAYERS: `{module}` may name `{name}`, which Cargo.toml has not: remove it"));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_row_names_lower_rows_only() {
    let mut problems = Vec::new();
    for (at, layer) in LAYERS.iter().enumerate() {
        for name in layer.modules.split_whitespace() {
            if !LAYERS[at + 1..].iter().any(|below| below.module == name) {
                problems.push(format!(
                    "LAYERS: `{name}` has no row below `{}`: dependencies point down, and never in a circle",
                    layer.module
                ));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn the_scan_finds_the_edges_that_are_known() {
    let edges = edges();
    for (from, to) in
        [("service", "cluster"), ("cluster", "store"), ("store", "feed"), ("grpc", "service"), ("grpc", "pb")]
    {
        assert!(
            edges.get(from).is_some_and(|used| used.contains(to)),
            "{from} -> {to} was not found: either the code has changed, or the scan is blind: {edges:?}"
        );
    }
    let crates = dependencies(&read("Cargo.toml"));
    for name in ["bytes", "starling_core", "tokio", "tonic_prost", "config", "tempfile"] {
        assert!(crates.contains(name), "{name} was not found among {crates:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(module: &str, text: &str) -> Vec<String> {
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        let crates = ["bytes", "config", "tokio"].map(str::to_owned).into();
        violations(&SourceFile::new("a.rs", &module, text), &crates)
    }

    #[track_caller]
    fn assert_refused(module: &str, text: &str, expected: &str) {
        let found = found(module, text);
        let [problem] = found.as_slice() else { panic!("{text}: {found:?}") };
        assert!(problem.starts_with(expected), "{text}: {problem}");
    }

    #[test]
    fn higher_layer_is_refused_in_every_form() {
        for text in [
            "use crate::grpc;",
            "use crate::{feed::A, grpc::B};",
            "use super::super::{grpc::A};",
            "fn f() -> crate::grpc::A {}",
            "mod x { mod y { use super::super::super::super::grpc; } }",
            "macro_rules! m { () => { $crate::grpc::f() } }",
            "#[cfg(test)] mod tests { use crate::grpc; }",
        ] {
            assert_refused("store::shard", text, "a.rs:1: `store` may not use `grpc`");
        }
        assert_refused("store", "use crate::*;", "a.rs:1: `store` may not use `*`");
        assert_refused("clock", "\n\nuse crate::{\n feed::A};", "a.rs:4: `clock` may not use `feed`");
    }

    #[test]
    fn crate_missing_from_its_row_is_refused() {
        assert_refused("clock", "use bytes::Bytes;", "a.rs:1: `clock` may not name `bytes::Bytes`");
        assert_refused("clock", "#[derive(x)] struct A(bytes::Bytes);", "a.rs:1: `clock` may not name");
        assert_refused("store", "use tokio::{sync::Notify, time};", "a.rs:1: `store` may not name `tokio::time`");
        assert_refused("store", "use tokio;", "a.rs:1: `store` may not name `tokio`");
        assert_refused("app", "use config::Config;", "a.rs:1: `app` may not name `config::Config`");
        assert_refused("unheard_of", "", "a.rs:1: add a row");
    }

    #[test]
    fn what_the_table_allows_passes() {
        for (module, text) in [
            ("feed::ring", "use std::fmt; use super::id; use crate::feed::error; use super::super::feed::id;"),
            ("store", "use crate::{feed, feed::A}; use tokio::sync::{Notify, watch}; feed::bytes::x()"),
            (
                "clock",
                "// use crate::grpc;\nconst A: &str = \"crate::grpc\"; #[cfg(test)] mod tests { use bytes::Bytes; }",
            ),
            ("app", "use crate::config; fn f() { config::load() }"),
            ("config", "use config::Config;"),
        ] {
            assert_eq!(found(module, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn library_is_named_in_the_program_only() {
        let mut file = SourceFile::new("src/main.rs", &[], "use starling::{app, store};");
        assert_eq!(violations(&file, &BTreeSet::new()), [""; 0]);
        file.program = true;
        assert_eq!(violations(&file, &BTreeSet::new()).len(), 1);
    }

    #[test]
    fn dependencies_are_found_in_every_form() {
        let manifest = "[package]\nname = \"a\"\n[dependencies]\n# b = 1\nc = \"1\"\nd-e = { x = \"1\" }\nf.workspace = true\n\
                        [dev-dependencies.g]\nversion = \"1\"\n[features]\nh = []\n";
        assert_eq!(dependencies(manifest).iter().collect::<Vec<_>>(), ["c", "d_e", "f", "g"]);
    }
}
