//! A bad network: a TCP proxy whose ways can be made slow, narrow or dead while it runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{SockRef, Socket};
use starling_client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the kernel may hold of each way: little, so that who does not read is felt soon.
const SOCKET_BUFFER: usize = 16 * 1024;
/// A way with a rate moves so many portions a second.
const PORTIONS: u64 = 20;

/// What happens to the bytes of one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// Each portion comes so much later.
    pub(crate) delay: Duration,
    /// Bytes a second; `None` = as they come.
    pub(crate) rate: Option<u64>,
    /// Nothing is read: TCP's window closes on the sender.
    pub(crate) stalled: bool,
    /// The connection ends after so many bytes.
    pub(crate) limit: Option<u64>,
}

impl Way {
    pub(crate) const fn late(delay: Duration) -> Self {
        Self { delay, rate: None, stalled: false, limit: None }
    }

    pub(crate) const fn drip(rate: u64) -> Self {
        Self { delay: Duration::ZERO, rate: Some(rate), stalled: false, limit: None }
    }

    pub(crate) const fn stalled() -> Self {
        Self { delay: Duration::ZERO, rate: None, stalled: true, limit: None }
    }

    pub(crate) const fn limit(bytes: u64) -> Self {
        Self { delay: Duration::ZERO, rate: None, stalled: false, limit: Some(bytes) }
    }
}

/// Both ways, for connections of now and later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// From the client to the server.
    pub(crate) up: Way,
    /// From the server to the client.
    pub(crate) down: Way,
}

/// What becomes of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lives,
    /// Nothing goes through any more, and nobody is told.
    Swallowed,
    /// Closed, once what was under way has gone through.
    Closed,
    /// RST to both sides.
    Reset,
}

/// Everything that all connections share.
#[derive(Debug)]
struct Shared {
    ways: watch::Sender<Ways>,
    fates: Mutex<Vec<watch::Sender<Fate>>>,
}

/// The proxy; it ends when dropped, and its connections with it.
#[derive(Debug)]
pub(crate) struct Toxic {
    address: SocketAddr,
    shared: Arc<Shared>,
    _running: JoinSet<()>,
}

impl Toxic {
    /// Stands before a server, and does no harm yet.
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        // What is accepted inherits it.
        SockRef::from(&listener).set_send_buffer_size(SOCKET_BUFFER).unwrap();
        let address = listener.local_addr().unwrap();
        let ways = watch::Sender::new(Ways::default());
        let shared = Arc::new(Shared { ways, fates: Mutex::default() });
        let mut running = JoinSet::new();
        running.spawn(accept(listener, server, Arc::clone(&shared)));
        Self { address, shared, _running: running }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A connection through it.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.url()).await.expect("the network lets it through")
    }

    /// How it is from now on, also for connections that are there.
    pub(crate) fn turn(&self, ways: Ways) {
        self.shared.ways.send_replace(ways);
    }

    /// The way to the client from now on; the other is good.
    pub(crate) fn down(&self, down: Way) {
        self.turn(Ways { down, ..Ways::default() });
    }

    /// Nothing goes through the connections of now any more, though they stay open.
    pub(crate) fn swallow(&self) {
        self.doom(Fate::Swallowed);
    }

    /// Closes the connections of now.
    pub(crate) fn close(&self) {
        self.doom(Fate::Closed);
    }

    /// Resets the connections of now, the swallowed ones too.
    pub(crate) fn reset(&self) {
        self.doom(Fate::Reset);
    }

    fn doom(&self, fate: Fate) {
        let mut fates = self.shared.fates.lock().unwrap();
        fates.retain(|connection| !connection.is_closed());
        for connection in &*fates {
            connection.send_replace(fate);
        }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (near, _) = accepted.unwrap();
                let fate = watch::Sender::new(Fate::Lives);
                let fated = fate.subscribe();
                shared.fates.lock().unwrap().push(fate);
                connections.spawn(connection(near, server, Arc::clone(&shared), fated));
            }
            Some(ended) = connections.join_next() => ended.unwrap(),
        }
    }
}

/// A connection to the server that holds little.
async fn connect(server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(u32::try_from(SOCKET_BUFFER).unwrap())?;
    socket.connect(server).await
}

async fn connection(near: TcpStream, server: SocketAddr, shared: Arc<Shared>, mut fate: watch::Receiver<Fate>) {
    // The server may be gone, or want no more connections: then the client is closed on.
    let Ok(far) = connect(server).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let sockets: [Socket; 2] = [SockRef::from(&near).try_clone().unwrap(), SockRef::from(&far).try_clone().unwrap()];
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let up = carry(near_read, far_write, shared.ways.subscribe(), |ways| ways.up);
    let down = carry(far_read, near_write, shared.ways.subscribe(), |ways| ways.down);
    tokio::pin!(up, down);
    let (mut up_open, mut down_open) = (true, true);
    while up_open || down_open {
        tokio::select! {
            biased;
            // Who holds the sender holds the proxy.
            Ok(()) = fate.changed() => {}
            broken = &mut up, if up_open => {
                up_open = false;
                if broken { break }
            }
            broken = &mut down, if down_open => {
                down_open = false;
                if broken { break }
            }
        }
        while *fate.borrow_and_update() == Fate::Swallowed {
            if fate.changed().await.is_err() {
                return;
            }
        }
        match *fate.borrow() {
            Fate::Lives | Fate::Swallowed => {}
            Fate::Closed => break,
            Fate::Reset => {
                for socket in &sockets {
                    socket.set_linger(Some(Duration::ZERO)).unwrap();
                }
                break;
            }
        }
    }
}

/// Carries one way to its end; true when the connection is over with it.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut ways: watch::Receiver<Ways>,
    pick: impl Fn(&Ways) -> Way,
) -> bool {
    let (mut buffer, mut carried) = (vec![0; SOCKET_BUFFER], 0);
    loop {
        let way = pick(&ways.borrow_and_update());
        let portion = way.rate.map_or(SOCKET_BUFFER as u64, |rate| rate.div_ceil(PORTIONS).min(SOCKET_BUFFER as u64));
        let read = tokio::select! {
            biased;
            changed = ways.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return true,
            },
            read = from.read(&mut buffer[..usize::try_from(portion).unwrap()]), if !way.stalled => read,
        };
        let Ok(read) = read else { return true };
        if read == 0 {
            return to.shutdown().await.is_err();
        }
        let mut wait = way.delay;
        if let Some(rate) = way.rate {
            wait += Duration::from_secs(1).mul_f64(read as f64 / rate as f64);
        }
        if !wait.is_zero() {
            // Cut short when the way turns another way.
            drop(tokio::time::timeout(wait, ways.wait_for(|ways| pick(ways) != way)).await);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return true;
        }
        carried += read as u64;
        if way.limit.is_some_and(|limit| carried >= limit) {
            return true;
        }
    }
}
