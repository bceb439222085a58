//! `starling token`: keys and tokens, without a server.

mod authority;
mod inspect;
mod keygen;
mod mint;

use std::process::ExitCode;

use super::error::CliError;

#[derive(Debug, clap::Args)]
pub(super) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key: the private one for whoever issues tokens, the public one for the server.
    Keygen(keygen::Keygen),
    /// Print a token, signed by a private key or a secret.
    Mint(mint::Mint),
    /// Say whom a token names, what it may do and until when; exits with 1 where it would not be accepted.
    Inspect(inspect::Inspect),
}

impl Token {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        match self.command {
            Command::Keygen(keygen) => keygen.run().map(|()| ExitCode::SUCCESS),
            Command::Mint(mint) => mint.run().map(|()| ExitCode::SUCCESS),
            Command::Inspect(inspect) => inspect.run(),
        }
    }
}
