//! Words that have no place, each with what to write instead; and names of tests that are too long.

use crate::assert_none;
use crate::lexer::matches;
use crate::tree::{SourceFile, all_rust, crate_files, read};

/// Where a ban holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Everywhere,
    /// `tests/`, `benches/`, `examples/`, and what `src/` has under `#[cfg(test)]`.
    Tests,
    /// The layers of [`CLOCKLESS`], their tests excepted. That the core has no clock holds its own clippy.toml.
    Clockless,
    /// The core, its tests excepted.
    Core,
}

/// Layers that are told the time.
const CLOCKLESS: &[&str] = &["feed", "store"];

/// Tokens, where they have no place, and what to do instead.
#[rustfmt::skip]
const BANS: &[(&str, Place, &str)] = &[
    ("todo !",            Place::Everywhere, "finish it, or return an error that says what is missing"),
    ("unimplemented !",   Place::Everywhere, "finish it, or return an error that says what is missing"),
    ("dbg !",             Place::Everywhere, "remove it, or use tracing"),
    ("# [ ignore",        Place::Everywhere, "repair the test, or delete it: nobody runs it"),
    ("fn test_*",         Place::Tests,      "name the behaviour that it proves"),
    ("sleep (",           Place::Tests,      "wait for the event itself, or pause tokio's clock and advance it"),
    ("sleep_until (",     Place::Tests,      "wait for the event itself, or pause tokio's clock and advance it"),
    ("SystemTime :: now", Place::Clockless,  "take the time as an argument"),
    ("Instant :: now",    Place::Clockless,  "take the time as an argument"),
    ("async",             Place::Core,       "the core waits for nothing: return what is to be done"),
    ("await",             Place::Core,       "the core waits for nothing: return what is to be done"),
];

/// A file that may say a banned word: path, tokens as in [`BANS`], reason. One that is no longer
/// needed fails.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("src/shutdown.rs", "sleep (", "a process that is stuck on purpose: the second signal must end it"),
    ("examples/resuming_subscriber.rs", "sleep (", "the wait before it comes back is what it shows"),
];

/// The most words, divided by `_`, in the name of a test: a line of a report is read at a glance.
const NAME_WORDS_MAX: usize = 8;
/// The most characters in it.
const NAME_CHARACTERS_MAX: usize = 60;

/// Whether a path leads into the `src/` of a package.
fn in_sources(path: &str) -> bool {
    match path.strip_prefix("crates/") {
        Some(rest) => rest.split('/').nth(1) == Some("src"),
        None => path.starts_with("src/"),
    }
}

/// What a file says that has no place in it, as (line, tokens, what to do instead).
fn banned(file: &SourceFile) -> Vec<(usize, &'static str, &'static str)> {
    let in_src = in_sources(&file.path);
    let outside = !in_src && !file.path.ends_with("build.rs");
    let layer = if in_src && file.package.is_empty() { file.layer() } else { "" };
    let mut found = Vec::new();
    for (at, token) in file.tokens.iter().enumerate() {
        for &(words, place, instead) in BANS {
            let here = match place {
                Place::Everywhere => true,
                Place::Tests => outside || token.test,
                Place::Clockless => !token.test && CLOCKLESS.contains(&layer),
                Place::Core => !token.test && in_src && file.package == "core",
            };
            let said = match words.split_once("fn ").and_then(|(_, name)| name.strip_suffix('*')) {
                Some(prefix) => {
                    token.text == "fn" && file.tokens.get(at + 1).is_some_and(|name| name.text.starts_with(prefix))
                }
                None => matches(&file.tokens, at, words),
            };
            if here && said {
                found.push((token.line, words, instead));
            }
        }
    }
    found
}

/// Tokens as one writes them.
fn spelled(words: &str) -> String {
    words.replace(" :: ", "::").replace(" !", "!").replace(" (", "(").replace("# [ ", "#[")
}

/// The tests of a file, as (line, name).
fn tests_of(file: &SourceFile) -> Vec<(usize, &str)> {
    let is_test = |at| matches(&file.tokens, at, "# [ test ]") || matches(&file.tokens, at, "# [ tokio :: test");
    (0..file.tokens.len())
        .filter(|at| is_test(*at))
        .filter_map(|at| file.tokens[at..].iter().skip_while(|token| token.text != "fn").nth(1))
        .map(|name| (name.line, name.text.as_str()))
        .collect()
}

fn is_too_long(name: &str) -> bool {
    let words = name.split('_').filter(|word| !word.is_empty()).count();
    words > NAME_WORDS_MAX || name.chars().count() > NAME_CHARACTERS_MAX
}

