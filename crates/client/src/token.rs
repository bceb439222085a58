//! The token that says who calls.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A connection whose calls show a token.
pub type TokenChannel = InterceptedService<Channel, BearerToken>;

/// A bearer token, which each call shows in its metadata (`authorization: Bearer ...`). Clones share it, so that one that
/// nears its end can be replaced while streams are open: calls that begin later show the new one, also those that open a
/// stream again.
///
/// Its `Debug` does not tell it, and HTTP/2 keeps it out of the tables of header compression.
#[derive(Clone)]
pub struct BearerToken(Arc<Source>);

struct Source {
    /// What calls show; `None` = nothing.
    value: RwLock<Option<MetadataValue<Ascii>>>,
    /// A file that is read for each call.
    file: Option<PathBuf>,
}

/// Why a token cannot be shown. It holds nothing of the token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It has other bytes than a header may have.
    #[error("the token is empty, or is no visible ASCII text without spaces")]
    Malformed,
    /// Its file cannot be read.
    #[error("the token's file {} cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl BearerToken {
    /// No token, until one is set.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(Source { value: RwLock::new(None), file: None }))
    }

    /// This token.
    ///
    /// # Errors
    ///
    /// When it is no visible ASCII text.
    pub fn new(token: &str) -> Result<Self, TokenError> {
        let value = RwLock::new(Some(header(token)?));
        Ok(Self(Arc::new(Source { value, file: None })))
    }

    /// The token in a file, which is read again for each call. While it cannot be read, the one before is shown.
    ///
    /// # Errors
    ///
    /// When it cannot be read now, or is no token.
    pub fn from_file(file: &Path) -> Result<Self, TokenError> {
        let value = RwLock::new(Some(read(file)?));
        Ok(Self(Arc::new(Source { value, file: Some(file.to_owned()) })))
    }

    /// Shows another token from now on.
    ///
    /// # Errors
    ///
    /// When it is no visible ASCII text; the one before stays.
    pub fn set(&self, token: &str) -> Result<(), TokenError> {
        self.replace(header(token)?);
        Ok(())
    }

    /// A connection whose calls show it: for services that [`Client`](crate::Client) does not know.
    #[must_use]
    pub fn over(&self, channel: Channel) -> TokenChannel {
        InterceptedService::new(channel, self.clone())
    }

    fn replace(&self, value: MetadataValue<Ascii>) {
        *self.0.value.write().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// What a call that begins now shows.
    fn shown(&self) -> Option<MetadataValue<Ascii>> {
        if let Some(file) = &self.0.file {
            match read(file) {
                Ok(value) => self.replace(value),
                Err(error) => tracing::warn!(%error, "the token before is shown"),
            }
        }
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Interceptor for BearerToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = self.shown() {
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken").field("file", &self.0.file).finish_non_exhaustive()
    }
}

fn read(file: &Path) -> Result<MetadataValue<Ascii>, TokenError> {
    let text = fs::read_to_string(file).map_err(|source| TokenError::Unreadable { file: file.to_owned(), source })?;
    header(text.trim())
}

fn header(token: &str) -> Result<MetadataValue<Ascii>, TokenError> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Malformed);
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| TokenError::Malformed)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(token: &BearerToken) -> Option<String> {
        let request = token.clone().call(Request::new(())).unwrap();
        request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn replaced_token_is_shown_by_every_clone() {
        let token = BearerToken::none();
        let clone = token.clone();
        assert_eq!(shown(&clone), None);
        token.set("a.b.c").unwrap();
        assert_eq!(shown(&clone).as_deref(), Some("Bearer a.b.c"));
        for bad in ["", "a b", "a\n", "a\u{e9}"] {
            assert!(token.set(bad).is_err(), "{bad:?}");
        }
        assert_eq!(shown(&clone).as_deref(), Some("Bearer a.b.c"), "a token at fault changes nothing");
        assert!(!format!("{token:?}").contains("a.b.c"));
    }

    #[test]
    fn token_file_is_read_for_each_call() {
        let file = std::env::temp_dir().join(format!("starling-token-{}", std::process::id()));
        fs::write(&file, "one\n").unwrap();
        let token = BearerToken::from_file(&file).unwrap();
        assert_eq!(shown(&token).as_deref(), Some("Bearer one"));
        fs::write(&file, "two\n").unwrap();
        assert_eq!(shown(&token).as_deref(), Some("Bearer two"));
        fs::remove_file(&file).unwrap();
        assert_eq!(shown(&token).as_deref(), Some("Bearer two"), "the one before");
        assert!(BearerToken::from_file(&file).is_err());
    }
}
