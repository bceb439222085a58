//! A server in this thread, and its clients.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Once;
use std::time::Duration;

use starling_client::Client;
use starling_client::pb::livestream::v1::GetLivestreamRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;

use crate::app::App;
use crate::config::Config;
use crate::shutdown::Shutdown;

/// What nothing takes that the server does at once, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a client waits for an answer before it goes on: the server may have nothing to say.
const PAUSE: Duration = Duration::from_millis(20);
/// Inputs that one server takes: swarms that they have made stay.
const INPUTS: usize = 1_000;
/// What a client reads at most: a flood of answers is cut by closing the connection.
const READ_MOST: usize = 4 << 20;

thread_local! {
    /// Made by the first input, and used by all.
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
    /// Panics of this thread. Tasks catch them: whoever sees to the server must be told.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// A server, all of whose tasks run while a client of it does.
pub(super) struct Server {
    address: SocketAddr,
    other: Client,
    /// Inputs that it has taken.
    inputs: usize,
    _running: JoinSet<()>,
    // Dropped last: it runs what the others are.
    runtime: Runtime,
}

/// What came of an exchange.
pub(super) struct Exchanged {
    /// What the server has sent.
    pub(super) received: Vec<u8>,
}

/// Hands out the server of this thread.
///
/// # Panics
///
/// When any part of the server has panicked meanwhile.
pub(super) fn with_server(exchange: impl FnOnce(&Server)) {
    SERVER.with_borrow_mut(|server| {
        let before = PANICS.get();
        if server.as_ref().is_some_and(|server| server.inputs >= INPUTS) {
            *server = None;
        }
        let server = server.get_or_insert_with(Server::start);
        server.inputs += 1;
        exchange(server);
        assert_eq!(PANICS.get(), before, "a task of the server has panicked");
    });
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
}

impl Server {
    fn start() -> Self {
        count_panics();
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let mut running = JoinSet::new();
        let (address, other) = runtime.block_on(async {
            let app = App::bind(config()).await.expect("a free port can be bound");
            let address = app.address();
            running.spawn(app.run(Shutdown::new()));
            let other = Client::connect(&format!("http://{address}")).await.expect("the server accepts");
            (address, other)
        });
        Self { address, other, inputs: 0, _running: running, runtime }
    }

    /// Sends portions of bytes over a connection of its own, waits after each for an answer, half closes it after the
    /// last one, and reads until the server has closed it.
    pub(super) fn exchange(&self, portions: &[Vec<u8>]) -> Exchanged {
        self.runtime.block_on(async {
            let socket = TcpStream::connect(self.address).await.expect("the server accepts");
            let mut received = Vec::new();
            let outcome = timeout(PATIENCE, exchange(socket, portions, &mut received)).await;
            assert!(outcome.is_ok(), "the server keeps a connection whose client has gone");
            Exchanged { received }
        })
    }

    /// A healthy client is answered.
    pub(super) fn answers_others(&self) {
        let ask = || async {
            let mut livestreams = self.other.livestreams.clone();
            // No input makes this one: the ids that clients choose end below.
            let asked =
                livestreams.get_livestream(GetLivestreamRequest { livestream_id: u64::MAX, ..Default::default() });
            let answer = timeout(PATIENCE, asked).await.expect("the server answers");
            answer.expect_err("there is no such livestream")
        };
        let mut answer = self.runtime.block_on(ask());
        if answer.code() == Code::Unavailable {
            // Between two inputs nothing runs: a connection may have been given up, and the next call opens another.
            answer = self.runtime.block_on(ask());
        }
        assert_eq!(answer.code(), Code::NotFound, "{answer:?}");
    }
}

/// As by default, but with little memory: a run has many inputs, and what one leaves behind stays for a while.
fn config() -> Config {
    let mut config = Config::default();
    config.server.listen = (Ipv4Addr::LOCALHOST, 0).into();
    config.admin.listen = None;
    config.store.max_swarms = 64;
    config.store.shards = 2;
    config
}

/// Ends where the server closes the connection, which it may at any time.
async fn exchange(mut socket: TcpStream, portions: &[Vec<u8>], received: &mut Vec<u8>) {
    socket.set_nodelay(true).ok();
    let (mut reads, mut writes) = socket.split();
    let mut buffer = vec![0; 16 * 1024];
    for (at, portion) in (1..).zip(portions) {
        let mut write = pin!(writes.write_all(portion));
        loop {
            // What is not read keeps the server from reading.
            tokio::select! {
                biased;
                read = reads.read(&mut buffer) => match read {
                    Ok(read @ 1..) if received.len() < READ_MOST => received.extend_from_slice(&buffer[..read]),
                    _ => return,
                },
                _ = &mut write => break,
            }
        }
        if at == portions.len() {
            break;
        }
        match timeout(PAUSE, reads.read(&mut buffer)).await {
            Ok(Ok(read @ 1..)) => received.extend_from_slice(&buffer[..read]),
            Ok(_) => return,
            // It has nothing to say.
            Err(_) => {}
        }
    }
    writes.shutdown().await.ok();
    while let Ok(read @ 1..) = reads.read(&mut buffer).await {
        received.extend_from_slice(&buffer[..read]);
        if received.len() > READ_MOST {
            break;
        }
    }
}
