//! Documents that must say what the code says.

use crate::assert_none;
use crate::lexer::{matches, strip, tokens};
use crate::tree::{files, read};

/// A name, and the line that has it.
type Found = (String, usize);

/// The rpcs of each service of a .proto file.
fn services(proto: &str) -> Vec<(String, Vec<Found>)> {
    // Comments and strings are those of Rust, as far as they go here.
    let tokens = tokens(&strip(proto));
    let mut services: Vec<(String, Vec<Found>)> = Vec::new();
    for (at, name) in tokens.iter().enumerate().skip(1) {
        if matches(&tokens, at - 1, "service") && matches(&tokens, at + 1, "{") {
            services.push((name.text.clone(), Vec::new()));
        } else if matches(&tokens, at - 1, "rpc")
            && matches(&tokens, at + 1, "(")
            && let Some((_, rpcs)) = services.last_mut()
        {
            rpcs.push((name.text.clone(), name.line));
        }
    }
    services
}

/// The lines of a Markdown text that are not in a fenced block, with their numbers.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The level of a heading; 0 for other lines.
pub(crate) fn heading_level(line: &str) -> usize {
    let hashes = line.bytes().take_while(|&byte| byte == b'#').count();
    if line[hashes..].starts_with(' ') { hashes } else { 0 }
}

