//! The token that says who calls.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};
use tonic::codegen::http::HeaderValue;

use crate::token_source::{TokenError, TokenSource};
use crate::token_times::{TokenTimes, wall};

/// The scheme of the header, before the token.
const SCHEME: &str = "Bearer ";
/// How long a source may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A bearer token, which each call shows in its metadata (`authorization: Bearer ...`). Clones share it.
///
/// It is replaced while streams are open, by [`Self::set`], by its file or by its source: calls that begin later show the
/// new one, publish streams go on under it, and a stream that ends with the old one is opened again with it.
///
/// Its `Debug` does not tell it, and HTTP/2 keeps it out of the tables of header compression.
#[derive(Clone)]
pub struct BearerToken(Arc<Shared>);

struct Shared {
    current: watch::Sender<Current>,
    source: Source,
    /// Held by who asks the source.
    asking: Mutex<()>,
}

enum Source {
    /// Who calls [`BearerToken::set`].
    Caller,
    File(PathBuf),
    Asked(Box<dyn TokenSource>),
}

/// What calls show now.
#[derive(Clone, Default)]
struct Current {
    /// `None` = nothing.
    value: Option<HeaderValue>,
    /// Counts the tokens that there were: a higher one is a newer token.
    generation: u64,
    /// `None` = as long as the server takes it.
    times: Option<TokenTimes>,
}

impl BearerToken {
    /// No token, until one is set.
    #[must_use]
    pub fn none() -> Self {
        Self::of(Source::Caller)
    }

    /// This token.
    ///
    /// # Errors
    ///
    /// When it is no visible ASCII text.
    pub fn new(token: &str) -> Result<Self, TokenError> {
        let this = Self::none();
        this.set(token)?;
        Ok(this)
    }

    /// The token in a file that others replace, such as a projected one of Kubernetes. It is read for each call, when
    /// four fifths of its time are over, and when the server refuses it. While it cannot be read, the one before is shown.
    ///
    /// # Errors
    ///
    /// When it cannot be read now, or is no token.
    pub fn from_file(file: &Path) -> Result<Self, TokenError> {
        let this = Self::of(Source::File(file.to_owned()));
        this.read(file)?;
        Ok(this)
    }

    /// Those of a source, which is asked for the first one by the first call.
    ///
    /// ```
    /// # use starling_client::BearerToken;
    /// # async fn log_in() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// let token = BearerToken::from_source(|| async { log_in().await });
    /// ```
    #[must_use]
    pub fn from_source(source: impl TokenSource) -> Self {
        Self::of(Source::Asked(Box::new(source)))
    }

    fn of(source: Source) -> Self {
        let (current, _) = watch::channel(Current::default());
        Self(Arc::new(Shared { current, source, asking: Mutex::new(()) }))
    }

