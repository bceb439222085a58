//! How a command prints what it was asked for.

use std::io::Write;

use serde_json::Value;

use super::error::CliError;
use super::message::Message;
use super::terminal::output;

/// For people, or for programs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Format {
    /// Print JSON, one object per line. Messages of the API are proto3 JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Format {
    /// Prints a message: one line of JSON, or its fields below each other.
    pub(super) fn print<M: prost::Message + prost::Name>(self, message: &M) -> Result<(), CliError> {
        let message = Message::new(message)?;
        if self.json { print_json(&message.json()?) } else { print_text(&message.block()) }
    }

    /// Prints a message under a name: `{"name": ...}`, or its fields on one line.
    pub(super) fn print_line<M: prost::Message + prost::Name>(self, name: &str, message: &M) -> Result<(), CliError> {
        let message = Message::new(message)?;
        if self.json {
            print_json(&serde_json::json!({ name: message.json()? }))
        } else {
            print_text(&format!("{}\n", message.line()))
        }
    }
}

/// Prints one JSON object on a line of its own.
pub(super) fn print_json(value: &Value) -> Result<(), CliError> {
    print_text(&format!("{value}\n"))
}

/// Prints text as it is.
pub(super) fn print_text(text: &str) -> Result<(), CliError> {
    let mut output = output();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}
