//! What a token may do, as flags.

use serde_json::{Map, Value, json};

use crate::cli::error::CliError;
use crate::identity::Authority;

#[derive(Debug, clap::Args)]
pub(super) struct Grants {
    /// What may be done: KIND:IDS:WHAT, such as livestream:7:join,publish=CHAT+DATA or group:*:join,moderate. KIND is
    /// livestream, group or any; IDS is * or ids and ranges joined by +, such as 7+10-20; WHAT is create, join,
    /// moderate, administer and publish=CHANNELS, divided by commas; CHANNELS is * or channels joined by +. Repeatable.
    #[arg(long = "grant", value_name = "GRANT", value_parser = grant)]
    grants: Vec<Value>,
    /// A back-end: it acts for these nodes, * or ids and ranges joined by +.
    #[arg(long, value_name = "IDS")]
    act_for: Option<String>,
}

impl Grants {
    pub(super) const fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.act_for.is_none()
    }

    pub(super) const fn is_back_end(&self) -> bool {
        self.act_for.is_some()
    }

    /// The member `starling` of a token or a key.
    pub(super) fn claim(&self) -> Result<Value, CliError> {
        let mut claim = json!({ "grants": self.grants });
        if let Some(act_for) = &self.act_for {
            claim["act_for"] = list(act_for);
        }
        Authority::parse(&claim.to_string())?;
        Ok(claim)
    }
}

/// KIND:IDS:WHAT, as a member of `grants`.
fn grant(text: &str) -> Result<Value, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let &[kind, ids, what] = parts.as_slice() else {
        return Err("it is KIND:IDS:WHAT, such as livestream:7:join,publish=CHAT".to_owned());
    };
    let mut grant = Map::new();
    let kinds: &[&str] = match kind {
        "livestream" => &["livestreams"],
        "group" => &["groups"],
        "any" => &["livestreams", "groups"],
        _ => return Err(format!("{kind:?} is not livestream, group or any")),
    };
    for kind in kinds {
        grant.insert((*kind).to_owned(), list(ids));
    }
    let (publish, may): (Vec<&str>, Vec<&str>) = what.split(',').partition(|what| what.starts_with("publish="));
    grant.insert("may".to_owned(), may.into());
    match publish.as_slice() {
        [] => {}
        [channels] => drop(grant.insert("publish".to_owned(), list(channels.trim_start_matches("publish=")))),
        _ => return Err("publish= is there twice".to_owned()),
    }
    let grant = Value::Object(grant);
    Authority::parse(&json!({ "grants": [grant] }).to_string()).map_err(|error| reason(&error))?;
    Ok(grant)
}

/// What an error of a parser says, without the place in a text that nobody has written.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// `*`, or a list joined by +.
fn list(text: &str) -> Value {
    if text == "*" { text.into() } else { text.split('+').collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_written_in_one_word() {
        for (text, expected) in [
            ("livestream:7:join", json!({ "livestreams": ["7"], "may": ["join"] })),
            (
                "group:7+10-20:join,publish=AUDIO+CHAT",
                json!({ "groups": ["7", "10-20"], "may": ["join"], "publish": ["AUDIO", "CHAT"] }),
            ),
            ("any:*:publish=*", json!({ "livestreams": "*", "groups": "*", "may": [], "publish": "*" })),
        ] {
            assert_eq!(grant(text), Ok(expected), "{text}");
        }
        for (text, said) in [
            ("livestream", "KIND:IDS:WHAT"),
            ("livestream:7", "KIND:IDS:WHAT"),
            ("swarm:7:join", "livestream, group or any"),
            ("group:0:join", "an id or a range"),
            ("group:7,8:join", "an id or a range"),
            ("group:7:watch", "a right is"),
            ("group:7:publish=chat", "VISUAL"),
            ("group:7:publish=CHAT,publish=DATA", "twice"),
            ("group::join", "an id or a range"),
        ] {
            let refused = grant(text).expect_err(text);
            assert!(refused.contains(said) && !refused.contains(" line "), "{text}: {refused}");
        }
    }
}
