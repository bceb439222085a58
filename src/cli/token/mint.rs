//! `starling token mint`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::authority::Grants;
use crate::cli::error::CliError;
use crate::cli::format::print_text;
use crate::clock::Clock;
use crate::identity::{Claims, KeyPair, MAX_TOKEN_BYTES};

#[derive(Debug, clap::Args)]
pub(super) struct Mint {
    /// File with the private key in PEM, or the secret.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Id of the key; the name of its file without extension if not given.
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
    /// The node that the token names, a number; with --act-for any name of a back-end.
    #[arg(long, value_name = "NODE")]
    sub: String,
    /// Issuer: the server's identity.issuer.
    #[arg(long, value_name = "ISSUER")]
    iss: String,
    /// Audience: the server's identity.audience.
    #[arg(long, value_name = "AUDIENCE")]
    aud: String,
    /// Time until the token expires.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    #[command(flatten)]
    grants: Grants,
}

impl Mint {
    pub(super) fn run(self) -> Result<(), CliError> {
        let Self { key: file, kid, sub, iss, aud, ttl, grants } = self;
        let content = std::fs::read(&file).map_err(|error| CliError(format!("{}: {error}", file.display())))?;
        let key = KeyPair::read(&content).map_err(|error| CliError(format!("{}: {error}", file.display())))?;
        let kid = kid.or_else(|| file.file_stem()?.to_str().map(str::to_owned));
        let now = Clock::system().wall() / 1_000;
        let claims = json!({
            "iss": iss, "aud": aud, "sub": sub, "iat": now, "exp": now.saturating_add(ttl.as_secs()),
            "starling": grants.claim()?,
        });
        Claims::parse(claims.to_string().as_bytes()).map_err(|refused| {
            let hint =
                if grants.is_back_end() { "" } else { " (sub is the id of a node, unless --act-for makes a back-end)" };
            CliError(format!("such a token would be refused: {refused}{hint}"))
        })?;
        let token = key.sign(kid.as_deref(), &claims)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(CliError(format!("such a token would be refused: it has more than {MAX_TOKEN_BYTES} bytes")));
        }
        print_text(&format!("{token}\n"))
    }
}
