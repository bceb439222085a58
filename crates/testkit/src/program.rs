//! Programs that tests start.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// A program with nothing of Starling's settings from the environment of the tests; its output goes to pipes.
pub fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STARLING") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// What a program says on a stream, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
