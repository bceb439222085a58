//! What is switched on at a server beside the bare service.

/// What is switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Features {
    /// The metrics are scraped each second.
    pub(crate) metrics: bool,
    /// Every call shows a JSON Web Token.
    pub(crate) jwt: bool,
    /// Connections are TLS.
    pub(crate) tls: bool,
    /// The publisher signs its updates, and the server verifies them.
    pub(crate) signed: bool,
}

impl Features {
    pub(crate) const OFF: Self = Self { metrics: false, jwt: false, tls: false, signed: false };
    pub(crate) const METRICS: Self = Self { metrics: true, ..Self::OFF };
    pub(crate) const JWT: Self = Self { jwt: true, ..Self::OFF };
    pub(crate) const TLS: Self = Self { tls: true, ..Self::OFF };
    pub(crate) const SIGNED: Self = Self { signed: true, ..Self::OFF };
    pub(crate) const ALL: Self = Self { metrics: true, jwt: true, tls: true, signed: true };
}
