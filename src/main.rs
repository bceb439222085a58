//! `starling`: see [`starling::cli`].

use std::io::{self, Write};
use std::process::ExitCode;

use mimalloc::MiMalloc;
use starling::cli::Cli;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nobody may be there to be told.
            writeln!(io::stderr(), "starling: cannot start threads: {error}").ok();
            return ExitCode::FAILURE;
        }
    };
    let status = runtime.block_on(cli.run());
    // A read of standard input that nobody waits for any more must not hold the process up.
    runtime.shutdown_background();
    status
}