    /// Shows another token from now on; where there is a file or a source, until that has a newer one.
    ///
    /// # Errors
    ///
    /// When it is no visible ASCII text; the one before stays.
    pub fn set(&self, token: &str) -> Result<(), TokenError> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Malformed);
        }
        let mut value = HeaderValue::try_from(format!("{SCHEME}{token}")).map_err(|_| TokenError::Malformed)?;
        value.set_sensitive(true);
        // Only a caller knows when there will be another.
        let times = match self.0.source {
            Source::Caller => None,
            Source::File(_) | Source::Asked(_) => TokenTimes::read(token, wall(), Instant::now(), &mut rand::rng()),
        };
        self.0.current.send_if_modified(|current| {
            let other = current.value.as_ref() != Some(&value);
            if other {
                *current = Current { value: Some(value), generation: current.generation + 1, times };
            }
            other
        });
        Ok(())
    }

    /// Whether the source has to be asked before a call can be made.
    pub(crate) fn must_ask(&self) -> bool {
        matches!(self.0.source, Source::Asked(_)) && self.0.current.borrow().is_due()
    }

    /// What a call that begins now shows, unless the source [has to be asked](Self::must_ask).
    pub(crate) fn shown(&self) -> Option<HeaderValue> {
        if let Source::File(file) = &self.0.source
            && let Err(error) = self.read(file)
        {
            tracing::warn!(%error, "the token before is shown");
        }
        self.0.current.borrow().value.clone()
    }

    /// Prepares the token for a call. Answers with its generation.
    ///
    /// # Errors
    ///
    /// When there is no token, not even an old one, and the source has none.
    pub(crate) async fn ready(&self) -> Result<u64, TokenError> {
        match &self.0.source {
            Source::Caller => {}
            Source::File(_) => drop(self.shown()),
            Source::Asked(source) => {
                // While another asks, the old one will do if it is not over.
                let usable = !self.0.current.borrow().is_over();
                let asking = if usable { self.0.asking.try_lock().ok() } else { Some(self.0.asking.lock().await) };
                if asking.is_some() && self.must_ask() {
                    match self.ask(&**source).await {
                        Err(error) if self.0.current.borrow().value.is_none() => return Err(error),
                        Err(error) => tracing::warn!(%error, "the token before is shown"),
                        Ok(()) => {}
                    }
                    self.look_again_if_due();
                }
            }
        }
        Ok(self.0.current.borrow().generation)
    }

    /// Whether there is a newer token than this one, if need be by asking for it.
    ///
    /// # Errors
    ///
    /// When the source does not answer with a token, or the file cannot be read.
    pub(crate) async fn has_newer(&self, generation: u64) -> Result<bool, TokenError> {
        let is_newer = || self.0.current.borrow().generation > generation;
        if is_newer() {
            return Ok(true);
        }
        let found = match &self.0.source {
            Source::Caller => Ok(()),
            Source::File(file) => self.read(file),
            Source::Asked(source) => {
                let _asking = self.0.asking.lock().await;
                // Another may have asked meanwhile.
                if is_newer() { Ok(()) } else { self.ask(&**source).await }
            }
        };
        self.look_again_if_due();
        found.map(|()| is_newer())
    }

    /// Waits for a newer token than this one, and looks for it ahead of the end of this one. Answers with the token and its
    /// generation.
    pub(crate) async fn newer(self, generation: u64) -> (String, u64) {
        let mut changes = self.0.current.subscribe();
        loop {
            let Current { value, generation: last, times } = changes.borrow_and_update().clone();
            if let Some(value) = value.filter(|_| last > generation) {
                // It is ASCII: `set` takes nothing else.
                let header = value.to_str().unwrap_or_default();
                return (header.strip_prefix(SCHEME).unwrap_or(header).to_owned(), last);
            }
            let changed = std::pin::pin!(changes.changed());
            let Some(TokenTimes { renew_at, .. }) = times else {
                // Its sender lives in `self`.
                changed.await.ok();
                continue;
            };
            let due = std::pin::pin!(tokio::time::sleep_until(renew_at));
            if let Either::Right(_) = select(changed, due).await
                && let Err(error) = self.has_newer(generation).await
            {
                tracing::warn!(%error, "there is no newer token yet");
            }
        }
    }

    /// Asks the source, which must be for the asking.
    async fn ask(&self, source: &dyn TokenSource) -> Result<(), TokenError> {
        let token = timeout(ANSWERS_WITHIN, source.token()).await.map_err(|_| TokenError::Timeout(ANSWERS_WITHIN))?;
        self.set(token.map_err(TokenError::Source)?.trim())
    }

    fn read(&self, file: &Path) -> Result<(), TokenError> {
        let unreadable = |source| TokenError::Unreadable { file: file.to_owned(), source };
        self.set(fs::read_to_string(file).map_err(unreadable)?.trim())
    }

    /// Nothing newer came in time: who looks for it next shall wait a while.
    fn look_again_if_due(&self) {
        self.0.current.send_if_modified(|current| {
            if current.is_due()
                && let Some(times) = &mut current.times
            {
                times.look_again(Instant::now());
            }
            false
        });
    }
}

impl Current {
    fn is_due(&self) -> bool {
        self.value.is_none() || self.times.is_some_and(|times| times.renew_at <= Instant::now())
    }

