//! `starling`: see [`starling::cli`].

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use starling::cli::Cli;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
