//! One stream, opened again after each cut.

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::backoff::Retry;
use super::client::Client;
use super::error::{Error, RetryDecision};
use super::swarm_ref::Join;
use super::tries::Tries;

/// A stream of type `S` that is there, or on its way.
pub(super) struct Link<S> {
    client: Client,
    session_id: u64,
    /// The generation of the token under which the stream is open, or was.
    token: u64,
    join: Option<Join>,
    tries: Tries,
    /// The session is gone; the next try begins with a join.
    must_join: bool,
    state: State<S>,
}

pub(super) enum State<S> {
    Open(S),
    Opening(BoxFuture<'static, Try<S>>),
    Over,
}

/// How a try ended. Connection and session are kept also when the stream did not open.
pub(super) struct Try<S> {
    client: Client,
    /// The generation of the token that was shown last.
    token: u64,
    /// Another one than before, if the node joined.
    joined: Option<u64>,
    stream: Result<S, Error>,
}

impl<S: Send + 'static> Link<S> {
    /// Opens the stream by `open`, the first time.
    pub(super) async fn open<O, F>(
        client: Client,
        session_id: u64,
        join: Option<Join>,
        retry: Retry,
        open: O,
    ) -> Result<Self, Error>
    where
        O: FnOnce(Client, u64) -> F,
        F: Future<Output = Result<S, Error>>,
    {
        let token = client.token().ready().await?;
        let state = State::Open(open(client.clone(), session_id).await?);
        Ok(Self { client, session_id, token, join, tries: Tries::new(retry), must_join: false, state })
    }

    /// The connection of now.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    pub(super) const fn session_id(&self) -> u64 {
        self.session_id
    }

    /// The generation of the token under which the stream is open.
    pub(super) const fn token(&self) -> u64 {
        self.token
    }

    /// The stream goes on under another token.
    pub(super) const fn renewed(&mut self, token: u64) {
        self.token = token;
    }

    /// The session turned out to be another one.
    pub(super) const fn set_session(&mut self, session_id: u64) {
        self.session_id = session_id;
    }

    pub(super) const fn state(&mut self) -> &mut State<S> {
        &mut self.state
    }

    /// Something came: the next cut begins with short waits again.
    pub(super) const fn alive(&mut self) {
        self.tries.alive();
    }

    /// Begins to open the stream again by `open`, unless it is over: `None` when all has been
    /// said, an error when coming back is of no use. Otherwise gives back why.
    pub(super) fn recover<O, F>(&mut self, why: Error, open: O) -> Result<Option<Error>, Error>
    where
        O: FnOnce(Client, u64) -> F + Send + 'static,
        F: Future<Output = Result<S, Error>> + Send,
    {
        self.state = State::Over;
        let mut refused = None;
        let (asked, reconnect) = match why.verdict() {
            RetryDecision::Over => return Ok(None),
            RetryDecision::Final => return Err(why),
            RetryDecision::Rejoin if self.join.is_none() => return Err(why),
            RetryDecision::Rejoin => {
                self.must_join = true;
                (None, false)
            }
            RetryDecision::OtherToken(reason) => {
                refused = Some(reason);
                // Without a wait: no lease is to run out.
                (Some(Duration::ZERO), false)
            }
            RetryDecision::Retry { asked, reconnect } => (asked, reconnect),
        };
        let (again_at, why) = self.tries.next(asked, why)?;
        let (mut client, session_id, mut token) = (self.client.clone(), self.session_id, self.token);
        let join = self.join.clone().filter(|_| self.must_join);
        let opening = async move {
            tokio::time::sleep_until(again_at).await;
            let mut joined = None;
            let stream = async {
                if let Some(reason) = refused
                    && !client.token().has_newer(token).await?
                {
                    return Err(Error::TokenRefused { reason });
                }
                token = client.token().ready().await?;
                if reconnect {
                    client = client.again().await?;
                }
                if let Some(join) = join {
                    joined = Some(client.join(join).await?);
                }
                open(client.clone(), joined.unwrap_or(session_id)).await
            };
            let stream = stream.await;
            Try { client, token, joined, stream }
        };
        self.state = State::Opening(opening.boxed());
        Ok(Some(why))
    }

    /// Waits for the try under way, and tells whether the node joined again. Safe to drop
    /// and call again.
    pub(super) async fn opened(&mut self) -> Result<bool, Error> {
        let State::Opening(opening) = &mut self.state else { return Ok(false) };
        let Try { client, token, joined, stream } = opening.await;
        (self.client, self.token) = (client, token);
        if let Some(session_id) = joined {
            (self.session_id, self.must_join) = (session_id, false);
        }
        // A future that has ended must not be asked again.
        self.state = State::Over;
        self.state = State::Open(stream?);
        self.tries.back();
        Ok(joined.is_some())
    }
}

impl<S> fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Open(_) => "open",
            State::Opening(_) => "opening",
            State::Over => "over",
        };
        f.debug_struct("Link").field("session_id", &self.session_id).field("state", &state).finish_non_exhaustive()
    }
}
