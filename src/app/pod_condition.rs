//! Whether a process can be used as one of several: what its log says, and whether the others take it for one of theirs.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::cluster::PodCondition;
use crate::cluster::condition::watch_condition;
use crate::cluster::directory::{Directory, KnownPod};
use crate::cluster::partition_state::PartitionState;
use crate::peer::{Admission, PeerAddress, PeerNetwork};
use starling_cluster::PodHandle;

/// How long a process that could be used waits for a word of the others, before it is taken for one of theirs. Those
/// that the log knows may all be gone.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// What its condition is asked of.
#[derive(Debug)]
pub(super) struct ConditionSource {
    pod: PodHandle<PartitionState>,
    directory: Directory,
    network: PeerNetwork,
}

impl ConditionSource {
    pub(super) const fn new(pod: PodHandle<PartitionState>, directory: Directory, network: PeerNetwork) -> Self {
        Self { pod, directory, network }
    }

    /// Tells the condition, now and whenever it changes, until the pod is gone.
    pub(super) async fn watch(self, tell: impl FnMut(PodCondition)) {
        let Self { pod, directory, network } = self;
        let starting = PodCondition { reasons: vec!["the log is not read yet".to_owned()], ..PodCondition::default() };
        let (of_log, conditions) = watch::channel(starting);
        let log = watch_condition(pod, move |condition| of_log.send_modify(|known| *known = condition));
        let (mut changes, mut entry) = (network.admission_changes(), Entry::new(conditions, tell));
        let told = async {
            loop {
                let known = directory.changed();
                // Whom the log names may have refused, and is not taken for nobody because it was not asked yet.
                network.set_known(known_others(&directory));
                let admission = directory.knows_itself().then(|| network.admission());
                let answered_by = entry.tell(admission.as_ref());
                tokio::select! {
                    changed = entry.conditions.changed() => if changed.is_err() { return },
                    _ = changes.next() => {}
                    () = known => {}
                    () = sleep_until(answered_by.unwrap_or_else(Instant::now)), if answered_by.is_some() => {}
                }
            }
        };
        tokio::join!(log, told);
    }
}

/// A process that was let in by the others, or not yet.
struct Entry<T> {
    conditions: watch::Receiver<PodCondition>,
    tell: T,
    /// It was usable once: from then on a peer with another secret is that peer's fault.
    is_admitted: bool,
    /// Since when nothing but the word of the others is wanted.
    waits_since: Option<Instant>,
}

impl<T: FnMut(PodCondition)> Entry<T> {
    const fn new(conditions: watch::Receiver<PodCondition>, tell: T) -> Self {
        Self { conditions, tell, is_admitted: false, waits_since: None }
    }

    /// Tells what is so now; answers when to look again, whatever changes until then.
    /// Without an admission this process is not in the log yet, or it is not known who else is.
    fn tell(&mut self, admission: Option<&Admission>) -> Option<Instant> {
        let mut condition = self.conditions.borrow_and_update().clone();
        let mut look_at = None;
        if condition.reasons.is_empty() && !self.is_admitted {
            let answered_by = *self.waits_since.get_or_insert_with(Instant::now) + ANSWERED_WITHIN;
            match admission {
                None => condition.reasons.push("this server is not in the log yet".to_owned()),
                Some(Admission::Refused(addresses)) => condition.reasons.push(refused(addresses)),
                Some(Admission::Unknown) if Instant::now() < answered_by => {
                    condition.reasons.push("the other servers have not answered yet".to_owned());
                    look_at = Some(answered_by);
                }
                Some(Admission::Unknown | Admission::Alone | Admission::Admitted(_)) => self.is_admitted = true,
            }
        }
        if let Some(Admission::Admitted(addresses) | Admission::Refused(addresses)) = admission
            && self.is_admitted
            && !addresses.is_empty()
        {
            condition.remarks.push(refused(addresses));
        }
        (self.tell)(condition);
        look_at
    }
}

/// The other pods that the log knows.
pub(super) fn known_others(directory: &Directory) -> Vec<PeerAddress> {
    let address_of = |pod: KnownPod| PeerAddress { incarnation: pod.incarnation.0, address: pod.address };
    directory.others().into_iter().map(address_of).collect()
}

fn refused(addresses: &[String]) -> String {
    format!("servers of this cluster have another secret: see cluster.peer_secret_file (at {})", addresses.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an entry tells when the log is read and the others say this, one after the other.
    async fn told(admissions: &[Admission]) -> Vec<(bool, usize)> {
        tokio::time::pause();
        let (_of_log, conditions) = watch::channel(PodCondition::default());
        let mut all = Vec::new();
        let mut entry = Entry::new(conditions, |condition: PodCondition| {
            all.push((condition.reasons.is_empty(), condition.remarks.len()));
        });
        for admission in admissions {
            if let Some(look_at) = entry.tell(Some(admission)) {
                tokio::time::advance(look_at - Instant::now()).await;
            }
        }
        drop(entry);
        all
    }

    fn refused_at(address: &str) -> Vec<String> {
        vec![address.to_owned()]
    }

    #[tokio::test]
    async fn server_with_another_secret_is_not_ready() {
        let refused = Admission::Refused(refused_at("a"));
        assert_eq!(told(&[refused.clone(), refused, Admission::Alone]).await, [(false, 0), (false, 0), (true, 0)]);
    }

    #[tokio::test]
    async fn ready_server_stays_so_when_refused() {
        let (some, all) = (Admission::Admitted(refused_at("b")), Admission::Refused(refused_at("b")));
        assert_eq!(told(&[Admission::Admitted(Vec::new()), some, all]).await, [(true, 0), (true, 1), (true, 1)]);
    }

    #[tokio::test]
    async fn server_not_in_the_log_is_not_ready() {
        let (_of_log, conditions) = watch::channel(PodCondition::default());
        let mut reasons = Vec::new();
        Entry::new(conditions, |condition: PodCondition| reasons = condition.reasons).tell(None);
        assert_eq!(reasons, ["this server is not in the log yet"]);
    }

    #[tokio::test]
    async fn silent_servers_are_waited_for_briefly() {
        assert_eq!(told(&[Admission::Unknown, Admission::Unknown]).await, [(false, 0), (true, 0)]);
    }
}
