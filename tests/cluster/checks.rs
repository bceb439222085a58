//! What every server says, beside what was acknowledged and what was told.

use std::collections::BTreeMap;

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::MemberView;

use crate::cluster::Cluster;
use crate::load::{LIVESTREAM, Load};
use crate::target_fold::Targets;
use crate::time::until;

/// A livestream as one server shows it, all of one revision.
#[derive(Debug, PartialEq)]
struct Shown {
    livestream: pb::Livestream,
    viewers: Vec<pb::Viewer>,
}

impl Shown {
    async fn by(client: &Client, livestream_id: u64) -> Result<Self, String> {
        let failed = |status: tonic::Status| status.to_string();
        let mut calls = client.livestreams.clone();
        let found = calls.get_livestream(pb::GetLivestreamRequest { livestream_id }).await.map_err(failed)?;
        let livestream = found.into_inner().livestream.unwrap_or_default();
        let (mut viewers, mut page_token) = (Vec::new(), String::new());
        loop {
            let list = pb::ListViewersRequest {
                livestream_id,
                page_size: 1_000,
                page_token,
                view: MemberView::Full.into(),
                ..Default::default()
            };
            let page = calls.list_viewers(list).await.map_err(failed)?.into_inner();
            if page.revision != livestream.revision {
                return Err(format!("it changes: {} {}", livestream.revision, page.revision));
            }
            viewers.extend(page.viewers);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                viewers.sort_unstable_by_key(|viewer| viewer.node_id);
                return Ok(Self { livestream, viewers });
            }
        }
    }

    fn members(&self) -> BTreeMap<u64, u64> {
        self.viewers.iter().map(|viewer| (viewer.node_id, viewer.session_id)).collect()
    }

    /// In what another server differs.
    fn difference(&self, other: &Self) -> String {
        if self.livestream != other.livestream {
            return format!("{:?}\nand {:?}", self.livestream, other.livestream);
        }
        let unlike = self.viewers.iter().zip(&other.viewers).find(|(one, other)| one != other);
        unlike.map_or_else(|| "other viewers".to_owned(), |(one, other)| format!("{one:?}\nand {other:?}"))
    }
}

/// Waits until all servers say the same of everything, which is what was acknowledged and what was told. Nobody changes
/// anything meanwhile.
pub(crate) async fn all_agree(cluster: &Cluster, load: &mut Load) {
    let turns = load.members.turns.clone();
    let _nobody_acts = turns.write().await;
    let clients = cluster.access().each().await;
    for livestream in load.livestreams.clone() {
        let wanted = members(load, livestream);
        let what = format!("all servers agree on livestream {livestream}");
        until(&what, async || {
            load.assert_all_go_on();
            let shown = Shown::by(&clients[0], livestream).await?;
            for client in &clients[1..] {
                let other = Shown::by(client, livestream).await?;
                if other != shown {
                    return Err(shown.difference(&other));
                }
            }
            same_members("acknowledged", &wanted, &shown.members())?;
            rosters_agree(load, livestream, &shown)?;
            if livestream == LIVESTREAM { targets_agree(load, &clients, &shown).await } else { Ok(()) }
        })
        .await;
    }
    sessions_were_told_once(load);
    livestreams_are_there(load, &clients).await;
}

/// Who is in a livestream by all that was acknowledged.
fn members(load: &Load, livestream: u64) -> BTreeMap<u64, u64> {
    let acknowledged = load.members.acknowledged.lock().unwrap();
    let of_this = acknowledged.members.iter().filter(|((of, _), _)| *of == livestream);
    let mut wanted: BTreeMap<u64, u64> = of_this.map(|((_, node), session)| (*node, *session)).collect();
    if livestream == LIVESTREAM {
        wanted.extend(&load.stay);
    }
    wanted
}

fn same_members(what: &str, one: &BTreeMap<u64, u64>, shown: &BTreeMap<u64, u64>) -> Result<(), String> {
    let missing: Vec<_> = one.iter().filter(|(node, session)| shown.get(node) != Some(session)).collect();
    let surplus: Vec<_> = shown.iter().filter(|(node, session)| one.get(node) != Some(session)).collect();
    if missing.is_empty() && surplus.is_empty() {
        return Ok(());
    }
    Err(format!("{what} and not shown: {missing:?}, shown and not {what}: {surplus:?}"))
}

fn rosters_agree(load: &Load, livestream: u64, shown: &Shown) -> Result<(), String> {
    for (_, roster) in load.rosters.iter().filter(|(of, _)| *of == livestream) {
        let roster = roster.lock().unwrap();
        let at = (shown.livestream.epoch, shown.livestream.revision);
        if !roster.live || (roster.epoch, roster.revision) != at {
            return Err(format!("a watch of events is at {:?}, and not {at:?}", (roster.epoch, roster.revision)));
        }
        same_members("told by events", &roster.members, &shown.members())?;
    }
    Ok(())
}

async fn targets_agree(load: &Load, clients: &[Client], shown: &Shown) -> Result<(), String> {
    for (node, fold) in &load.folds {
        for client in clients {
            let get = pb::GetTargetsRequest { livestream_id: LIVESTREAM, of_node_id: *node, ..Default::default() };
            let told = client.clone().livestreams.get_targets(get).await.map_err(|status| status.to_string())?;
            let told = told.into_inner();
            if told.revision != shown.livestream.revision {
                return Err(format!("it changes: {} {}", told.revision, shown.livestream.revision));
            }
            let wanted = Targets::from(told.targets.unwrap_or_default());
            let fold = fold.lock().unwrap();
            let has = fold.as_ref().map(|fold| &fold.now);
            if has != Some(&wanted) {
                return Err(format!("targets of {node}: {has:?}\nand not {wanted:?}"));
            }
        }
    }
    Ok(())
}

/// Where no reset came between, each session was told to begin once, and to end as often as was acknowledged.
fn sessions_were_told_once(load: &Load) {
    let acknowledged = load.members.acknowledged.lock().unwrap();
    for (livestream, roster) in &load.rosters {
        let roster = roster.lock().unwrap();
        for (session, (_, ended)) in acknowledged.sessions.iter().filter(|(_, (of, _))| of == livestream) {
            let told = roster.told.get(session).copied().unwrap_or_default();
            let wanted = (1, u64::from(*ended));
            let fits = if roster.resets > 1 { told.0 <= 1 && told.1 <= wanted.1 } else { told == wanted };
            assert!(fits, "livestream {livestream}, session {session}: told {told:?}, wanted {wanted:?}");
        }
    }
}

/// Each livestream that was made is there once, on every server.
async fn livestreams_are_there(load: &Load, clients: &[Client]) {
    let made = load.members.acknowledged.lock().unwrap().livestreams.clone();
    for (at, client) in clients.iter().enumerate() {
        let what = format!("server {at} has all livestreams");
        until(&what, async || {
            let mut shown = BTreeMap::new();
            let mut page_token = String::new();
            loop {
                let list = pb::ListLivestreamsRequest { page_size: 1_000, page_token, ..Default::default() };
                let page = client.clone().livestreams.list_livestreams(list).await;
                let page = page.map_err(|status| status.to_string())?.into_inner();
                shown.extend(page.livestreams.iter().map(|found| (found.livestream_id, found.epoch)));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            shown.retain(|id, _| !load.livestreams.contains(id));
            if shown == made { Ok(()) } else { Err(format!("shown {shown:?}\nmade {made:?}")) }
        })
        .await;
    }
}
