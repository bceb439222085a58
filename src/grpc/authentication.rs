//! Who calls: by the token in the header `authorization` and nowhere else, or else by the certificate that its
//! connection was opened with.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, header};
use tonic::{Request, Status};

use super::status;
use crate::identity::{Identity, TokenRefused, Verifier};
use crate::limits::Clients;
use crate::store::revoked::RevokedTokens;
use starling_core::id::NodeId;

/// Reads tokens.
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// Whom a token names, at this time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// Why it is not accepted.
    fn authenticate(&self, token: &str, now_ms: u64) -> Result<Arc<Identity>, TokenRefused>;

    /// What is known of a token from a time before, at this time: for a caller whose tokens are not looked at now.
    fn recall(&self, token: &str, now_ms: u64) -> Option<Result<Arc<Identity>, TokenRefused>>;
}

impl Authenticator for Verifier {
    fn authenticate(&self, token: &str, now_ms: u64) -> Result<Arc<Identity>, TokenRefused> {
        self.verify(token, now_ms)
    }

    fn recall(&self, token: &str, now_ms: u64) -> Option<Result<Arc<Identity>, TokenRefused>> {
        Self::recall(self, token, now_ms)
    }
}

/// How callers are told apart.
#[derive(Clone, Debug)]
pub struct Authentication {
    mode: Mode,
    /// Whose tokens are refused although they are good.
    revoked: Option<Arc<RevokedTokens>>,
    /// Limits the tokens that are not accepted.
    clients: Option<Arc<Clients>>,
}

#[derive(Clone, Debug)]
enum Mode {
    /// They are not: everybody is this one.
    Off(Arc<Identity>),
    /// By their tokens.
    Tokens(Arc<dyn Authenticator>),
}

impl Authentication {
    /// Every caller is anybody, but for those whose certificate names them.
    pub fn off() -> Self {
        Self { mode: Mode::Off(Arc::new(Identity::ANYBODY)), revoked: None, clients: None }
    }

    /// Every caller brings a token.
    pub fn by_tokens(authenticator: Arc<dyn Authenticator>) -> Self {
        Self { mode: Mode::Tokens(authenticator), revoked: None, clients: None }
    }

    /// The same, which refuses what was revoked.
    pub(super) fn refusing(self, revoked: Arc<RevokedTokens>) -> Self {
        Self { revoked: Some(revoked), ..self }
    }

    /// The same, which does not look at the tokens of an address of which too many are not accepted.
    pub(super) fn limiting(self, clients: Arc<Clients>) -> Self {
        Self { clients: Some(clients), ..self }
    }

    /// Who sent these headers from an address, over a connection whose client is `certified`; `now` is asked when there
    /// is a token to be read.
    pub(super) fn caller(
        &self,
        headers: &HeaderMap,
        certified: Option<&Arc<Identity>>,
        address: Option<IpAddr>,
        now: impl Fn() -> u64,
    ) -> Result<Arc<Identity>, Status> {
        if let Mode::Tokens(authenticator) = &self.mode {
            match bearer(headers) {
                Ok(Some(token)) => return self.unless_revoked(self.read(&**authenticator, token, address, now())?),
                Ok(None) => {}
                Err(cause) => return Err(invalid(cause)),
            }
        }
        match (certified, &self.mode) {
            // The connection outlives its certificate.
            (Some(certified), _) if certified.expires_at.is_some_and(|at| at <= now()) => Err(status::token_expired()),
            (Some(certified), _) => Ok(Arc::clone(certified)),
            (None, Mode::Off(anybody)) => Ok(Arc::clone(anybody)),
            (None, Mode::Tokens(_)) => Err(status::token_missing()),
        }
    }

    /// Whom a token names that came in a message, from an address. `None` where tokens are not read: nothing changes
    /// then, above all not for whom a certificate names, which ends as it did.
    pub(super) fn renewed(
        &self,
        token: &str,
        address: Option<IpAddr>,
        now: u64,
    ) -> Result<Option<Arc<Identity>>, Status> {
        match &self.mode {
            Mode::Off(_) => Ok(None),
            Mode::Tokens(authenticator) => {
                self.unless_revoked(self.read(&**authenticator, token, address, now)?).map(Some)
            }
        }
    }

    /// Whom a token names. While too many of its address were not accepted, only one that is known.
    fn read(
        &self,
        authenticator: &dyn Authenticator,
        token: &str,
        address: Option<IpAddr>,
        now: u64,
    ) -> Result<Arc<Identity>, Status> {
        let limits = self.clients.as_ref().zip(address);
        let admitted = limits.map_or(Ok(()), |(clients, address)| clients.admit_token(address));
        let outcome = match admitted {
            Ok(()) => authenticator.authenticate(token, now),
            Err(exceeded) => authenticator.recall(token, now).ok_or(exceeded)?,
        };
        outcome.map_err(|refused| {
            if let Some((clients, address)) = limits {
                clients.count_failed_token(address);
            }
            token_refused(&refused)
        })
    }

