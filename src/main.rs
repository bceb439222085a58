//! `starling`: see [`starling::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;
use starling::cli::Cli;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::read() {
        Ok(cli) => cli.run().await,
        Err(code) => code,
    }
}
