//! What a case attacks with: connections, its time, and where it notes what became of them.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::ending::{Ending, Endings};
use crate::frames::FrameLink;
use crate::link::{DEFAULT_WINDOW, Link, WIDE};

/// Where attackers come from: limits may count by address.
const ADDRESS: [u8; 4] = [127, 0, 0, 2];

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

/// An attack under way.
#[derive(Debug)]
pub(crate) struct Attacker {
    pub(crate) address: SocketAddr,
    pub(crate) form: Form,
    time: Duration,
    /// When it ends by itself.
    ends: Mutex<Instant>,
    endings: Endings,
    figures: Mutex<Vec<String>>,
}

impl Attacker {
    pub(crate) fn new(address: SocketAddr, form: Form, time: Duration) -> Self {
        let ends = Mutex::new(Instant::now() + time);
        Self { address, form, time, ends, endings: Endings::default(), figures: Mutex::default() }
    }

    /// A connection of TCP, from an address that the healthy pair does not have.
    pub(crate) async fn tcp(&self) -> Result<TcpStream, Ending> {
        let connected = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((ADDRESS, 0)))?;
            socket.connect(self.address).await
        };
        connected.await.map_err(|_| Ending::Closed)
    }

    /// A connection that reads what it is sent.
    pub(crate) async fn link(&self) -> Result<Link, Ending> {
        Link::over(self.tcp().await?, WIDE >> 8, WIDE).await
    }

    /// A connection with the windows of HTTP/2 itself, for those who do not read.
    pub(crate) async fn narrow_link(&self) -> Result<Link, Ending> {
        Link::over(self.tcp().await?, DEFAULT_WINDOW, DEFAULT_WINDOW).await
    }

    /// A connection whose frames are written by hand.
    pub(crate) async fn frames(&self) -> Result<FrameLink, Ending> {
        FrameLink::over(self.tcp().await?).await
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
