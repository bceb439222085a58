//! A watch that survives cuts.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tonic::{Status, Streaming};

use super::backoff::Retry;
use super::client::Client;
use super::error::Error;
use super::link::{Link, State};
use super::swarm_ref::Join;

/// Opens the stream for a session.
type Open<M> = Arc<dyn Fn(Client, u64) -> BoxFuture<'static, Result<Streaming<M>, Error>> + Send + Sync>;

/// A server stream that begins with the current state, opened again from its beginning
/// after each cut.
pub struct Watch<M: 'static> {
    open: Open<M>,
    link: Link<Streaming<M>>,
}

impl<M: Send> Watch<M> {
    /// Opens the stream by `open`, once: cuts are survived from here on, a refusal is not.
    /// `open` is given the connection and the session of the time. `join` is how to join again
    /// when the lease has expired; `None` = that is an error.
    ///
    /// # Errors
    ///
    /// The server's refusal as [`Error::Status`], or the failure of the connection.
    pub async fn open<O, F>(
        client: Client,
        session_id: u64,
        join: Option<Join>,
        retry: Retry,
        open: O,
    ) -> Result<Self, Error>
    where
        O: Fn(Client, u64) -> F + Send + Sync + 'static,
        F: Future<Output = Result<tonic::Response<Streaming<M>>, Status>> + Send + 'static,
    {
        let open: Open<M> = Arc::new(move |client, session_id| {
            let opening = open(client, session_id);
            async move { Ok(opening.await?.into_inner()) }.boxed()
        });
        let link = Link::open(client, session_id, join, retry, &*open).await?;
        Ok(Self { link, open })
    }

    /// The session of now; another one after the lease has expired.
    pub const fn session_id(&self) -> u64 {
        self.link.session_id()
    }

    /// The next message, goodbyes included; `None` when the server ended the stream with OK.
    ///
    /// Safe to drop and call again.
    ///
    /// # Errors
    ///
    /// Final: the server refused, or it could not be reached in time.
    pub async fn next(&mut self) -> Result<Option<M>, Error> {
        loop {
            let why = match self.link.state() {
                State::Open(stream) => match stream.message().await {
                    Ok(Some(message)) => {
                        self.link.alive();
                        return Ok(Some(message));
                    }
                    Ok(None) => {
                        *self.link.state() = State::Over;
                        return Ok(None);
                    }
                    Err(status) => status.into(),
                },
                State::Opening(_) => match self.link.opened().await {
                    Ok(_) => continue,
                    Err(why) => why,
                },
                State::Over => return Ok(None),
            };
            tracing::debug!(%why, "a watch was cut");
            let open = Arc::clone(&self.open);
            if self.link.recover(why, move |client, session_id| open(client, session_id))?.is_none() {
                return Ok(None);
            }
        }
    }
}

impl<M> fmt::Debug for Watch<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("link", &self.link).finish_non_exhaustive()
    }
}
