//! `starling token inspect`.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::app;
use crate::cli::error::CliError;
use crate::cli::format::{Format, print_json, print_text};
use crate::cli::shown_token::{Hidden, hidden};
use crate::clock::Clock;
use crate::config::{Config, Overrides, environment};
use crate::identity::{
    Authority, Claims, IdRanges, MAX_TOKEN_BYTES, Nodes, Permission, Right, TokenParts, TokenRefused,
};

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The token; - or nothing reads it from standard input.
    #[arg(value_parser = hidden)]
    token: Option<Hidden>,
    /// Configuration file of the server: whether it would accept the token, and why not. Its variables count too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// Whether a token would be accepted.
enum Verdict {
    Accepted,
    Refused(TokenRefused),
    /// Its signature and its names were not looked at: there is no configuration that has keys.
    Unproven,
}

impl Inspect {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let token = match self.token {
            Some(Hidden(token)) if token != "-" => token,
            Some(_) | None => {
                let mut token = String::new();
                io::stdin().take(MAX_TOKEN_BYTES as u64 * 2).read_to_string(&mut token)?;
                token
            }
        };
        let token = token.trim();
        let now = Clock::system().wall();
        let config = Config::load(self.config.as_deref(), environment(), Overrides::default())?;
        let parts = TokenParts::of(token);
        let claims = parts.as_ref().map_err(|refused| *refused).and_then(|parts| Claims::parse(&parts.payload));
        let verdict = match app::verifier(&config)? {
            Some(verifier) => match verifier.verify(token, now) {
                Ok(_) => Verdict::Accepted,
                Err(refused) => Verdict::Refused(refused),
            },
            None => claims.as_ref().map_or_else(|refused| Verdict::Refused(*refused), |claims| timely(claims, now)),
        };
        let detail = parts.as_ref().ok().and_then(|parts| detail(&parts.payload));
        if self.format.json {
            print_json(&as_json(parts.ok().as_ref(), claims.as_ref().ok(), &verdict, detail))?;
        } else {
            print_text(&as_text(parts.ok().as_ref(), claims.as_ref().ok(), &verdict, detail, now))?;
        }
        Ok(if matches!(verdict, Verdict::Refused(_)) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// What can be said without keys.
fn timely(claims: &Claims, now: u64) -> Verdict {
    let begins = claims.issued_at.max(claims.not_before.unwrap_or(0));
    match now {
        _ if now < begins => Verdict::Refused(TokenRefused::NotYetValid),
        _ if now >= claims.expires_at => Verdict::Refused(TokenRefused::Expired),
        _ => Verdict::Unproven,
    }
}

/// What is wrong with the claim `starling`, where something is.
fn detail(payload: &[u8]) -> Option<String> {
    let payload: Value = serde_json::from_slice(payload).ok()?;
    Authority::parse(&payload.get("starling")?.to_string()).err().map(|error| error.to_string())
}

fn as_json(
    parts: Option<&TokenParts<'_>>,
    claims: Option<&Claims>,
    verdict: &Verdict,
    detail: Option<String>,
) -> Value {
    let (accepted, cause) = match verdict {
        Verdict::Accepted => (Value::Bool(true), None),
        Verdict::Refused(refused) => (Value::Bool(false), Some(refused.to_string())),
        Verdict::Unproven => (Value::Null, None),
    };
    let claims: Option<Value> =
        parts.filter(|_| claims.is_some()).and_then(|parts| serde_json::from_slice(&parts.payload).ok());
    json!({
        "accepted": accepted, "cause": cause, "detail": detail, "claims": claims,
        "alg": parts.map(|parts| &parts.algorithm), "kid": parts.and_then(|parts| parts.key_id.as_ref()),
    })
}

fn as_text(
    parts: Option<&TokenParts<'_>>,
    claims: Option<&Claims>,
    verdict: &Verdict,
    detail: Option<String>,
    now: u64,
) -> String {
    let mut lines = Vec::new();
    if let Some(parts) = parts {
        let id = parts.key_id.as_ref().map_or_else(|| "none is named".to_owned(), |id| format!("{id:?}"));
        lines.push(format!("key:      {id}, {:?}", parts.algorithm));
    }
    if let Some(claims) = claims {
        let who = match &claims.nodes {
            Nodes::One(node) => format!("node {}", node.get()),
            Nodes::Within(nodes) => format!("back-end {:?}, which acts for nodes {}", claims.subject, ids(nodes)),
            Nodes::Any => format!("back-end {:?}, which acts for every node", claims.subject),
        };
        lines.push(format!("who:      {who}"));
        lines.push(format!("issuer:   {:?}", claims.issuer));
        lines.push(format!("audience: {:?}", claims.audience));
        lines.push(format!("issued:   {}", date(claims.issued_at)));
        if let Some(not_before) = claims.not_before {
            lines.push(format!("begins:   {}", date(not_before)));
        }
        let left = claims.expires_at.checked_sub(now).map(|left| Duration::from_secs(left / 1_000));
        let left = left.map_or_else(String::new, |left| format!(", in {}", humantime::format_duration(left)));
        lines.push(format!("expires:  {}{left}", date(claims.expires_at)));
        let may: Vec<_> = claims.authority.permissions.iter().flat_map(permission).collect();
        if may.is_empty() {
            lines.push("may:      nothing".to_owned());
        }
        lines.extend(may.into_iter().map(|may| format!("may:      {may}")));
    }
    lines.push(match verdict {
        Verdict::Accepted => "accepted: yes".to_owned(),
        Verdict::Refused(refused) => format!("accepted: no, {refused}"),
        Verdict::Unproven => "accepted: not known; its signature is looked at with --config of a server whose \
                              identity.mode is \"jwt\""
            .to_owned(),
    });
    lines.extend(detail.map(|detail| format!("          its claim \"starling\": {detail}")));
    lines.join("\n") + "\n"
}

/// A line for each kind of swarm that a permission is about.
fn permission(permission: &Permission) -> Vec<String> {
    let rights =
        Right::ALL.into_iter().filter(|right| permission.rights.contains(*right)).map(|it| it.name().to_owned());
    let channels: Vec<_> = permission.channels.iter().map(|channel| format!("{channel:?}").to_uppercase()).collect();
    let publish = (!channels.is_empty()).then(|| format!("publish {}", channels.join(" ")));
    let what: Vec<String> = rights.chain(publish).collect();
    [("livestreams", &permission.livestreams), ("groups", &permission.groups)]
        .into_iter()
        .filter(|(_, swarms)| !what.is_empty() && swarms.iter().next().is_some())
        .map(|(kind, swarms)| format!("{}, in {kind} {}", what.join(", "), ids(swarms)))
        .collect()
}

fn ids(ids: &IdRanges) -> String {
    if ids.is_all() {
        return "*".to_owned();
    }
    let ranges = ids.iter().map(|range| match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    });
    ranges.collect::<Vec<_>>().join(" ")
}

fn date(millis: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}
