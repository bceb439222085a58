//! Why there is no connection.

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
            Some(cause) => cause.to_string(),
            None => String::new(),
        };
        Self { url: url.to_owned(), source: source.into(), refused }
    }

    /// Whether the host answered that nobody listens there.
    pub const fn is_refused(&self) -> bool {
        self.refused
    }
}
