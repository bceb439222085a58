//! `starling token keygen`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::authority::Grants;
use crate::cli::error::CliError;
use crate::cli::format::print_text;
use crate::identity::{KeyKind, KeyPair};

#[derive(Debug, clap::Args)]
pub(super) struct Keygen {
    /// What the key is for.
    #[arg(long, value_enum, default_value = "ed25519")]
    alg: Alg,
    /// Id of the key, which tokens name and the files are named for.
    #[arg(long, value_name = "ID", default_value = "dev")]
    kid: String,
    /// Directory for the public key, ID.jwk: the server's identity.keys_dir.
    #[arg(long, value_name = "DIR", default_value = "keys")]
    dir: PathBuf,
    /// File for the private key or the secret, which only its owner may read; ID.key if not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Limits of what tokens of this key may claim.
    #[command(flatten)]
    scope: Grants,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Alg {
    /// EdDSA with Ed25519: short, fast, the one to take.
    Ed25519,
    /// ECDSA with P-256, where Ed25519 is not to be had.
    Es256,
    /// RSA, 3072 bits.
    Rs256,
    /// A secret, which the server has too.
    Hs256,
}

impl Keygen {
    pub(super) fn run(self) -> Result<(), CliError> {
        let Self { alg, kid, dir, out, scope } = self;
        if kid.is_empty() || kid.len() > 128 || kid.starts_with('.') || kid.contains(['/', '\\', '\0']) {
            return Err(CliError("the id of a key is the name of a file: 1 to 128 bytes without / and \\".to_owned()));
        }
        let kind = match alg {
            Alg::Ed25519 => KeyKind::Ed25519,
            Alg::Es256 => KeyKind::Es256,
            Alg::Rs256 => KeyKind::Rs256,
            Alg::Hs256 => KeyKind::Hs256,
        };
        if kind == KeyKind::Hs256 && !scope.is_empty() {
            return Err(CliError("a secret has no scope: --grant and --act-for are for public keys".to_owned()));
        }
        let private = out.unwrap_or_else(|| format!("{kid}.key").into());
        let key = KeyPair::generate(kind)?;
        let Some(mut jwk) = key.public_jwk(&kid) else {
            write(&private, &key.to_text()?, 0o600)?;
            let private = private.display();
            return print_text(&format!(
                "secret: {private} (tokens are issued with it, and the server has it: identity.hs256_secret_file)\n"
            ));
        };
        if !scope.is_empty() {
            jwk["starling"] = scope.claim()?;
        }
        fs::create_dir_all(&dir).map_err(|error| CliError(format!("{}: {error}", dir.display())))?;
        let public = dir.join(format!("{kid}.jwk"));
        write(&private, &key.to_text()?, 0o600)?;
        write(&public, &format!("{jwk:#}\n"), 0o644)?;
        print_text(&format!(
            "private key: {} (tokens are issued with it; it stays there)\npublic key: {} (for the server: identity.keys_dir)\n",
            private.display(),
            public.display()
        ))
    }
}

/// Writes a file that is not there yet: a key that tokens depend on is not replaced by a slip.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CliError(format!("{} is there already, and is not replaced", path.display())),
        _ => CliError(format!("{}: {error}", path.display())),
    })
}
