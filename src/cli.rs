//! The command line.

pub mod annexb;
mod bench;
mod demo;
mod healthcheck;
mod play;
mod publish;
mod serve;
mod tree;
mod watch;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::{Client, ConnectError};

/// Livestream and group swarms over gRPC: target lists, relay trees and update fan-out.
#[derive(Debug, Parser)]
#[command(name = "starling", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default).
    Serve(serve::Serve),
    /// Show it all: real video to 200 viewers and a group call, checked, in this process.
    Demo(demo::Demo),
    /// Publish an H.264 Annex B stream as a livestream. It is resumed after cuts.
    Publish(publish::Publish),
    /// Watch a livestream. It is resumed after cuts.
    Watch(watch::Watch),
    /// Draw the relay tree of a livestream as it is.
    Tree(tree::Tree),
    /// Measure a server: fan-out, beside plain tonic, raw TCP and NATS; idle viewers, joins, watches.
    Bench(bench::Bench),
    /// Ask a server whether it serves; exits with 0 if so.
    Healthcheck(healthcheck::Healthcheck),
}

/// Where the server is.
#[derive(Debug, clap::Args)]
struct Server {
    /// The server's URL.
    #[arg(long = "server", value_name = "URL", env = "STARLING_SERVER", default_value = "http://127.0.0.1:50051")]
    url: String,
}

impl Server {
    async fn connect(&self) -> Result<Client, ConnectError> {
        Client::connect(&self.url).await
    }
}

/// What went wrong, in words for a terminal.
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a status says, without its metadata.
fn told(status: &tonic::Status) -> Failure {
    Failure(format!("the server says {:?}: {}", status.code(), status.message()))
}

impl Cli {
    /// Reads the command line; ends the process where there is nothing to carry out.
    ///
    /// # Errors
    /// When a server cannot be started like that; it was told.
    pub fn read() -> Result<Self, ExitCode> {
        let serves = std::env::args().nth(1).is_none_or(|first| first == "serve" || first.starts_with('-'));
        Self::try_parse().map_err(|error| if serves { serve::misused(&error) } else { error.exit() })
    }

    /// Carries the command out.
    pub async fn run(self) -> ExitCode {
        let outcome = match self.command.unwrap_or(Command::Serve(self.serve)) {
            Command::Serve(serve) => return serve.run().await,
            Command::Demo(demo) => demo.run().await,
            Command::Publish(publish) => publish.run().await,
            Command::Watch(watch) => watch.run().await,
            Command::Tree(tree) => tree.run().await,
            // Its future is large, and nobody measures how it begins.
            Command::Bench(bench) => Box::pin(bench.run()).await,
            Command::Healthcheck(healthcheck) => healthcheck.run().await,
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                // Nobody may be there to be told.
                writeln!(io::stderr(), "starling: {failure}").ok();
                ExitCode::FAILURE
            }
        }
    }
}
