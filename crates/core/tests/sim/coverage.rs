//! Which commands, events and refusals a run came across: a simulation that never
//! gets anywhere proves nothing.

use std::collections::BTreeMap;

use starling_core::{Applied, Command, Rejection};

/// How often each thing happened, by its name in the code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    /// Accepted commands.
    pub(crate) accepted: BTreeMap<String, u64>,
    /// Refusals.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Events.
    pub(crate) events: BTreeMap<String, u64>,
    /// The most members at one time.
    pub(crate) peak: u64,
}

impl Coverage {
    /// Counts a command and what it came to.
    pub(crate) fn see(&mut self, command: &Command, result: &Result<Applied, Rejection>) {
        match result {
            Ok(applied) => {
                count(&mut self.accepted, command);
                applied.events.iter().for_each(|event| count(&mut self.events, event));
            }
            Err(rejection) => count(&mut self.refused, rejection),
        }
    }

    /// Adds another run's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        self.peak = self.peak.max(other.peak);
        let pairs = [
            (&mut self.accepted, &other.accepted),
            (&mut self.refused, &other.refused),
            (&mut self.events, &other.events),
        ];
        for (mine, theirs) in pairs {
            theirs.iter().for_each(|(name, times)| *mine.entry(name.clone()).or_default() += times);
        }
    }

    /// Panics unless each of these names was seen: commands that were accepted,
    /// refusals, events.
    pub(crate) fn assert_saw(&self, names: &str) {
        let seen = [&self.accepted, &self.refused, &self.events];
        let missed = names.split_whitespace().filter(|name| !seen.iter().any(|seen| seen.contains_key(*name)));
        let missed: Vec<&str> = missed.collect();
        assert!(missed.is_empty(), "never seen: {missed:?} in {self:#?}");
    }
}

fn count(seen: &mut BTreeMap<String, u64>, thing: &impl std::fmt::Debug) {
    // The names are at the start of the Debug form; the rest is not worth printing.
    let mut names = Names(String::new());
    // An error only says that the names are complete.
    let _complete = std::fmt::write(&mut names, format_args!("{thing:?}"));
    let mut count = |name: String| *seen.entry(name).or_default() += 1;
    match names.0.split('(').collect::<Vec<_>>()[..] {
        ["Shared", name, ..] => count(name.to_owned()),
        [kind @ ("Livestream" | "Group"), name, ..] => {
            count(name.to_owned());
            count(format!("{kind}{name}"));
        }
        [name, ..] => count(name.to_owned()),
        [] => {}
    }
}

/// Takes letters and opening brackets until something else comes, and then no more.
struct Names(String);

impl std::fmt::Write for Names {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let names = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '(').unwrap_or(text.len());
        self.0.push_str(&text[..names]);
        if names == text.len() { Ok(()) } else { Err(std::fmt::Error) }
    }
}
