//! `starling signing-key`: makes and shows the keys by which broadcasters sign their updates.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::format::{Format, print_json, print_text};
use starling_client::{PublicKey, SigningKey, from_hex, to_hex};

#[derive(Debug, clap::Args)]
pub(super) struct SigningKeyFile {
    /// Make a key at random, and the file, which must not be there.
    #[arg(long)]
    new: bool,
    #[command(flatten)]
    format: Format,
    /// The file of the secret key: 64 hexadecimal digits.
    file: PathBuf,
}

impl SigningKeyFile {
    pub(super) fn run(&self) -> Result<(), CliError> {
        if self.new {
            make(&self.file)?;
        }
        let key = read(&self.file)?;
        let (public, node) = (key.public_key(), key.public_key().node_id());
        if self.format.json {
            return print_json(&serde_json::json!({ "publicKey": public.to_string(), "nodeId": node.to_string() }));
        }
        print_text(&format!("public key {public}\nnode {node}\n"))
    }
}

/// Writes a new key, for its owner's eyes only.
fn make(path: &Path) -> Result<(), CliError> {
    let told = |error: std::io::Error| CliError(format!("{}: {error}", path.display()));
    let seed: [u8; 32] = rand::random();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(told)?;
    writeln!(file, "{}", to_hex(&seed)).map_err(told)
}

/// The key in a file.
pub(super) fn read(path: &Path) -> Result<SigningKey, CliError> {
    let text = fs::read_to_string(path).map_err(|error| CliError(format!("{}: {error}", path.display())))?;
    let seed = from_hex(text.trim()).map_err(|error| CliError(format!("{}: {error}", path.display())))?;
    SigningKey::from_seed(&seed).map_err(|error| CliError(format!("{}: the key {error}", path.display())))
}

/// A public key, as one types it.
pub(super) fn public_key(text: &str) -> Result<PublicKey, String> {
    let bytes: [u8; 32] = from_hex(text).map_err(|error| error.to_string())?;
    PublicKey::new(&bytes).map_err(|error| error.to_string())
}
