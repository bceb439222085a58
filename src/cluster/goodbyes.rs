//! When the streams of a partition have to end, because this pod does not follow the log any more.
//!
//! That is so once the pod's incarnation is over, once what it held of the partition was dropped, and while the log has
//! gone on without it. A stream looks at a number: when it rises, what the stream began with is over.

use futures_util::FutureExt;
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::task::JoinSet;

use starling_cluster::{PartitionHandle, PodHandle};
use starling_replica::output::LogAccess;

use super::partition_state::PartitionState;

/// What the streams of one partition look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Life {
    /// How often streams had to end.
    ended: u64,
    /// Streams that begin now would have to end at once.
    is_away: bool,
}

/// The goodbyes of all partitions, while this lives.
#[derive(Debug)]
pub(super) struct Goodbyes {
    partitions: Vec<watch::Receiver<Life>>,
    /// Of all of them: it is away where one is.
    all: watch::Receiver<Life>,
    _watching: JoinSet<()>,
}

/// The goodbyes of one partition, since this was asked for.
#[derive(Clone, Debug)]
pub struct PartitionGoodbyes {
    life: watch::Receiver<Life>,
    began: u64,
}

impl Goodbyes {
    /// Watches the partitions of a pod, on the runtime of whoever calls.
    pub(super) fn new(pod: &PodHandle<PartitionState>) -> Self {
        let mut watching = JoinSet::new();
        let mut watch_partition = |partition| {
            let (sender, receiver) = watch::channel(Life::default());
            watching.spawn(watch_life(pod.of_shard(partition), sender));
            receiver
        };
        let partitions: Vec<_> = (0..pod.partitions()).map(&mut watch_partition).collect();
        let (sender, all) = watch::channel(Life::default());
        watching.spawn(watch_all(partitions.clone(), sender));
        Self { partitions, all, _watching: watching }
    }

    /// Those of one partition, or of all.
    pub(super) fn of(&self, partition: Option<usize>) -> PartitionGoodbyes {
        let life = partition.map_or(&self.all, |partition| &self.partitions[partition]).clone();
        let began = life.borrow().ended;
        PartitionGoodbyes { life, began }
    }
}

impl PartitionGoodbyes {
    /// Whether no stream should begin now.
    pub fn is_away(&self) -> bool {
        self.life.borrow().is_away
    }

    /// Resolves when streams that began before have to end.
    pub async fn ended(&mut self) {
        let began = self.began;
        // The pod's end is told by the process.
        if self.life.wait_for(|life| life.ended > began || life.is_away).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn watch_life(partition: PartitionHandle<PartitionState>, sender: watch::Sender<Life>) {
    let (mut lives, mut access) = (partition.lives(), partition.access());
    let mut seen = *lives.borrow_and_update();
    loop {
        let is_away = matches!(*access.borrow_and_update(), LogAccess::Behind | LogAccess::Stale);
        let now = *lives.borrow_and_update();
        sender.send_if_modified(|life| {
            let before = *life;
            life.ended += u64::from(now != seen) + u64::from(is_away && !life.is_away);
            life.is_away = is_away;
            *life != before
        });
        seen = now;
        let changed = async {
            tokio::select! {
                changed = lives.changed() => changed,
                changed = access.changed() => changed,
            }
        };
        if changed.await.is_err() {
            return;
        }
    }
}

async fn watch_all(mut partitions: Vec<watch::Receiver<Life>>, sender: watch::Sender<Life>) {
    loop {
        let lives: Vec<Life> = partitions.iter_mut().map(|partition| *partition.borrow_and_update()).collect();
        let ended = lives.iter().map(|life| life.ended).sum();
        let is_away = lives.iter().any(|life| life.is_away);
        sender.send_replace(Life { ended, is_away });
        let changed = select_all(partitions.iter_mut().map(|partition| partition.changed().boxed()));
        if changed.await.0.is_err() {
            return;
        }
    }
}