/// The RPCs in the table rows of the sections whose heading has the service's name. A row's first
/// cell is the RPC's name between backticks.
fn listed(readme: &str, service: &str) -> Vec<Found> {
    let mut rpcs = Vec::new();
    let mut section = None;
    for (number, line) in prose(readme) {
        let level = heading_level(line);
        if level > 0 && line.contains(service) {
            section = Some(level);
        } else if level > 0 && section.is_some_and(|outer| level <= outer) {
            section = None;
        }
        let cell = line.trim_start().strip_prefix('|').and_then(|row| row.split('|').next());
        let name = cell.and_then(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`'));
        if let (Some(_), Some(name)) = (section, name)
            && is_rpc_name(name)
        {
            rpcs.push((name.to_owned(), number));
        }
    }
    rpcs
}

/// `LikeThis`: tables of fields and of reasons may stand in the same section.
fn is_rpc_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
        && name.contains(|c: char| c.is_ascii_lowercase())
}

/// The newest version that a changelog has, and its line.
fn newest_version(changelog: &str) -> Option<Found> {
    prose(changelog).find_map(|(number, line)| {
        let rest = line.strip_prefix("## ")?.trim_start_matches('[');
        let version: String = rest.chars().take_while(|c| !c.is_whitespace() && *c != ']').collect();
        version.starts_with(|c: char| c.is_ascii_digit()).then_some((version, number))
    })
}

/// The value of a key in a table of the manifest.
fn manifest_value(manifest: &str, table: &str, key: &str) -> Option<String> {
    let rows = manifest.split(&format!("[{table}]\n")).nth(1)?.split("\n[").next()?;
    rows.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// Whether a version stands in the text on its own, not as a part of a longer one.
fn mentions(text: &str, version: &str) -> bool {
    let in_version = |c: char| c.is_ascii_digit();
    text.match_indices(version).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + version.len()..]);
        !before.ends_with(|c| in_version(c) || c == '.') && !after.starts_with(in_version)
    })
}

#[test]
fn list_of_calls_matches_the_schema() {
    let calls = read("docs/api.md");
    let mut problems = Vec::new();
    let mut seen = Vec::new();
    // What servers tell each other is not for clients.
    let protos = files("proto/starling", ".proto").into_iter().filter(|proto| !proto.contains("/peer/"));
    for proto in protos {
        for (service, rpcs) in services(&read(&proto)) {
            let listed = listed(&calls, &service);
            if listed.is_empty() {
                problems.push(format!(
                    "docs/api.md:1: add a section headed `{service}` with a table of its RPCs (\"| `Name` | kind | ...\")"
                ));
                continue;
            }
            for (rpc, line) in &rpcs {
                if !listed.iter().any(|(name, _)| name == rpc) {
                    problems.push(format!(
                        "{proto}:{line}: docs/api.md does not list `{rpc}` under {service}: add its row"
                    ));
                }
            }
            for (at, (rpc, line)) in listed.iter().enumerate() {
                if !rpcs.iter().any(|(name, _)| name == rpc) {
                    problems.push(format!(
                        "docs/api.md:{line}: {service} has no `{rpc}`: remove the row, or correct the name"
                    ));
                } else if listed[..at].iter().any(|(name, _)| name == rpc) {
                    problems.push(format!("docs/api.md:{line}: `{rpc}` is listed twice: remove a row"));
                }
            }
            seen.push(service);
        }
    }
    assert_none(&problems);
    assert_eq!(seen, ["GroupService", "LivestreamService", "ServerService"], "the services found under proto/");
}

#[test]
fn changelog_begins_with_the_manifest_version() {
    let version = manifest_value(&read("Cargo.toml"), "package", "version").expect("Cargo.toml: no version");
    let (newest, line) = newest_version(&read("CHANGELOG.md")).expect("CHANGELOG.md: no heading like \"## [1.2.3]\"");
    assert_eq!(newest, version, "CHANGELOG.md:{line}: make it and Cargo.toml's `version` agree");
}

#[test]
fn the_readme_names_the_rust_version() {
    let version =
        manifest_value(&read("Cargo.toml"), "workspace.package", "rust-version").expect("Cargo.toml: no rust-version");
    assert!(mentions(&read("README.md"), &version), "README.md:1: say that Rust {version} or newer is needed");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[Found]) -> Vec<(&str, usize)> {
        found.iter().map(|(name, line)| (name.as_str(), *line)).collect()
    }

    #[test]
    fn rpcs_are_found_by_service() {
        let found = services(
            "// rpc No(No)\nservice A {\n  rpc B(C) returns (stream D) { option x = \"rpc E(F)\"; }\n  rpc\n  G (H) returns (I);\n}\n\
             message M { string rpc = 1; string service = 2; }\nservice J { }",
        );
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].0.as_str(), names(&found[0].1)), ("A", vec![("B", 3), ("G", 5)]));
        assert_eq!((found[1].0.as_str(), names(&found[1].1)), ("J", vec![]));
    }

    #[test]
    fn rows_are_found_in_their_service_sections() {
        let readme = "## The AService\n| RPC | kind |\n| --- | --- |\n| `GetIt` | unary |\n```sh\n# no heading\n| `Not` |\n```\n\
                      ### Fields\n| `STALE_TERM` | no |\n| `field` | no |\n| `WatchIt` and | no |\n|`WatchIt`| stream |\n## Other\n| `Else` |\n";
        assert_eq!(names(&listed(readme, "AService")), [("GetIt", 4), ("WatchIt", 13)]);
        assert_eq!(names(&listed(readme, "BService")), []);
    }

    #[test]
    fn newest_version_is_the_first_with_a_number() {
        for text in
            ["# Log\n\n## [Unreleased]\n## [1.2.3] - 2025-01-01\n## [1.2.2]", "# Log\n\n\n## 1.2.3 (today)\n## 1.2.4"]
        {
            assert_eq!(newest_version(text), Some(("1.2.3".to_owned(), 4)), "{text}");
        }
        assert_eq!(newest_version("# 1.2.3\n## Unreleased"), None);
    }

    #[test]
    fn values_are_those_of_the_table() {
        let manifest = "[dependencies.x]\nversion = \"9\"\n[package]\nrust-version = \"1.89\"\nversion = \"0.1.0\"\n[lib]\nname = \"y\"\n";
        assert_eq!(manifest_value(manifest, "package", "version").as_deref(), Some("0.1.0"));
        assert_eq!(manifest_value(manifest, "package", "rust-version").as_deref(), Some("1.89"));
        assert_eq!(manifest_value(manifest, "package", "name"), None);
    }

    #[test]
    fn a_version_inside_another_is_no_mention() {
        assert!(mentions("needs Rust 1.89.", "1.89") && mentions("(1.89)", "1.89"));
        assert!(!mentions("1.890, 11.89, 0.1.89", "1.89"));
    }
}
