//! Where tokens come from.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

/// What a [`TokenSource`] answers with, once it has asked whoever issues tokens.
pub type TokenFuture<'a> =
    Pin<Box<dyn Future<Output = Result<String, Box<dyn std::error::Error + Send + Sync>>> + Send + 'a>>;

/// Whoever has tokens to give: an identity provider, for instance. Any `Fn() -> impl Future<Output = Result<String, _>>` is
/// one.
///
/// It is asked for the first call, again when four fifths of the token's time are over, and when a server refuses the
/// token. It is never asked twice at the same time, and has 10 s to answer.
pub trait TokenSource: Send + Sync + 'static {
    /// A token that has just been issued, or the one before if there is no newer one.
    ///
    /// # Errors
    ///
    /// When there is none to be had now: streams ask again for as long as their `Retry` has patience.
    fn token(&self) -> TokenFuture<'_>;
}

impl<F, A, E> TokenSource for F
where
    F: Fn() -> A + Send + Sync + 'static,
    A: Future<Output = Result<String, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn token(&self) -> TokenFuture<'_> {
        let asked = self();
        Box::pin(async move { asked.await.map_err(Into::into) })
    }
}

/// Why there is no token to show. It holds nothing of a token.
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
    /// The source has none.
    #[error("there is no token to be had: {0}")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The source did not answer in time.
    #[error("the source of tokens did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
}
