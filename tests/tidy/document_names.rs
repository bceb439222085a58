//! The names that documents give to things are those of the code.

use std::collections::BTreeSet;

use crate::assert_none;
use crate::documents::prose;
use crate::tree::{all_rust, files, read};

/// Documents for those who read the code.
const DOCUMENTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/design.md", "docs/glossary.md"];

/// Names of things that do not exist, each with the reason why a document has it.
const ABSENT: &[(&str, &str, &str)] =
    &[("docs/adr/0014-two-services.md", "SwarmService", "the shared service that was considered and not made")];

/// Everything that is a word in the code, the schema, the settings and the scripts.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut all = all_rust();
    all.extend(files("proto", ".proto"));
    all.extend(files("src", ".toml"));
    all.extend(files("helm", ".yaml"));
    all.extend(["Cargo.toml", "clippy.toml", "crates/core/clippy.toml", ".ci/run"].map(str::to_owned));
    for path in all {
        known.extend(words(&read(&path)).map(str::to_owned));
    }
    known
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// The parts of a span of code that is a name: `a::B`, `a.b`, `CamelCase`, `snake_case`, with or without `()`.
fn name_parts(span: &str) -> Option<Vec<&str>> {
    let name = span.strip_suffix("()").unwrap_or(span);
    let parts: Vec<&str> = name.split("::").flat_map(|part| part.split('.')).collect();
    let is_word = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let is_camel = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_uppercase()) && part.contains(|c: char| c.is_ascii_lowercase())
    };
    // A plain word between backticks may be anything: a value, a command.
    let is_name = parts.len() > 1 || name.contains('_') || parts.iter().any(is_camel);
    (is_name && parts.iter().all(is_word)).then_some(parts)
}

/// The names in a document that nothing has: (line, name).
fn unknown(text: &str, known: &BTreeSet<String>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose(text) {
        for span in text.split('`').skip(1).step_by(2) {
            let parts = name_parts(span).unwrap_or_default();
            // A file is not a name: the test of links looks for it.
            let is_file = parts.last().is_some_and(|last| ["rs", "md", "toml", "proto", "yaml", "json"].contains(last));
            if !is_file && parts.iter().any(|part| !known.contains(*part)) {
                found.push((line, span.to_owned()));
            }
        }
    }
    found
}

#[test]
fn every_name_in_a_document_exists() {
    let known = known();
    let mut documents: Vec<String> = DOCUMENTS.iter().map(|path| (*path).to_owned()).collect();
    documents.extend(files("docs/adr", ".md"));
    let mut problems = Vec::new();
    for path in &documents {
        for (line, name) in unknown(&read(path), &known) {
            if !ABSENT.iter().any(|(in_path, absent, _)| in_path == path && *absent == name) {
                problems.push(format!("{path}:{line}: `{name}`: nothing is called so"));
            }
        }
    }
    assert_none(&problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_spans() {
        assert_eq!(name_parts("Cursor::read"), Some(vec!["Cursor", "read"]));
        assert_eq!(name_parts("max_lag"), Some(vec!["max_lag"]));
        assert_eq!(name_parts("sleep_until()"), Some(vec!["sleep_until"]));
        for other in ["cargo test --lib", "now", "src/feed/ring.rs", "--json", "VISUAL", "a + B::c"] {
            assert_eq!(name_parts(other), None, "{other}");
        }
    }

    #[test]
    fn unknown_name_is_found_with_its_line() {
        let known = ["Cursor", "read", "max_lag"].map(str::to_owned).into();
        let text = "`Cursor::read` and `max_lag`\n\n```\n`NotHere`\n```\n`Cursor::write`, `cursor.rs`, `Gone`\n";
        let expected = [(6, "Cursor::write".to_owned()), (6, "Gone".to_owned())];
        assert_eq!(unknown(text, &known), expected);
    }
}