    fn unless_revoked(&self, identity: Arc<Identity>) -> Result<Arc<Identity>, Status> {
        let token = self.revoked.as_ref().zip(node_token(&identity));
        match token.is_some_and(|(revoked, (node, issued_at))| revoked.refuses(node, issued_at)) {
            true => Err(status::token_revoked()),
            false => Ok(identity),
        }
    }

    /// The token of an identity, to be looked at again for as long as a stream is open that it opened.
    pub(super) fn revocable(&self, identity: &Identity) -> Option<RevocableToken> {
        let (revoked, (node, issued_at)) = self.revoked.clone().zip(node_token(identity))?;
        Some(RevocableToken { revoked, node, issued_at })
    }
}

/// Whose token it is, and when it was issued, in milliseconds since the Unix epoch; `None` = it cannot be revoked.
/// Those of back-ends, which are no nodes, end with their keys.
fn node_token(identity: &Identity) -> Option<(NodeId, u64)> {
    identity.node().zip(identity.issued_at)
}

/// A token that may be revoked while a stream is open.
#[derive(Clone, Debug)]
pub(super) struct RevocableToken {
    revoked: Arc<RevokedTokens>,
    node: NodeId,
    issued_at: u64,
}

impl RevocableToken {
    /// True when it is refused by now. O(1), without a lock while nothing is revoked.
    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.refuses(self.node, self.issued_at)
    }
}

fn token_refused(refused: &TokenRefused) -> Status {
    match refused {
        TokenRefused::Expired => status::token_expired(),
        TokenRefused::NotYetValid => status::token_not_yet_valid(),
        // The cause is for the log: who forges tokens learns nothing from the answer.
        cause => invalid(&cause.to_string()),
    }
}

fn invalid(cause: &str) -> Status {
    tracing::debug!(cause, "refused a token");
    status::token_invalid()
}

/// The token of the header `authorization`, if there is that header; an error when there are several, or it is no
/// bearer token: what was meant is not guessed at.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("several headers `authorization`");
    }
    let value = value.to_str().map_err(|_| "`authorization` is no visible ASCII")?;
    let (scheme, token) = value.split_once(' ').ok_or("`authorization` has no token")?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("`authorization` has another scheme than Bearer");
    }
    match token.trim_matches(' ') {
        "" => Err("`authorization` has an empty token"),
        token => Ok(Some(token)),
    }
}

/// Who sent a request. Without an answer to that nobody did who may anything.
pub(super) fn identity<T>(request: &Request<T>) -> Result<Arc<Identity>, Status> {
    request.extensions().get().cloned().ok_or_else(status::token_missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[&str]) -> Result<Option<String>, ()> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        headers.append("x-token", "Bearer elsewhere".parse().unwrap());
        bearer(&headers).map(|token| token.map(str::to_owned)).map_err(drop)
    }

    #[test]
    fn bearer_token_is_found_in_its_header_alone() {
        assert_eq!(found(&[]), Ok(None));
        for good in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(found(&[good]), Ok(Some("abc".to_owned())), "{good}");
        }
        for bad in ["Bearer", "Bearer ", "Basic abc", "abc", "", "Bearerabc", "Bearer\tabc"] {
            assert_eq!(found(&[bad]), Err(()), "{bad:?}");
        }
        assert_eq!(found(&["Bearer abc", "Bearer abc"]), Err(()), "two headers");
    }

    #[derive(Debug)]
    struct Nobody;

    impl Authenticator for Nobody {
        fn authenticate(&self, _: &str, _: u64) -> Result<Arc<Identity>, TokenRefused> {
            Err(TokenRefused::BadSignature)
        }

        fn recall(&self, _: &str, _: u64) -> Option<Result<Arc<Identity>, TokenRefused>> {
            None
        }
    }

    #[test]
    fn certificate_counts_where_no_token_is_shown() {
        let authentication = Authentication::by_tokens(Arc::new(Nobody));
        let certified = Arc::new(Identity { issued_at: Some(1), ..Identity::ANYBODY });
        let mut headers = HeaderMap::new();
        assert_eq!(authentication.caller(&headers, Some(&certified), None, || 0).unwrap(), certified);
        assert!(authentication.caller(&headers, None, None, || 0).is_err());
        headers.insert(header::AUTHORIZATION, "Bearer forged".parse().unwrap());
        assert!(authentication.caller(&headers, Some(&certified), None, || 0).is_err(), "what is shown is what counts");
        assert_eq!(*Authentication::off().caller(&headers, None, None, || 0).unwrap(), Identity::ANYBODY);
    }

    #[test]
    fn caller_without_identity_is_refused() {
        assert_eq!(identity(&Request::new(())).unwrap_err().code(), tonic::Code::Unauthenticated);
    }
}
