//! The files: read once, found from their roots as the compiler finds them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::assert_none;
use crate::lexer::{self, Token};

/// No file in these is longer.
const LINES_MAX: usize = 500;

/// Names that say where a thing was put, and not what it is.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "common", "misc", "types", "models"];

/// A file of a crate of the workspace, reached by `mod` from `src/lib.rs` or `src/main.rs`.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// From the repository's root, with slashes.
    pub(crate) path: String,
    /// The directory of its crate below `crates/`; nothing for the server, the root package.
    pub(crate) package: String,
    /// Its place in the tree of modules; nothing for the roots themselves.
    pub(crate) module: Vec<String>,
    /// Whether it belongs to the program, to which the library is another crate.
    pub(crate) program: bool,
    pub(crate) tokens: Vec<Token>,
}

impl SourceFile {
    pub(crate) fn new(path: &str, module: &[String], text: &str) -> Self {
        Self {
            path: path.to_owned(),
            package: package_of(path).to_owned(),
            module: module.to_vec(),
            program: false,
            tokens: lexer::tokens(&lexer::strip(text)),
        }
    }

    /// The row of the table of layers that holds for it.
    pub(crate) fn layer(&self) -> &str {
        match self.module.first() {
            Some(module) => module,
            None if self.program => "main",
            None => "lib",
        }
    }
}

/// The directory below `crates/` that a path leads into; nothing outside of `crates/`.
fn package_of(path: &str) -> &str {
    path.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

/// The directories of all packages, with a slash at their end; nothing for the root package.
fn packages() -> Vec<String> {
    let below: BTreeSet<String> =
        files("crates", "/Cargo.toml").iter().map(|path| format!("crates/{}/", package_of(path))).collect();
    std::iter::once(String::new()).chain(below).collect()
}

/// A file's text, by its path from the repository's root.
#[track_caller]
pub(crate) fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{path}: cannot be read: {error}"))
}

/// The files below a directory whose names end like this, by their paths from the root, in order.
pub(crate) fn files(directory: &str, extension: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = format!("{directory}/{}", entry.file_name().display());
        if entry.path().is_dir() {
            found.extend(files(&path, extension));
        } else if path.ends_with(extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All Rust written by hand.
pub(crate) fn all_rust() -> Vec<String> {
    let mut all = vec!["build.rs".to_owned()];
    for directory in ["src", "tests", "benches", "examples", "crates", "fuzz/fuzz_targets"] {
        all.extend(files(directory, ".rs"));
    }
    all
}

/// The sources of all packages, and what is wrong with their `mod` lines.
pub(crate) fn crate_files() -> (Vec<SourceFile>, Vec<String>) {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for package in packages() {
        walk(&package, &mut found, &mut problems);
    }
    (found, problems)
}

/// The sources of the server, the root package, alone.
pub(crate) fn server_files() -> Vec<SourceFile> {
    let (mut files, _) = crate_files();
    files.retain(|file| file.package.is_empty());
    files
}

fn walk(package: &str, found: &mut Vec<SourceFile>, problems: &mut Vec<String>) {
    let existing: BTreeSet<String> = files(&format!("{package}src"), ".rs").into_iter().collect();
    let mut to_read: Vec<_> = [("src/lib.rs", false), ("src/main.rs", true)]
        .into_iter()
        .map(|(root, program)| (format!("{package}{root}"), Vec::new(), program, false))
        .filter(|(root, ..)| existing.contains(root))
        .collect();
    while let Some((path, module, program, test)) = to_read.pop() {
        let mut file = SourceFile { program, ..SourceFile::new(&path, &module, &read(&path)) };
        if test {
            file.tokens.iter_mut().for_each(|token| token.test = true);
        }
        for declaration in lexer::declarations(&file.tokens) {
            let below: Vec<String> = module.iter().chain(&declaration.path).cloned().collect();
            let expected = format!("{package}src/{}.rs", below.join("/"));
            if existing.contains(&expected) {
                to_read.push((expected, below, program, declaration.test));
            } else {
                problems.push(format!("{path}:{}: add {expected}, or remove this `mod`", declaration.line));
            }
        }
        found.push(file);
    }
}

#[test]
fn every_file_is_declared_beside_its_directory() {
    let (reached, mut problems) = crate_files();
    let reached: BTreeSet<&str> = reached.iter().map(|file| file.path.as_str()).collect();
    for path in packages().iter().flat_map(|package| files(&format!("{package}src"), ".rs")) {
        if path.ends_with("/mod.rs") {
            problems.push(format!("{path}:1: rename it to the name of its directory, one level up"));
        } else if !reached.contains(path.as_str()) {
            problems.push(format!("{path}:1: nothing reaches it: add its `mod` line, or delete it"));
        }
    }
    assert_none(&problems);
}

#[test]
fn every_file_is_named_for_what_it_holds() {
    let problems: Vec<String> = (all_rust().iter())
        .filter(|path| {
            let name = Path::new(path).file_stem().and_then(|name| name.to_str());
            name.is_some_and(|name| EMPTY_NAMES.contains(&name))
        })
        .map(|path| format!("{path}:1: name it for what it holds"))
        .collect();
    assert_none(&problems);
}

#[test]
fn no_file_is_longer_than_the_limit() {
    let problems: Vec<String> = (all_rust().iter())
        .map(|path| (path, read(path).lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| {
            format!("{path}:{lines}: {lines} lines, {LINES_MAX} are allowed: split it by what its parts do")
        })
        .collect();
    assert_none(&problems);
}

#[test]
fn the_walk_sees_the_tree() {
    let (reached, _) = crate_files();
    assert!(reached.len() > 20, "only {} files reached from the roots", reached.len());
    assert!(reached.iter().any(|file| file.module.len() > 1), "no file below the first level");
    assert!(all_rust().contains(&"tests/tidy/tree.rs".to_owned()));
    assert!(reached.iter().any(|file| file.package == "core"), "no file of crates/core");
}
