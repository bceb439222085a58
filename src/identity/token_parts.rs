//! The three parts of a token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json::object;
use super::refused::TokenRefused;

/// The largest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8_192;

/// A token taken apart; nothing of it is proven.
#[derive(Clone, Debug)]
pub struct TokenParts<'a> {
    /// `alg` of its header.
    pub algorithm: String,
    /// `kid` of its header.
    pub key_id: Option<String>,
    /// Its claims, as JSON.
    pub payload: Vec<u8>,
    /// What is signed.
    pub(super) message: &'a str,
    /// The signature, in base64url.
    pub(super) signature: &'a str,
}

/// The members that count. A key in the header, or a place to fetch one from, is nothing to the server.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl<'a> TokenParts<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it is too large, or not three parts of base64url of which the first is a header.
    pub fn of(token: &'a str) -> Result<Self, TokenRefused> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefused::TooLarge);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenRefused::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenRefused::Malformed)?;
        let header = URL_SAFE_NO_PAD.decode(header).ok().and_then(|header| String::from_utf8(header).ok());
        let header = header.and_then(|header| object::<Header>(&header).ok()).filter(|header| header.crit.is_none());
        let Header { alg, kid, crit: _ } = header.ok_or(TokenRefused::Malformed)?;
        // A fourth part would have its dot in here.
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenRefused::Malformed)?;
        Ok(Self { algorithm: alg, key_id: kid, payload, message, signature })
    }
}
