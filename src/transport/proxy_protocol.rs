//! The PROXY protocol, version 2: before anything else, a proxy says who has connected to it.
//!
//! Its preamble is read alone, and not a byte of what follows. Version 1, which is text, is not spoken: it has no
//! length in front, and no command for a proxy's own questions.

use std::io;
use std::net::IpAddr;

use ppp::v2::{Addresses, Header, PROTOCOL_PREFIX, ParseError, Type};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What comes first: a signature, the command, the family of the addresses, and how much follows. In bytes.
const HEAD: usize = 16;

/// The longest preamble, in bytes. Addresses take 232 at most; the rest is for extensions, which are passed over.
const LONGEST: usize = 4 * 1024;

/// Version 2 with the command LOCAL.
const LOCAL: u8 = 0x20;

/// How a preamble of version 1 begins.
const VERSION_1: &[u8] = b"PROXY ";

/// What of an extension comes before its value: its type, and the length. In bytes.
const EXTENSION_HEAD: usize = 3;

/// For whom a proxy has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// For itself, such as to see whether the server lives.
    Itself,
    /// For a client at this address.
    Client(IpAddr),
    /// For a client of which it tells no address of IP.
    Unknown,
}

/// Why a preamble is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum PreambleError {
    /// Nothing came at all.
    #[error("the proxy said nothing")]
    Silent,
    #[error("the proxy does not begin with a preamble of the PROXY protocol, version 2")]
    Missing,
    #[error("the proxy speaks version 1 of the PROXY protocol, and not version 2")]
    Version1,
    #[error("the preamble ends too early")]
    Truncated,
    #[error("the preamble has {0} bytes, and {LONGEST} are allowed")]
    TooLong(usize),
    #[error("the preamble is malformed: {0}")]
    Malformed(#[from] ParseError),
    #[error("the checksum of the preamble is wrong")]
    Checksum,
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// Reads the preamble of a connection.
///
/// # Errors
///
/// When there is none, or it is of no use: the connection cannot go on then.
pub(super) async fn receive(socket: &mut (impl AsyncRead + Unpin)) -> Result<Announced, PreambleError> {
    let mut preamble = vec![0; HEAD];
    let mut come = 0;
    while come < HEAD {
        match socket.read(&mut preamble[come..]).await? {
            0 if come == 0 => return Err(PreambleError::Silent),
            0 => return Err(PreambleError::Truncated),
            read => come += read,
        }
        let begun = &preamble[..come.min(PROTOCOL_PREFIX.len())];
        // At once: who speaks something else may wait for an answer.
        if !PROTOCOL_PREFIX.starts_with(begun) {
            let is_text = begun.starts_with(VERSION_1);
            return Err(if is_text { PreambleError::Version1 } else { PreambleError::Missing });
        }
    }
    let length = HEAD + usize::from(u16::from_be_bytes([preamble[HEAD - 2], preamble[HEAD - 1]]));
    if length > LONGEST {
        return Err(PreambleError::TooLong(length));
    }
    preamble.resize(length, 0);
    socket.read_exact(&mut preamble[HEAD..]).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => PreambleError::Truncated,
        _ => error.into(),
    })?;
    parse(&preamble)
}

/// What a whole preamble says.
fn parse(preamble: &[u8]) -> Result<Announced, PreambleError> {
    // The rest of such a preamble means nothing, its family included, at which `Header` would look.
    if preamble[PROTOCOL_PREFIX.len()] == LOCAL {
        return Ok(Announced::Itself);
    }
    let header = Header::try_from(preamble)?;
    let mut at = HEAD + header.addresses.len();
    for extension in header.tlvs() {
        let extension = extension?;
        at += EXTENSION_HEAD;
        if extension.kind == u8::from(Type::CRC32C) && !is_intact(preamble, at, &extension.value) {
            return Err(PreambleError::Checksum);
        }
        at += extension.value.len();
    }
    Ok(match header.addresses {
        Addresses::IPv4(addresses) => Announced::Client(addresses.source_address.into()),
        Addresses::IPv6(addresses) => Announced::Client(IpAddr::from(addresses.source_address).to_canonical()),
        Addresses::Unspecified | Addresses::Unix(_) => Announced::Unknown,
    })
}

/// Whether `checksum`, which stands at `at`, is that of a preamble which has zeros in its place.
fn is_intact(preamble: &[u8], at: usize, checksum: &[u8]) -> bool {
    let without = |(place, byte): (usize, &u8)| if (at..at + checksum.len()).contains(&place) { 0 } else { *byte };
    checksum == crc32c(preamble.iter().enumerate().map(without)).to_be_bytes()
}

/// CRC-32C (RFC 9260, appendix A), bit by bit: it is seldom there, and bounded in bytes.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let shift = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
    !bytes.fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| shift(crc)))
}

#[cfg(test)]
mod tests;
