//! What a case attacks with: connections, its time, and where it notes what became of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use crate::credentials::Credentials;
use crate::ending::{Ending, Endings};
use crate::error::AbuseError;
use crate::frames::{FrameLink, call_headers};
use crate::link::{DEFAULT_WINDOW, Link, WIDE};
use crate::wire::{Wire, secured};

/// Where attackers come from: limits may count by address.
const ADDRESS: [u8; 4] = [127, 0, 0, 2];

/// Bytes of a segment of TCP, as on Ethernet. Those of loopback are larger than a receiver's first window: a sender that
/// fills it would wait for the timers of TCP instead of the server.
const SEGMENT: u32 = 1_460;

/// How large a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A few seconds against a server with small budgets: for CI.
    Short,
    /// As large as one client can make it, against the server's defaults.
    Large,
}

impl Form {
    pub(crate) fn pick<T>(self, short: T, large: T) -> T {
        match self {
            Self::Short => short,
            Self::Large => large,
        }
    }
}

/// What an attacker has where the server has TLS and asks for tokens.
#[derive(Clone)]
pub(crate) struct Membership {
    pub(crate) credentials: Arc<Credentials>,
    connector: TlsConnector,
    /// The token of a back-end that has swarms of its own.
    token: Arc<str>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl Membership {
    pub(crate) fn new(credentials: Arc<Credentials>) -> Result<Self, AbuseError> {
        let (connector, token) = (credentials.connector()?, credentials.stranger()?.into());
        Ok(Self { credentials, connector, token })
    }
}

/// How many there were in a second.
pub(crate) fn rate(count: u64, since: Instant) -> u64 {
    let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    count * 1_000 / milliseconds.max(1)
}

/// An attack under way.
#[derive(Debug)]
pub(crate) struct Attacker {
    pub(crate) address: SocketAddr,
    pub(crate) form: Form,
    membership: Option<Membership>,
    time: Duration,
    /// When it ends by itself.
    ends: Mutex<Instant>,
    endings: Endings,
    figures: Mutex<Vec<String>>,
}

impl Attacker {
    pub(crate) fn new(address: SocketAddr, form: Form, membership: Option<Membership>, time: Duration) -> Self {
        let ends = Mutex::new(Instant::now() + time);
        Self { address, form, membership, time, ends, endings: Endings::default(), figures: Mutex::default() }
    }

    /// What was made for this run, for cases that need TLS and tokens.
    pub(crate) fn credentials(&self) -> &Credentials {
        let membership = self.membership.as_ref();
        &membership.expect("a case that needs credentials runs only where there are any").credentials
    }

    /// The token that its calls show, if the server asks for one.
    pub(crate) fn token(&self) -> Option<&str> {
        self.membership.as_ref().map(|membership| &*membership.token)
    }

    /// The headers of a call, as they stand in a frame.
    pub(crate) fn call_headers(&self, method: &str) -> Vec<u8> {
        call_headers(method, self.token())
    }

    /// A connection of TCP, from an address that the healthy clients do not have.
    pub(crate) async fn tcp(&self) -> Result<TcpStream, Ending> {
        let connected = async {
            let socket = TcpSocket::new_v4()?;
            SockRef::from(&socket).set_tcp_mss(SEGMENT)?;
            socket.bind(SocketAddr::from((ADDRESS, 0)))?;
            let tcp = socket.connect(self.address).await?;
            tcp.set_nodelay(true)?;
            Ok::<_, std::io::Error>(tcp)
        };
        connected.await.map_err(|_| Ending::Closed)
    }

    /// The same with TLS where the server has it.
    pub(crate) async fn wire(&self) -> Result<Wire, Ending> {
        let tcp = self.tcp().await?;
        match &self.membership {
            Some(membership) => Ok(Either::Right(secured(tcp, &membership.connector).await?)),
            None => Ok(Either::Left(tcp)),
        }
    }

    /// A connection of HTTP/2, its streams and itself with these windows.
    pub(crate) async fn link_with(&self, stream_window: u32, window: u32) -> Result<Link, Ending> {
        Link::over(self.wire().await?, stream_window, window, self.token()).await
    }

    /// A connection whose calls show this token, or none.
    pub(crate) async fn link_of(&self, token: Option<&str>) -> Result<Link, Ending> {
        Link::over(self.wire().await?, WIDE >> 8, WIDE, token).await
    }

    /// The same for one who does not read.
    pub(crate) async fn narrow_link_of(&self, token: &str) -> Result<Link, Ending> {
        Link::over(self.wire().await?, DEFAULT_WINDOW, DEFAULT_WINDOW, Some(token)).await
    }

    /// A connection that reads what it is sent.
    pub(crate) async fn link(&self) -> Result<Link, Ending> {
        self.link_with(WIDE >> 8, WIDE).await
    }

    /// A connection with the windows of HTTP/2 itself, for those who do not read.
    pub(crate) async fn narrow_link(&self) -> Result<Link, Ending> {
        self.link_with(DEFAULT_WINDOW, DEFAULT_WINDOW).await
    }

    /// A connection whose frames are written by hand.
    pub(crate) async fn frames(&self) -> Result<FrameLink, Ending> {
        FrameLink::over(self.wire().await?).await
    }

    /// Notes how something of it ended.
    pub(crate) fn note(&self, ending: Ending) {
        self.endings.note(ending);
    }

    /// Notes what the server told on a connection of frames, and whether it closed that.
    pub(crate) fn note_told(&self, link: &FrameLink) {
        let told = link.told();
        for (name, count) in told.frames {
            (0..count).for_each(|_| self.note(Ending::Told(name.clone())));
        }
        if told.closed {
            self.note(Ending::Closed);
        }
    }

    /// Notes the endings of calls until all have ended or the time is over.
    pub(crate) async fn note_all<F: Future<Output = Ending>>(&self, calls: impl IntoIterator<Item = F>) {
        let mut calls: FuturesUnordered<F> = calls.into_iter().collect();
        while let Some(Some(ending)) = self.in_time(calls.next()).await {
            self.note(ending);
        }
    }

    /// Notes how a call ended; true when it was refused and nothing more: its client makes the next one.
    pub(crate) fn may_go_on(&self, ending: Ending) -> bool {
        let refused = matches!(ending, Ending::Refused(..));
        self.note(ending);
        refused
    }

    /// A figure for the report.
    pub(crate) fn figure(&self, figure: String) {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).push(figure);
    }

    /// Begins its time: what was built before does not count.
    pub(crate) fn begin(&self) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.time;
    }

    fn ends(&self) -> Instant {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of its time is left.
    pub(crate) fn left(&self) -> Duration {
        self.ends().saturating_duration_since(Instant::now())
    }

    /// Whether its time is over.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.ends()
    }

    /// Waits for something, at most until the time is over.
    pub(crate) async fn in_time<F: Future>(&self, what: F) -> Option<F::Output> {
        timeout_at(self.ends(), what).await.ok()
    }

    /// Waits until the time is over.
    pub(crate) async fn over(&self) {
        sleep_until(self.ends()).await;
    }

    pub(crate) fn into_outcome(self) -> (Endings, Vec<String>) {
        (self.endings, self.figures.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}
