//! The table against a simple model of it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::transport::MemorySettings;
use crate::transport::stream_count::OpenStream;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn table(max_connections: usize, max_connections_per_address: usize) -> Table {
    let settings = Settings {
        max_connections,
        max_connections_per_address,
        handshakes_per_address: 0,
        max_age: Duration::ZERO,
        max_age_grace: Duration::from_secs(40),
        goodbye_spread: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(10),
        receive_timeout: Duration::from_secs(10),
        max_concurrent_streams: 100,
        keepalive_interval: Duration::from_secs(20),
        keepalive_timeout: Duration::from_secs(10),
        max_local_error_reset_streams: 100,
        max_header_list_bytes: 16 * 1024,
        memory: MemorySettings::UNLIMITED,
    };
    Table::new(settings, Budgets::new(settings.memory), Arc::default())
}

/// Takes a connection from an address in.
fn add(table: &mut Table, address: IpAddr, now: Instant) -> (u64, Arc<ConnectionShared>) {
    let (id, shared) = table.add(address, now);
    shared.comes_from(address, None);
    (id, shared)
}

fn is_closed(shared: &ConnectionShared) -> bool {
    shared.is_requested(CloseRequest::Now)
}

/// A connection as the model knows it.
struct Modelled {
    shared: Arc<ConnectionShared>,
    address: IpAddr,
    idle_since: u32,
    streams: Vec<OpenStream>,
}

/// What happens, drawn by a seed, and what a list of all connections says of it.
#[derive(Default)]
struct Model {
    open: BTreeMap<u64, Modelled>,
    sweep: u32,
    /// Connections refused, connections closed, streams refused.
    seen: [usize; 3],
}

impl Model {
    fn any(&self, rng: &mut StdRng) -> Option<u64> {
        let at = rng.random_range(0..self.open.len().max(1));
        self.open.keys().nth(at).copied()
    }

    /// Whom the next one must find gone: the longest idle, the oldest of several.
    fn next_to_go(&self) -> Option<u64> {
        let idle = self.open.iter().filter(|(_, one)| one.streams.is_empty());
        idle.min_by_key(|(id, one)| (one.idle_since, **id)).map(|(id, _)| *id)
    }

    fn carrying(&self, address: IpAddr) -> usize {
        self.open.values().filter(|one| one.address == address && !one.streams.is_empty()).count()
    }

    async fn connect(&mut self, table: &mut Table, address: IpAddr) {
        let goes = if self.open.len() < table.settings.max_connections { None } else { self.next_to_go() };
        let has_room = self.open.len() < table.settings.max_connections || goes.is_some();
        assert_eq!(table.make_room().await, has_room);
        if let Some(goes) = goes {
            let gone = self.open.remove(&goes).unwrap();
            assert!(is_closed(&gone.shared), "the longest idle goes");
        }
        self.seen[0] += usize::from(!has_room);
        self.seen[1] += usize::from(goes.is_some());
        if has_room {
            let (id, shared) = add(table, address, Instant::now());
            self.open.insert(id, Modelled { shared, address, idle_since: self.sweep, streams: Vec::new() });
        }
    }

    fn open_stream(&mut self, id: u64, share: usize) {
        let carrying = self.carrying(self.open[&id].address);
        let one = self.open.get_mut(&id).unwrap();
        let allowed = !one.streams.is_empty() || carrying < share;
        let stream = OpenStream::new(one.shared.streams());
        assert_eq!(stream.is_some(), allowed);
        self.seen[2] += usize::from(!allowed);
        one.streams.extend(stream);
    }

    fn end_stream(&mut self, id: u64) {
        let one = self.open.get_mut(&id).unwrap();
        if one.streams.pop().is_some() {
            one.idle_since = self.sweep;
        }
    }
}

#[tokio::test]
async fn random_histories_agree_with_the_model() {
    let mut seen = [0; 3];
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let share = [3, 7, 20][rng.random_range(0..3)];
        let mut table = table(rng.random_range(1..20), share);
        let mut model = Model::default();
        // Some histories fill it with streams, some leave most idle.
        let busy = rng.random_range(1..10);
        for _ in 0..1_000 {
            let any = model.any(&mut rng);
            match (rng.random_range(0..20), any) {
                (0..4, _) | (_, None) => {
                    let address = [127, 0, 0, rng.random_range(1..5)].into();
                    model.connect(&mut table, address).await;
                }
                (4, Some(id)) => {
                    model.open.remove(&id);
                    table.remove(id);
                }
                (5, Some(_)) => {
                    table.sweep(Instant::now());
                    model.sweep += 1;
                }
                (draw, Some(id)) if draw < 6 + busy => model.open_stream(id, share),
                (_, Some(id)) => model.end_stream(id),
            }
            assert_eq!(table.open.len(), model.open.len());
            assert!(model.open.values().all(|one| !is_closed(&one.shared)), "seed {seed}");
            assert!(table.idle.len() <= table.open.len(), "nobody is listed who is gone");
        }
        seen.iter_mut().zip(model.seen).for_each(|(all, seen)| *all += seen);
    }
    assert!(seen.iter().all(|count| *count > 500), "{seen:?}");
}

