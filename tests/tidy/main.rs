//! What must hold for the tree of sources itself: who may use whom, no dead files, nothing too
//! long, no words that have no place, short names of tests, documents that agree with the code.
//!
//! The table of layers is in `layers.rs`, and the bans with their exceptions are in `words.rs`.
//! Those two are meant to be edited; the rest reads the sources.

mod circles;
mod counted;
mod dependencies;
mod document_names;
mod documents;
mod layers;
mod lexer;
mod links;
mod names;
mod tree;
mod words;

/// Fails with every problem at once: one run, one list to work off.
#[track_caller]
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problem(s):\n{}", problems.len(), problems.join("\n"));
}
