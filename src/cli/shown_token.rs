//! The token that a command shows the server.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;

use super::error::CliError;
use starling_client::BearerToken;

#[derive(Debug, clap::Args)]
pub(super) struct ShownToken {
    /// Token that is shown to the server. Others on this machine see command lines: the variable and a file are safer.
    #[arg(long, value_name = "TOKEN", env = "STARLING_TOKEN", hide_env_values = true, value_parser = hidden)]
    #[arg(conflicts_with = "token_file")]
    token: Option<Hidden>,
    /// File with that token, read again for each call and when the token nears its end.
    #[arg(long, value_name = "FILE", env = "STARLING_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// Text that no message tells.
#[derive(Clone)]
pub(super) struct Hidden(pub(super) String);

/// Never fails: clap would tell the text with the reason.
#[expect(clippy::unnecessary_wraps, reason = "clap wants it so")]
pub(super) fn hidden(text: &str) -> Result<Hidden, Infallible> {
    Ok(Hidden(text.to_owned()))
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl ShownToken {
    pub(super) fn read(&self) -> Result<BearerToken, CliError> {
        match (&self.token, &self.token_file) {
            (Some(Hidden(token)), _) => Ok(BearerToken::new(token)?),
            (None, Some(file)) => Ok(BearerToken::from_file(file)?),
            (None, None) => Ok(BearerToken::none()),
        }
    }
}
