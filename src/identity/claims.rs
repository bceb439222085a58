//! The claims of a token, read strictly.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use starling_core::id::NodeId;

use super::Nodes;
use super::authority::{Authority, parse_id};
use super::json::object;
use super::refused::TokenRefused;

/// Longest name of a back-end, in bytes.
const SUBJECT_BYTES_MAX: usize = 256;
/// The last second of the year 9999: what is later is a slip, such as milliseconds in place of seconds.
const LAST_SECOND: u64 = 253_402_300_799;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who issued it: `iss`.
    pub issuer: String,
    /// For whom it is meant: `aud`.
    pub audience: Vec<String>,
    /// Who it names: `sub`.
    pub subject: String,
    /// As which nodes it may act, by `sub` or `act_for`.
    pub nodes: Nodes,
    /// What it may do: the claim `starling`.
    pub authority: Authority,
    /// When it was issued, in milliseconds since the Unix epoch: `iat`.
    pub issued_at: u64,
    /// From when on it is valid, if it says: `nbf`.
    pub not_before: Option<u64>,
    /// When it expires: `exp`.
    pub expires_at: u64,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    iss: Option<&'a RawValue>,
    #[serde(borrow)]
    aud: Option<&'a RawValue>,
    #[serde(borrow)]
    sub: Option<&'a RawValue>,
    #[serde(borrow)]
    exp: Option<&'a RawValue>,
    #[serde(borrow)]
    iat: Option<&'a RawValue>,
    #[serde(borrow)]
    nbf: Option<&'a RawValue>,
    #[serde(borrow)]
    starling: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// Reads the claims. Members that it does not know are passed over, but for those of the claim `starling`.
    ///
    /// # Errors
    /// When one is missing, of another type or out of its range.
    pub fn parse(payload: &[u8]) -> Result<Self, TokenRefused> {
        let text = str::from_utf8(payload).map_err(|_| TokenRefused::Malformed)?;
        let members: Members<'_> = object(text).map_err(|_| TokenRefused::Malformed)?;
        let issuer = read(required(members.iss, "iss")?, "iss")?;
        let audience = match read(required(members.aud, "aud")?, "aud")? {
            Audience::One(audience) => vec![audience],
            Audience::Several(audience) => audience,
        };
        let subject: String = read(required(members.sub, "sub")?, "sub")?;
        let expires_at = date(required(members.exp, "exp")?, "exp")?;
        let issued_at = date(required(members.iat, "iat")?, "iat")?;
        let not_before = members.nbf.map(|nbf| date(nbf, "nbf")).transpose()?;
        let authority = members.starling.map(|claim| Authority::parse(claim.get())).transpose();
        let authority = authority.map_err(|_| TokenRefused::InvalidClaim("starling"))?.unwrap_or_default();
        let nodes = match &authority.act_for {
            None => parse_id(&subject).and_then(NodeId::new).map(Nodes::One),
            Some(_) if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX => None,
            Some(nodes) if nodes.is_all() => Some(Nodes::Any),
            Some(nodes) => Some(Nodes::Within(nodes.clone())),
        };
        let nodes = nodes.ok_or(TokenRefused::InvalidClaim("sub"))?;
        if expires_at <= issued_at {
            return Err(TokenRefused::InvalidClaim("exp"));
        }
        Ok(Self { issuer, audience, subject, nodes, authority, issued_at, not_before, expires_at })
    }
}

fn required<'a>(claim: Option<&'a RawValue>, name: &'static str) -> Result<&'a RawValue, TokenRefused> {
    claim.ok_or(TokenRefused::MissingClaim(name))
}

fn read<'a, T: Deserialize<'a>>(claim: &'a RawValue, name: &'static str) -> Result<T, TokenRefused> {
    serde_json::from_str(claim.get()).map_err(|_| TokenRefused::InvalidClaim(name))
}

/// A date, in milliseconds since the Unix epoch. In JSON it is a number of seconds, perhaps with a fraction.
fn date(claim: &RawValue, name: &'static str) -> Result<u64, TokenRefused> {
    let seconds: f64 = read(claim, name)?;
    let since_epoch = Duration::try_from_secs_f64(seconds).ok().filter(|it| it.as_secs() <= LAST_SECOND);
    since_epoch.and_then(|it| u64::try_from(it.as_millis()).ok()).ok_or(TokenRefused::InvalidClaim(name))
}
