//! Why there is no connection.

use std::path::Path;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {url}: {source}")]
pub struct ConnectError {
    url: String,
    source: Box<dyn std::error::Error + Send + Sync>,
    refused: bool,
}

impl ConnectError {
    pub(crate) fn new(url: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        // tonic says "transport error"; the reason lies at the end of the chain.
        let causes = std::iter::successors(Some(error), |error| error.source());
        let refused = causes.clone().any(|cause| {
            let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            kind == Some(std::io::ErrorKind::ConnectionRefused)
        });
        let source = match causes.last() {
            _ if refused => "connection refused".to_owned(),
            Some(cause) => explained(url, cause.to_string()),
            None => String::new(),
        };
        Self { url: url.to_owned(), source: source.into(), refused }
    }

    /// A file of the options cannot be read.
    pub(crate) fn file(url: &str, file: &Path, error: &std::io::Error) -> Self {
        let source = format!("{} cannot be read: {error}", file.display());
        Self { url: url.to_owned(), source: source.into(), refused: false }
    }

    /// The options are about TLS, and the URL is without.
    pub(crate) fn without_tls(url: &str) -> Self {
        let source = "authorities and certificates are for TLS: name the server as https://HOST:PORT";
        Self { url: url.to_owned(), source: source.into(), refused: false }
    }

    /// Whether the host answered that nobody listens there.
    pub const fn is_refused(&self) -> bool {
        self.refused
    }
}

/// What a cause means where its words do not say so.
fn explained(url: &str, cause: String) -> String {
    // What rustls says of an answer that is none of TLS.
    if url.starts_with("https://") && cause.starts_with("received corrupt message") {
        return format!("the server does not speak TLS there, http:// would do ({cause})");
    }
    cause
}
