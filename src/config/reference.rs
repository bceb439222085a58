//! The documentation of every key, read from the comments of `default.toml`, so that there is one text to keep right.

use std::fmt::Write;

/// One key, as documented.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// The path of the key, such as `server.listen`.
    pub key: String,
    /// The variable that sets it, such as `STARLING__SERVER__LISTEN`.
    pub env: String,
    /// Its default, without quotes.
    pub default: String,
    /// What it does, with unit and range.
    pub meaning: String,
}

/// Whether a variable's name claims to be one of ours. In any case, so that one in small letters is refused rather
/// than overlooked.
pub(super) fn is_ours(name: &str) -> bool {
    name.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS))
}

/// Whether a variable is one that Kubernetes gives a pod for a Service called starling, or starling-something: nobody
/// chose its name.
fn is_service_link(name: &str, value: &str) -> bool {
    let ends_with = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let transports = ["_TCP", "_UDP", "_SCTP"];
    ends_with(&["_SERVICE_HOST", "_SERVICE_PORT"])
        || name.contains("_SERVICE_PORT_")
        || transports.iter().any(|transport| {
            ["_PROTO", "_PORT", "_ADDR"].iter().any(|end| {
                name.strip_suffix(end).is_some_and(|name| name.ends_with(transport))
            })
        })
        // STARLING_PORT=tcp://10.0.0.1:50051
        || value.contains("://") && (ends_with(&["_PORT"]) || ends_with(&transports))
}

/// Whether a variable claims to be ours, and nothing knows it.
pub(super) fn is_unknown(name: &str, value: &str, known: &[Reference]) -> bool {
    let known = OF_COMMANDS.contains(&name) || known.iter().any(|known| known.env == name);
    is_ours(name) && !known && !is_service_link(name, value)
}

/// The variable that sets a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// Reads sections, keys and the comments directly above the keys; a blank line ends a comment that belongs to no key.
pub(super) fn parse(toml: &str) -> Vec<Reference> {
    let mut section = "";
    let mut meaning = Vec::new();
    let mut references = Vec::new();
    for line in toml.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            meaning.push(comment.trim());
        } else if let Some((key, default)) = line.split_once(" = ") {
            let key = format!("{section}.{key}");
            references.push(Reference {
                env: variable(&key),
                key,
                default: default.trim_matches('"').to_owned(),
                meaning: meaning.join(" "),
            });
            meaning.clear();
        } else {
            section = line.trim_matches(['[', ']']);
            meaning.clear();
        }
    }
    references
}

/// The keys as a Markdown table.
pub(super) fn table(references: &[Reference]) -> String {
    let mut table = String::from("| key | variable | default | meaning |\n| --- | --- | --- | --- |\n");
    for reference in references {
        let Reference { key, env, default, meaning } = reference;
        let default = if default.is_empty() { "\"\"" } else { default };
        writeln!(table, "| `{key}` | `{env}` | `{default}` | {meaning} |").expect("writing to a string does not fail");
    }
    table
}

/// What every name of ours begins with.
const OURS: &str = "STARLING_";
const PREFIX: &str = "STARLING__";
/// What the other commands read: where the server is, how to connect, and the token that they show it.
const OF_COMMANDS: &[&str] =
    &["STARLING_SERVER", "STARLING_CA", "STARLING_CERT", "STARLING_KEY", "STARLING_TOKEN", "STARLING_TOKEN_FILE"];