#[tokio::test]
async fn busy_connections_are_looked_at_once() {
    let mut table = table(100, usize::MAX);
    let all: Vec<_> = (0..100).map(|_| add(&mut table, ADDRESS, Instant::now()).1).collect();
    let mut streams: Vec<_> = all.iter().map(|one| OpenStream::new(one.streams()).unwrap()).collect();
    for _ in 0..3 {
        assert!(!table.make_room().await);
        assert!(table.idle.is_empty(), "nobody is left to look at");
    }
    assert_eq!(table.refused, 3);
    drop(streams.remove(42));
    assert!(table.make_room().await);
    assert!(is_closed(&all[42]));
    assert_eq!(all.iter().filter(|one| is_closed(one)).count(), 1);
}

#[tokio::test]
async fn call_makes_a_connection_the_last_to_go() {
    let mut table = table(3, usize::MAX);
    let [first, second, third] = [(), (), ()].map(|()| add(&mut table, ADDRESS, Instant::now()).1);
    table.sweep(Instant::now());
    drop(OpenStream::new(first.streams()).unwrap());
    assert!(table.make_room().await);
    assert!(is_closed(&second) && !is_closed(&first) && !is_closed(&third));
}

#[test]
fn share_is_whole_after_calls_on_threads() {
    let common = Arc::new(Common::new(Arc::default(), 2));
    let connection = || {
        let connection = StreamCount::new(0, Arc::clone(&common));
        connection.belongs_to(ADDRESS);
        connection
    };
    let connections = [connection(), connection()];
    std::thread::scope(|threads| {
        for connection in &connections {
            for _ in 0..2 {
                threads.spawn(|| {
                    for _ in 0..10_000 {
                        let outer = OpenStream::new(connection);
                        let inner = OpenStream::new(connection);
                        drop((outer, inner));
                        connection.idle_since();
                    }
                });
            }
        }
    });
    let held = connections.each_ref().map(|connection| OpenStream::new(connection).expect("two may"));
    assert!(OpenStream::new(&connection()).is_none(), "a third may not");
    drop(held);
    assert!(connections.iter().all(|connection| connection.is_idle()));
}

#[test]
fn addresses_without_connections_are_forgotten() {
    let mut table = table(10, 1);
    let (id, shared) = add(&mut table, ADDRESS, Instant::now());
    drop(shared);
    table.sweep(Instant::now());
    assert_eq!(table.common.addresses(), 1);
    table.remove(id);
    table.sweep(Instant::now());
    assert_eq!(table.common.addresses(), 0);
}

#[tokio::test]
async fn connection_has_its_place_before_its_address() {
    let mut table = table(2, 1);
    let proxy = Ipv4Addr::new(10, 0, 0, 1).into();
    let [(_, first), (_, second)] = [table.add(proxy, Instant::now()), table.add(proxy, Instant::now())];
    assert_eq!((first.peer(), table.common.addresses()), (proxy, 0), "the proxy has no share");
    assert!(table.make_room().await, "it makes room as any other");
    assert!(is_closed(&first) && !is_closed(&second));
    let (_, third) = table.add(proxy, Instant::now());
    for (connection, client) in [(&second, [192, 0, 2, 1]), (&third, [192, 0, 2, 2])] {
        connection.comes_from(client.into(), None);
        assert_eq!(connection.peer(), IpAddr::from(client));
    }
    // Each of the clients has a share of its own, and uses it up.
    let held = [&second, &third].map(|connection| OpenStream::new(connection.streams()).expect("it has a share"));
    assert!(!table.make_room().await);
    drop(held);
    assert!(table.make_room().await && is_closed(&second));
    let (_, fourth) = table.add(proxy, Instant::now());
    fourth.comes_from([192, 0, 2, 2].into(), None);
    let _held = OpenStream::new(third.streams()).unwrap();
    assert!(OpenStream::new(fourth.streams()).is_none(), "the share of its address is used up");
}

#[test]
fn silent_connection_is_closed_in_time() {
    let mut table = table(10, 1);
    let start = Instant::now();
    let [(_, silent), (_, spoke)] = [add(&mut table, ADDRESS, start), add(&mut table, ADDRESS, start)];
    spoke.count_received(PREFACE);
    table.sweep(start + HANDSHAKE - Duration::from_millis(1));
    assert!(!is_closed(&silent));
    table.sweep(start + HANDSHAKE);
    assert!(is_closed(&silent) && !is_closed(&spoke));
}

#[test]
fn old_connection_is_told_step_by_step() {
    let mut table = table(10, 1);
    table.settings.max_age = Duration::from_secs(100);
    let mut now = Instant::now();
    let (_, shared) = add(&mut table, ADDRESS, now);
    shared.count_received(PREFACE);
    let spread = table.settings.goodbye_spread;
    // The latest age that is drawn, and what is left of the grace until the goodbyes.
    let steps = [
        (Duration::from_secs(110), CloseRequest::Graceful),
        (table.settings.max_age_grace - 3 * spread, CloseRequest::SayGoodbye(spread)),
        (2 * spread, CloseRequest::EndStreams),
        (spread, CloseRequest::Now),
    ];
    for (wait, request) in steps {
        assert!(!shared.is_requested(request), "{request:?} comes too early");
        now += wait;
        table.sweep(now);
        assert!(shared.is_requested(request), "{request:?} does not come");
    }
}
