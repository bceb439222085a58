//! The network between the processes: a TCP proxy before each listener. It knows which process connects, and may be told
//! that nothing gets through between two of them: what is sent then waits, as in a network that drops packets, and comes
//! once it is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Who is in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The test.
    Client,
    Nats(usize),
    Pod(usize),
}

/// Two that cannot hear each other, the lesser first.
type Cut = (Place, Place);

#[derive(Debug, Default)]
struct Shared {
    cuts: watch::Sender<BTreeSet<Cut>>,
    processes: Mutex<BTreeMap<u32, Place>>,
}

/// The network. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network(Arc<Shared>);

impl Network {
    /// A process has started.
    pub(crate) fn has(&self, process: u32, place: Place) {
        self.0.processes.lock().unwrap().insert(process, place);
    }

    /// A process is gone.
    pub(crate) fn lost(&self, process: u32) {
        self.0.processes.lock().unwrap().remove(&process);
    }

    /// Nothing gets through between these from now on.
    pub(crate) fn cut(&self, one: Place, other: Place) {
        self.0.cuts.send_modify(|cuts| {
            cuts.insert((one.min(other), one.max(other)));
        });
    }

    /// All hear each other again.
    pub(crate) fn heal(&self) {
        self.0.cuts.send_modify(BTreeSet::clear);
    }

    /// Whose connection comes from a port on this machine.
    fn who(&self, from: SocketAddr) -> Place {
        let found = inode(from.port()).and_then(|inode| {
            let link = format!("socket:[{inode}]");
            let processes = self.0.processes.lock().unwrap();
            let of = |process: &u32| {
                let files = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
                files.into_iter().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*link))
            };
            processes.iter().find(|(process, _)| of(process)).map(|(_, place)| *place)
        });
        found.unwrap_or(Place::Client)
    }
}

/// The number of the socket that is bound to a port and connected to a listener.
fn inode(port: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let end = format!(":{port:04X}");
    let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.find(|row| row.get(1).is_some_and(|local| local.ends_with(&end)))?.get(9)?.parse().ok()
}

/// The way to one listener: its address stays when the listener moves.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    /// Where the listener is; nothing while nobody listens.
    target: watch::Sender<Option<SocketAddr>>,
    _running: JoinSet<()>,
}

impl Gate {
    /// Stands before a listener of `place`.
    pub(crate) async fn new(network: &Network, place: Place) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = watch::Sender::new(None);
        let mut running = JoinSet::new();
        running.spawn(accept(listener, network.clone(), place, target.subscribe()));
        Self { address, target, _running: running }
    }

    /// The listener is here now.
    pub(crate) fn leads_to(&self, target: Option<SocketAddr>) {
        self.target.send_replace(target);
    }
}

async fn accept(listener: TcpListener, network: Network, place: Place, target: watch::Receiver<Option<SocketAddr>>) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, from) = listener.accept().await.unwrap();
        let Some(target) = *target.borrow() else { continue };
        connections.spawn(carry(socket, from, target, network.clone(), place));
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(near: TcpStream, from: SocketAddr, target: SocketAddr, network: Network, place: Place) {
    let asked = network.clone();
    let who = tokio::task::spawn_blocking(move || asked.who(from)).await.unwrap();
    let way = Way { cuts: network.0.cuts.subscribe(), between: (who.min(place), who.max(place)) };
    way.clone().open().await;
    let Ok(far) = TcpStream::connect(target).await else { return };
    for socket in [&near, &far] {
        drop(socket.set_nodelay(true));
    }
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    // An end in good order ends one way alone, a broken connection both.
    drop(tokio::try_join!(way.clone().copy(near_read, far_write), way.copy(far_read, near_write)));
}

/// The way between two.
#[derive(Clone)]
struct Way {
    cuts: watch::Receiver<BTreeSet<Cut>>,
    between: Cut,
}

impl Way {
    /// Waits until something gets through.
    async fn open(mut self) {
        // The network lives as long as the test.
        drop(self.cuts.wait_for(|cuts| !cuts.contains(&self.between)).await);
    }

    async fn copy(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut bytes).await;
            self.clone().open().await;
            match read? {
                0 => return to.shutdown().await,
                read => to.write_all(&bytes[..read]).await?,
            }
        }
    }
}
