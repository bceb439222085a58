//! `starling`: see [`starling::cli`].

use std::process::ExitCode;

use clap::Parser;
use starling::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
