//! The command line.

pub mod annexb;
mod audio;
mod chat;
mod cluster;
mod completions;
mod create;
mod demo;
mod end;
mod error;
mod events;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod get;
mod healthcheck;
mod interrupt;
mod list;
mod media;
mod message;
mod publish;
mod roster;
mod selector;
mod serve;
mod server;
mod settings;
mod shown_token;
mod signing_key;
mod stats;
mod terminal;
mod token;
mod tree;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::error::CliError;
use self::terminal::remark;
use crate::config::{Config, environment};

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
    /// Publish H.264 video, and sound beside it, in a livestream or a group. Resumed after cuts.
    Publish(Box<publish::Publish>),
    /// Watch a livestream or a group. Resumed after cuts.
    Watch(watch::Watch),
    /// Write to the chat of a swarm, and read it. Resumed after cuts.
    Chat(chat::Chat),
    /// List the livestreams and groups, or the members of one.
    List(list::List),
    /// Show a livestream or a group.
    Get(get::Get),
    /// Show the figures of a livestream or a group.
    Stats(stats::Stats),
    /// Follow what happens, in one swarm or in the set of all. Resumed after cuts.
    Events(events::Events),
    /// Draw the relay tree of a livestream, or the mesh of a group, as it is.
    Tree(tree::Tree),
    /// Create a livestream or a group.
    Create(Box<create::Create>),
    /// End a livestream or a group for good.
    End(end::End),
    /// Make keys and tokens, and say what a token may do and why it is not accepted.
    Token(token::Token),
    /// Show how the servers do that share one log, and have them go over to a newer form of it.
    Cluster(cluster::Cluster),
    /// Ask a server whether it serves; exits with 0 if so.
    Healthcheck(healthcheck::Healthcheck),
    /// Make or show a key by which a broadcaster signs its updates.
    SigningKey(signing_key::SigningKeyFile),
    /// Print the completions of a shell: `starling completions bash > /etc/bash_completion.d/starling`.
    Completions(completions::Completions),
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
        // Its future holds the largest of all commands'.
        match Box::pin(self.carry_out()).await {
            Ok(status) => status,
            Err(failure) => {
                remark!("starling: {failure}");
                ExitCode::FAILURE
            }
        }
    }

    async fn carry_out(self) -> Result<ExitCode, CliError> {
        let command = self.command.unwrap_or(Command::Serve(self.serve));
        // `serve` reports them with the other faults of its configuration.
        if !matches!(command, Command::Serve(_)) {
            Config::check_variables(&environment())?;
        }
        let outcome = match command {
            Command::Publish(publish) => return Box::pin(publish.run()).await,
            Command::Watch(watch) => return Box::pin(watch.run()).await,
            Command::Chat(chat) => return chat.run().await,
            Command::Events(events) => return events.run().await,
            Command::Serve(serve) => return Ok(Box::pin(serve.run()).await),
            Command::Token(token) => return token.run(),
            Command::Demo(demo) => Box::pin(demo.run()).await,
            Command::List(list) => list.run().await,
            Command::Get(get) => get.run().await,
            Command::Stats(stats) => stats.run().await,
            Command::Tree(tree) => tree.run().await,
            Command::Create(create) => create.run().await,
            Command::End(end) => end.run().await,
            Command::Cluster(cluster) => cluster.run().await,
            Command::Healthcheck(healthcheck) => healthcheck.run().await,
            Command::SigningKey(key) => key.run(),
            Command::Completions(completions) => completions.run(),
        };
        outcome.map(|()| ExitCode::SUCCESS)
    }
}