fn all_files() -> Vec<SourceFile> {
    let (mut all, _) = crate_files();
    let elsewhere = all_rust().into_iter().filter(|path| !in_sources(path));
    all.extend(elsewhere.map(|path| SourceFile::new(&path, &[], &read(&path))));
    all
}

fn is_excepted(path: &str, words: &str) -> bool {
    EXCEPTIONS.iter().any(|&(file, excepted, _)| file == path && excepted == words)
}

#[test]
fn no_banned_word_is_said_without_an_exception() {
    let mut problems = Vec::new();
    for file in all_files() {
        for (line, words, instead) in banned(&file) {
            if !is_excepted(&file.path, words) {
                let word = spelled(words);
                problems.push(format!("{}:{line}: `{word}`: {instead}", file.path));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_exception_is_needed_and_has_a_reason() {
    let files = all_files();
    let problems: Vec<String> = EXCEPTIONS
        .iter()
        .filter(|(path, words, reason)| {
            let needed =
                files.iter().any(|file| file.path == *path && banned(file).iter().any(|said| said.1 == *words));
            !needed || reason.is_empty()
        })
        .map(|(path, words, _)| format!("EXCEPTIONS: {path}, `{words}`: remove it, or give its reason"))
        .collect();
    assert_none(&problems);
}

#[test]
fn no_test_name_is_too_long() {
    let files = all_files();
    let names = || files.iter().flat_map(|file| tests_of(file).into_iter().map(move |name| (file, name)));
    assert!(names().any(|(_, (_, name))| name == "no_test_name_is_too_long"), "the scan finds this test");
    let problems: Vec<String> = names()
        .filter(|(_, (_, name))| is_too_long(name))
        .map(|(file, (line, name))| {
            let limits = format!("at most {NAME_WORDS_MAX} words and {NAME_CHARACTERS_MAX} characters");
            format!("{}:{line}: `{name}`: state the behaviour in {limits}", file.path)
        })
        .collect();
    assert_none(&problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, module: &str, text: &str) -> Vec<&'static str> {
        let module = [module.to_owned()];
        banned(&SourceFile::new(path, &module, text)).into_iter().map(|(_, words, _)| words).collect()
    }

    #[test]
    fn every_ban_finds_its_words() {
        let core = "todo!(); unimplemented!{} dbg! (x); #[ignore = \"\"] SystemTime::now(); std::time::Instant::now; \
                    async fn f() { x.await }";
        let tests = "fn test_this() { thread::sleep(x); tokio::time::sleep_until(y).await; }";
        let mut found = said("crates/core/src/lib.rs", "", core);
        found.extend(said("src/feed.rs", "feed", core));
        found.extend(said("tests/it/join.rs", "", tests));
        for (words, ..) in BANS {
            assert!(found.contains(words), "{words} was not found among {found:?}");
        }
    }

    #[test]
    fn a_ban_holds_in_its_place_only() {
        assert_eq!(said("src/app.rs", "app", "Instant::now(); sleep(x); fn test_x() {} async {}"), [""; 0]);
        assert_eq!(said("tests/it/join.rs", "", "Instant::now(); x.await"), [""; 0]);
        assert_eq!(said("src/feed/ring.rs", "feed", "Instant::now(); f(Instant)"), ["Instant :: now"]);
        assert_eq!(
            said("crates/core/src/lib.rs", "", "#[cfg(test)] mod tests { async fn a() { sleep(x) } }"),
            ["sleep ("]
        );
        assert_eq!(said("tests/it/join.rs", "", "// sleep(x)\n\"todo!()\"; fn tests() {} my_sleep()"), [""; 0]);
    }
    #[test]
    fn long_test_names_are_found() {
        let text = "#[test]\nfn one_two_three_four_five_six_seven_eight() {}\n\
                    #[tokio::test(flavor = \"a\")]\n#[should_panic(expected = \"fn b\")]\n\
                    async fn one_two_three_four_five_six_seven_eight_nine() {}\n\
                    fn a_helper_of_the_tests_may_have_as_many_words_as_it_needs() {}\n\
                    // #[test]\n#[cfg(test)] mod tests { #[test] fn inner() {} }";
        let file = SourceFile::new("tests/it/join.rs", &[], text);
        let found: Vec<_> = tests_of(&file).into_iter().map(|(line, name)| (line, is_too_long(name))).collect();
        assert_eq!(found, [(2, false), (5, true), (8, false)]);
        assert!(!is_too_long(&"a".repeat(60)) && is_too_long(&"a".repeat(61)));
    }
}