    fn is_over(&self) -> bool {
        self.value.is_none() || self.times.is_some_and(|times| times.expires_at <= Instant::now())
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.0.source {
            Source::Caller => "caller".to_owned(),
            Source::File(file) => file.display().to_string(),
            Source::Asked(_) => "asked".to_owned(),
        };
        f.debug_struct("BearerToken").field("source", &source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::UNIX_EPOCH;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn shown(token: &BearerToken) -> Option<String> {
        token.shown().map(|value| value.to_str().unwrap().to_owned())
    }

    /// A token that is over at this second of the wall clock.
    fn expiring(number: u64, expires: f64) -> String {
        let claims = format!(r#"{{"jti":{number},"exp":{expires}}}"#);
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn replaced_token_is_shown_by_every_clone() {
        let token = BearerToken::none();
        let clone = token.clone();
        assert_eq!(shown(&clone), None);
        token.set("a.b.c").unwrap();
        assert_eq!(shown(&clone).as_deref(), Some("Bearer a.b.c"));
        assert!(token.shown().unwrap().is_sensitive());
        for bad in ["", "a b", "a\n", "a\u{e9}"] {
            assert!(token.set(bad).is_err(), "{bad:?}");
        }
        assert_eq!(shown(&clone).as_deref(), Some("Bearer a.b.c"), "a token at fault changes nothing");
        assert!(!format!("{token:?}").contains("a.b.c"));
    }

    #[tokio::test]
    async fn token_file_is_read_for_each_call() {
        let file = std::env::temp_dir().join(format!("starling-token-{}", std::process::id()));
        fs::write(&file, "one\n").unwrap();
        let token = BearerToken::from_file(&file).unwrap();
        assert_eq!(shown(&token).as_deref(), Some("Bearer one"));
        let first = token.ready().await.unwrap();
        assert!(!token.has_newer(first).await.unwrap(), "it holds the same");
        fs::write(&file, "two\n").unwrap();
        assert!(token.has_newer(first).await.unwrap());
        assert_eq!(shown(&token).as_deref(), Some("Bearer two"));
        fs::remove_file(&file).unwrap();
        assert_eq!(shown(&token).as_deref(), Some("Bearer two"), "the one before");
        assert!(token.has_newer(first + 1).await.is_err(), "nobody knows");
        assert!(BearerToken::from_file(&file).is_err());
    }

    /// A second of the wall clock, in so many seconds from now.
    fn in_seconds(seconds: f64) -> f64 {
        wall().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() + seconds
    }

    #[tokio::test]
    async fn source_is_asked_ahead_of_the_end() {
        let asked = Arc::new(AtomicU64::new(0));
        let (count, first_end, second_end) = (Arc::clone(&asked), in_seconds(0.4), in_seconds(1_000.0));
        let second = expiring(1, second_end);
        let token = BearerToken::from_source(move || {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let end = if number == 0 { first_end } else { second_end };
            async move { Ok::<_, TokenError>(expiring(number, end)) }
        });
        assert!(token.must_ask());
        let first = token.ready().await.unwrap();
        assert_eq!(token.ready().await.unwrap(), first);
        assert_eq!(asked.load(Ordering::Relaxed), 1, "it is asked once");
        let (next, generation) = token.clone().newer(first).await;
        assert_eq!((next, generation), (second, first + 1));
        assert!(!token.must_ask());
        // A refused token is not shown again.
        assert!(token.has_newer(generation).await.unwrap());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn source_that_fails_leaves_the_old_token() {
        let asked = Arc::new(AtomicU64::new(0));
        let (count, end) = (Arc::clone(&asked), in_seconds(0.0));
        let token = BearerToken::from_source(move || {
            let number = count.fetch_add(1, Ordering::Relaxed);
            async move { if number == 0 { Ok(expiring(number, end)) } else { Err("the issuer is away") } }
        });
        let first = token.ready().await.unwrap();
        assert!(!token.must_ask(), "not with each call, although this one is over");
        token.0.current.send_modify(|current| current.times.as_mut().unwrap().renew_at = Instant::now());
        assert!(token.must_ask());
        assert_eq!(token.ready().await.unwrap(), first);
        assert!(!token.must_ask(), "not with each call, although it failed");
        assert_eq!(token.ready().await.unwrap(), first);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        let told = token.has_newer(first).await.unwrap_err().to_string();
        assert!(told.contains("the issuer is away"), "{told}");
    }
}
