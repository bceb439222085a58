//! Names: each public type once, and none of the words that this project has given up.

use std::collections::BTreeMap;

use crate::assert_none;
use crate::tree::{SourceFile, all_rust, crate_files, read};

/// Names that mean the same in every module: `config::Config`, `feed::Settings`.
const OF_A_MODULE: &[&str] = &["Config", "Settings", "State", "Error"];

/// Words that were private to this project, and what the field calls the thing. A name holds none of them as a part:
/// `seat_of` and `SeatMap` are refused, `seated` is not.
#[rustfmt::skip]
const GIVEN_UP: &[(&str, &str)] = &[
    ("absorb",    "apply"),
    ("bell",      "a flag, a bit, a Notify or a Waker"),
    ("boarding",  "registration"),
    ("carriage",  "connection"),
    ("crier",     "wake schedule, wake task"),
    ("crowd",     "viewers, connections"),
    ("door",      "command log, listener"),
    ("farewell",  "goodbye"),
    ("hall",      "server"),
    ("heirs",     "ownership"),
    ("hush",      "clear"),
    ("news",      "updates, events"),
    ("pace",      "interval, delivery class"),
    ("passenger", "stream"),
    ("regent",    "owner"),
    ("rewish",    "set interests"),
    ("rouse",     "wake"),
    ("seat",      "slot, subscriber"),
    ("seats",     "slots, subscribers"),
    ("sleeper",   "parked subscriber"),
    ("stage",     "fixture, server"),
    ("ticket",    "handle, permit, request"),
    ("untie",     "detach"),
    ("venue",     "server"),
    ("wish",      "interest, change"),
    ("wishes",    "interests, changes"),
];

/// What a file makes public: (type, line). The client's types are for other programs and may be called like the core's.
fn public_types(file: &SourceFile) -> Vec<(&str, usize)> {
    if file.package == "client" {
        return Vec::new();
    }
    let tokens = &file.tokens;
    let defined = |at: usize| {
        let kind = tokens.get(at + 1)?.text.as_str();
        let name = tokens.get(at + 2).filter(|_| ["struct", "enum", "trait", "union", "type"].contains(&kind))?;
        (tokens[at].text == "pub" && !name.test).then_some((name.text.as_str(), name.line))
    };
    (0..tokens.len()).filter_map(defined).collect()
}

/// The words of a name: `last_words`, `LastWords` and `LAST_WORDS` are `last` and `words`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = '_';
    for c in name.chars() {
        if c != '_' {
            let begins = before == '_' || (c.is_uppercase() && !before.is_uppercase());
            if begins {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(c.to_lowercase());
            }
        }
        before = c;
    }
    words
}

/// Names that hold a word which was given up: (name, line, what to say instead).
fn given_up(file: &SourceFile) -> Vec<(&str, usize, &'static str)> {
    let instead = |name: &str| {
        let words = words(name);
        GIVEN_UP.iter().find(|(word, _)| words.iter().any(|own| own == word)).map(|(_, instead)| *instead)
    };
    let found = |token: &'_ crate::lexer::Token| instead(&token.text).map(|instead| (token.line, instead));
    file.tokens
        .iter()
        .filter_map(|token| found(token).map(|(line, instead)| (token.text.as_str(), line, instead)))
        .collect()
}

#[test]
fn every_public_type_name_is_defined_once() {
    let (files, _) = crate_files();
    let mut defined: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for file in &files {
        for (name, line) in public_types(file) {
            defined.entry(name).or_default().push(format!("{}:{line}", file.path));
        }
    }
    assert!(defined.len() > 100, "only {} public types were found", defined.len());
    let problems: Vec<String> = defined
        .into_iter()
        .filter(|(name, places)| places.len() > 1 && !OF_A_MODULE.contains(name))
        .map(|(name, places)| format!("{}: `{name}` is also defined in {}", places[0], places[1..].join(", ")))
        .collect();
    assert_none(&problems);
}

#[test]
fn no_name_has_a_given_up_word() {
    let files = all_rust().into_iter().filter(|path| path != "tests/tidy/names.rs");
    let mut problems = Vec::new();
    for path in files {
        let file = SourceFile::new(&path, &[], &read(&path));
        for (name, line, instead) in given_up(&file) {
            problems.push(format!("{path}:{line}: `{name}`: say {instead}"));
        }
    }
    assert_none(&problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_types_are_found() {
        let file = SourceFile::new(
            "src/a.rs",
            &[],
            "pub struct A; pub(crate) enum B {} pub type C = A; pub fn d() {} pub use x::E; #[cfg(test)] mod t { pub struct F; }",
        );
        let names: Vec<_> = public_types(&file).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["A", "C"]);
    }

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(words("set_WakeSet"), ["set", "wake", "set"]);
        assert_eq!(words("LAST_SEATS"), ["last", "seats"]);
        assert_eq!(words("__x1"), ["x1"]);
    }

    #[test]
    fn word_is_found_as_part_of_a_name() {
        let found = |text: &str| given_up(&SourceFile::new("src/a.rs", &[], text)).len();
        assert_eq!(found("fn take_seat() {} struct SeatMap; const SEAT: u8 = 0;"), 3);
        assert_eq!(found("fn seated() {} // a seat\n\"seat\"; fn unpaced() {}"), 0);
    }
}
