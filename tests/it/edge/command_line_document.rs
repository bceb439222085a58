//! docs/command-line.md names every command and every flag.

use std::path::Path;

use clap::{Arg, CommandFactory};
use starling::cli::Cli;

/// Flags that most commands have: explained once, in the section of what all share.
const SHARED: [&str; 9] = ["server", "ca", "cert", "key", "token", "token-file", "livestream", "group", "json"];

/// What stands between the heading of this name and the next heading of its level.
fn section<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("\n## {name}\n"))?;
    rest.split("\n## ").next()
}

/// Whether a text has the flag, and not only a longer one that begins like it.
fn has_flag(text: &str, flag: &str) -> bool {
    let flag = format!("--{flag}");
    text.match_indices(&flag)
        .any(|(at, _)| !text[at + flag.len()..].starts_with(|next: char| next == '-' || next.is_ascii_alphanumeric()))
}

#[test]
fn every_command_and_flag_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/command-line.md");
    let document = std::fs::read_to_string(path).expect("there is a docs/command-line.md");
    let shared = section(&document, "What all client commands share").unwrap_or_default();
    let missing = SHARED.into_iter().filter(|flag| !has_flag(shared, flag));
    let mut missing: Vec<String> = missing.map(|flag| format!("--{flag} of all commands")).collect();
    // The flags that configure a swarm which `publish` creates are those of `create`.
    let configures = section(&document, "create").unwrap_or_default();
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let Some(section) = section(&document, name) else {
            missing.push(format!("a section `## {name}`"));
            continue;
        };
        let inner = command.get_subcommands().flat_map(clap::Command::get_arguments);
        let flags =
            command.get_arguments().chain(inner).filter_map(Arg::get_long).filter(|flag| !SHARED.contains(flag));
        let untold = flags.filter(|flag| {
            let elsewhere = name == "publish" && has_flag(configures, flag);
            !has_flag(section, flag) && !elsewhere
        });
        missing.extend(untold.map(|flag| format!("--{flag} of {name}")));
    }
    assert!(missing.is_empty(), "docs/command-line.md lacks:\n{}", missing.join("\n"));
}
