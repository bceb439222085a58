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

/// A file of the crate, reached by `mod` from `src/lib.rs` or `src/main.rs`.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// From the repository's root, with slashes.
    pub(crate) path: String,
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
    for directory in ["src", "tests", "benches", "examples"] {
        all.extend(files(directory, ".rs"));
    }
    all
}

/// The crate, and what is wrong with its `mod` lines.
pub(crate) fn crate_files() -> (Vec<SourceFile>, Vec<String>) {
    let mut found: Vec<SourceFile> = Vec::new();
    let mut problems = Vec::new();
    let existing: BTreeSet<String> = files("src", ".rs").into_iter().collect();
    let mut to_read =
        vec![("src/lib.rs".to_owned(), Vec::new(), false, false), ("src/main.rs".to_owned(), Vec::new(), true, false)];
    while let Some((path, module, program, test)) = to_read.pop() {
        let mut file = SourceFile { program, ..SourceFile::new(&path, &module, &read(&path)) };
        if test {
            file.tokens.iter_mut().for_each(|token| token.test = true);
        }
        for declaration in lexer::declarations(&file.tokens) {
            let below: Vec<String> = module.iter().chain(&declaration.path).cloned().collect();
            let expected = format!("src/{}.rs", below.join("/"));
            if existing.contains(&expected) {
                to_read.push((expected, below, program, declaration.test));
            } else {
                problems.push(format!("{path}:{}: add {expected}, or remove this `mod`", declaration.line));
            }
        }
        found.push(file);
    }
    (found, problems)
}

#[test]
fn every_file_is_reached_by_mod_and_stands_beside_its_directory() {
    let (reached, mut problems) = crate_files();
    let reached: BTreeSet<&str> = reached.iter().map(|file| file.path.as_str()).collect();
    for path in files("src", ".rs") {
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
}
