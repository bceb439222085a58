//! The commands that both kinds of swarms know, and what each kind does differently.

use super::bans::Bans;
use super::base::{Base, Transaction};
use super::channel::{ChannelSet, PerChannel};
use super::command::{By, Join, MemberUpdate, SharedCommand, SwarmUpdate};
use super::error::Rejection;
use super::event::{Applied, Event, Grant, SharedEvent};
use super::id::{MemberKey, NodeId, PodId};
use super::interest::{InterestUpdate, Interests};
use super::invariant::BrokenInvariant;
use super::last_members::LastMembers;
use super::member::{Lease, MemberView, View};
use super::request::Method;
use super::role::Role;
use super::roster::Timer;
use super::state::{EndReason, LeaveReason};
use super::topology::{Forwarder, TargetList};

/// The most that one Expire carries out, so that it never holds its shard for
/// long; the rest is due at once again.
const EXPIRIES_AT_ONCE: usize = 1_024;

/// What a kind of swarm does in its own way. Whatever refuses changes nothing.
pub(super) trait RuleSet {
    /// Who leads the swarm, and may act without a session.
    fn authority(&self) -> Option<NodeId>;

    /// Who may also report a peer, and be reported as one, without a session.
    fn absent_peer(&self) -> Option<NodeId>;

    /// Refuses who is not the authority.
    fn leads(&self, by: &By) -> Result<(), Rejection>;

    /// Begins a session, the first or another one of its node.
    fn join(&mut self, tx: &mut Transaction<'_>, join: Join) -> Result<(), Rejection>;

    /// Ends a session and takes the member out.
    fn dismiss(&mut self, tx: &mut Transaction<'_>, key: MemberKey, reason: LeaveReason);

    /// The slot of a member whom the actor may remove.
    fn removable(&self, base: &Base, by: &By, node: NodeId) -> Result<MemberKey, Rejection>;

    /// Refuses the actor to ban this node, or to let it back in.
    fn bannable(&self, by: &By, node: NodeId) -> Result<(), Rejection>;

    /// The role of a member once it says this of its relaying.
    fn updated_role(&self, role: Role, can_relay: Option<bool>) -> Result<Role, Rejection>;

    /// A member said something else of itself: its role was `before`.
    fn member_updated(&mut self, tx: &mut Transaction<'_>, key: MemberKey, before: Role, endpoint_changed: bool);

    /// True when members may want more or less of this node than of others.
    fn is_source(&self, base: &Base, node: NodeId) -> bool;

    /// The interests of a member changed.
    fn interests_changed(&self, tx: &mut Transaction<'_>, key: MemberKey, updates: &[InterestUpdate]);

    /// Changes the configuration. True when it is another one now.
    fn reconfigure(&mut self, update: &SwarmUpdate) -> bool;

    /// The event of other metadata, or of another configuration.
    fn updated(&self, metadata: Box<[u8]>) -> Event;

    /// Those of these channels on which a node, or whoever may publish, holds no term, or one whose home is gone.
    fn unclaimed(&self, base: &Base, node: NodeId, channels: ChannelSet, pod: PodId) -> ChannelSet;

    /// Grants the actor a new term on each of these channels, at home on this pod. Begins the session of `join` if
    /// it has none and needs none to act.
    fn claim(
        &mut self,
        tx: &mut Transaction<'_>,
        by: &By,
        channels: ChannelSet,
        pod: PodId,
        join: Join,
    ) -> Result<(), Rejection>;

    /// The homes of the terms that are the swarm's own, and not a member's.
    fn homes(&self) -> PerChannel<PodId>;

    /// A pod is gone: none of these terms has its home there any more. True when one had.
    fn clear_homes(&mut self, tx: &mut Transaction<'_>, pod: PodId) -> bool;

    /// Tells the rights of a member that are in force.
    fn tell_grants(&self, tx: &mut Transaction<'_>, key: MemberKey);

    /// Ends what is the kind's own; the members are still in.
    fn finish(&mut self, tx: &mut Transaction<'_>, reason: EndReason);

    /// When and why the swarm ends unless something happens.
    fn ends_at(&self) -> Option<(u64, EndReason)>;

    /// Does what follows from all that a command did, before the change is numbered.
    fn settle(&mut self, tx: &mut Transaction<'_>);

    /// A member as others see it.
    fn view(&self, base: &Base, key: MemberKey, view: View) -> Option<MemberView>;

    /// Whom it forwards to; `None` when it is not in the swarm.
    fn targets(&self, base: &Base, of: Forwarder) -> Option<TargetList>;

    /// The rights to publish that are in force.
    fn grants(&self, base: &Base) -> Vec<Grant>;

    /// Panics when what is derived is not what it is derived from. O(n).
    fn check(&self, base: &Base);

    /// Refuses what no command makes, apart from what is derived. O(n).
    fn validate(&self, base: &Base) -> Result<(), BrokenInvariant>;
}

/// Carries out a command of either kind.
pub(super) fn apply(base: &mut Base, rules: &mut dyn RuleSet, command: SharedCommand) -> Result<Applied, Rejection> {
    match command {
        SharedCommand::Join(join) => {
            if let Some(repeat) = base.repeated_join(&join)? {
                return Ok(repeat);
            }
            base.not_ended()?;
            base.lets_in(join.node)?;
            let mut tx = Transaction::new(base);
            tx.applied.session = Some(join.session);
            rules.join(&mut tx, join)?;
            Ok(commit(rules, tx))
        }
        SharedCommand::Leave(by) => act(base, rules, by, Method::Leave, |rules, tx, by| {
            let key = tx.base.member(by)?;
            rules.dismiss(tx, key, LeaveReason::Left);
            Ok(())
        }),
        SharedCommand::Touch(node, session) => unseen(base, |base| base.renew(node, session, Lease::touch)),
        SharedCommand::Attach(node, session, pod) => {
            unseen(base, |base| base.renew(node, session, |lease, _| lease.attach(pod)))
        }
        SharedCommand::Detach(node, session, pod) => {
            unseen(base, |base| base.renew(node, session, |lease, now| lease.detach(pod, now)))
        }
        SharedCommand::PodGone(pod) => Ok(pod_gone(base, rules, pod)),
        SharedCommand::Expire => Ok(expire(base, rules, EXPIRIES_AT_ONCE).0),
        SharedCommand::Forget => Ok(Applied { removed: base.ended.is_some(), ..base.unchanged() }),
        SharedCommand::SetInterest(by, mut changes) => act(base, rules, by, Method::SetInterest, |rules, tx, by| {
            let key = tx.base.member(by)?;
            // Peers leave while a request is on its way: that is no error, and nothing to keep.
            changes.retain(|change| change.source.is_none_or(|source| rules.is_source(tx.base, source)));
            tx.base.has_room_for(&changes, by.node)?;
            set_interests(tx, rules, key, |interests, now| interests.set(&changes, now));
            Ok(())
        }),
        SharedCommand::UpdateMember(by, update) => {
            act(base, rules, by, Method::UpdateMember, |rules, tx, by| update_member(tx, rules, by, update))
        }
        SharedCommand::UpdateSwarm(by, update) => {
            act(base, rules, by, Method::UpdateSwarm, |rules, tx, by| update_swarm(tx, rules, by, update))
        }
        SharedCommand::End(by) if base.ended.is_some() && Some(by.node) == rules.authority() => Ok(base.unchanged()),
        SharedCommand::End(by) => act(base, rules, by, Method::End, |rules, tx, by| {
            rules.leads(by)?;
            finish(tx, rules, EndReason::Requested);
            Ok(())
        }),
        SharedCommand::Remove(by, node) => act(base, rules, by, Method::Remove, |rules, tx, by| {
            let key = rules.removable(tx.base, by, node)?;
            rules.dismiss(tx, key, LeaveReason::Removed);
            Ok(())
        }),
        // To its client it is a removal, and remembered as one.
        SharedCommand::Ban { by, node, ttl_ms } => act(base, rules, by, Method::Remove, |rules, tx, by| {
            rules.bannable(by, node)?;
            tx.base.bans.has_room_for(node)?;
            if let Some(key) = tx.base.roster.key(node) {
                rules.dismiss(tx, key, LeaveReason::Removed);
            }
            tx.ban(node, ttl_ms);
            Ok(())
        }),
        SharedCommand::Unban(by, node) => act(base, rules, by, Method::Unban, |rules, tx, by| {
            rules.bannable(by, node)?;
            if tx.base.bans.lift(node) {
                tx.event(SharedEvent::BanChanged { node, until: None });
            }
            Ok(())
        }),
        SharedCommand::ReportPeer(by, node) => unseen(base, |base| {
            base.admit(&by, rules.absent_peer())?;
            if rules.absent_peer() != Some(node) {
                base.target(node)?;
            }
            base.stats.peer_reports += 1;
            Ok(())
        }),
        SharedCommand::Claim { by, channels, session, ttl_ms, pod } => {
            claim(base, rules, &by, channels, pod, Join::bare(by.node, session, ttl_ms))
        }
        SharedCommand::Acquire { by, channels, session, ttl_ms, pod } => {
            let channels = rules.unclaimed(base, by.node, channels, pod);
            claim(base, rules, &by, channels, pod, Join::bare(by.node, session, ttl_ms))
        }
    }
}

/// Carries out an action of a member or of the authority: repeated requests, the end of the
/// swarm and the actor's membership come first, in this order.
pub(super) fn act<R: RuleSet + ?Sized>(
    base: &mut Base,
    rules: &mut R,
    by: By,
    method: Method,
    action: impl FnOnce(&mut R, &mut Transaction<'_>, &By) -> Result<(), Rejection>,
) -> Result<Applied, Rejection> {
    if let Some(revision) = base.requests.recall(&by, method, base.now)? {
        return Ok(Applied { revision, ..Applied::default() });
    }
    base.not_ended()?;
    base.admit(&by, rules.authority())?;
    let mut tx = Transaction::new(base);
    action(rules, &mut tx, &by)?;
    let applied = commit(rules, tx);
    if let Some(request) = by.request {
        base.requests.remember(by.node, method, request, applied.revision, base.now);
    }
    Ok(applied)
}

/// Ends a command, and numbers the change if it is visible.
fn commit<R: RuleSet + ?Sized>(rules: &mut R, mut tx: Transaction<'_>) -> Applied {
    tx.forget_unwanted();
    rules.settle(&mut tx);
    let Transaction { base, mut applied, .. } = tx;
    base.revision += u64::from(!applied.events.is_empty());
    applied.revision = base.revision;
    applied
}

/// Carries out something that nobody sees.
fn unseen(base: &mut Base, act: impl FnOnce(&mut Base) -> Result<(), Rejection>) -> Result<Applied, Rejection> {
    base.not_ended()?;
    act(base)?;
    Ok(base.unchanged())
}

/// When something falls due next, in milliseconds since the Unix epoch.
pub(super) fn next_expiry(base: &Base, rules: &dyn RuleSet) -> Option<u64> {
    match base.ended {
        Some((at, _)) => Some(at + base.retention_ms),
        None => {
            let end = rules.ends_at().map(|(at, _)| at);
            [base.roster.next_expiry(), base.bans.next_end(), end].into_iter().flatten().min()
        }
    }
}

/// Carries out at most so much of what is due: leases, interests, ends of bans; the end of an abandoned swarm, and when
/// the swarm is to be forgotten. Tells how much it was: fewer than `most` when nothing is left.
pub(super) fn expire(base: &mut Base, rules: &mut dyn RuleSet, most: usize) -> (Applied, usize) {
    if let Some((at, _)) = base.ended {
        let removed = at + base.retention_ms <= base.now;
        return (Applied { removed, ..base.unchanged() }, usize::from(removed));
    }
    let mut tx = Transaction::new(base);
    let free = tx.base.bans.take_due(tx.base.now, most);
    let due = tx.base.roster.due(tx.base.now, most - free.len());
    let mut carried_out = free.len() + due.len();
    for node in free {
        tx.event(SharedEvent::BanChanged { node, until: None });
    }
    let keys = |wanted| due.iter().filter(move |(_, timer)| *timer == wanted).map(|(key, _)| *key);
    for key in keys(Timer::Lease) {
        rules.dismiss(&mut tx, key, LeaveReason::Timeout);
    }
    // Before the interests, so that none is told to fall away that has gone with its source.
    tx.forget_unwanted();
    for key in keys(Timer::Interest) {
        // Its lease may have ended just before.
        if tx.base.roster.get(key).is_some() {
            set_interests(&mut tx, rules, key, Interests::expire);
        }
    }
    if let Some((at, reason)) = rules.ends_at()
        && at <= tx.base.now
    {
        finish(&mut tx, rules, reason);
        carried_out += 1;
    }
    (commit(rules, tx), carried_out)
}

fn set_interests(
    tx: &mut Transaction<'_>,
    rules: &dyn RuleSet,
    key: MemberKey,
    set: impl FnOnce(&mut Interests, u64) -> Vec<InterestUpdate>,
) {
    let (now, before) = (tx.base.now, tx.base.roster.at(key).levels());
    let updates = tx.base.roster.update(key, |member| set(&mut member.interests, now));
    if !updates.is_empty() {
        tx.base.stats.wants_instead(before, tx.base.roster.at(key).levels());
        rules.interests_changed(tx, key, &updates);
        tx.tell_interests(key, updates);
    }
}

fn update_member(
    tx: &mut Transaction<'_>,
    rules: &mut dyn RuleSet,
    by: &By,
    update: MemberUpdate,
) -> Result<(), Rejection> {
    let key = tx.base.member(by)?;
    let MemberUpdate { metadata, endpoint, can_relay } = update;
    let member = tx.base.roster.at(key);
    let before = member.role;
    let role = rules.updated_role(before, can_relay)?;
    let metadata = metadata.filter(|metadata| *metadata != member.metadata);
    let endpoint = endpoint.filter(|endpoint| *endpoint != member.endpoint);
    if metadata.is_none() && endpoint.is_none() && role == before {
        return Ok(());
    }
    let endpoint_changed = endpoint.is_some();
    tx.base.roster.update(key, |member| {
        member.role = role;
        member.metadata = metadata.unwrap_or_else(|| std::mem::take(&mut member.metadata));
        member.endpoint = endpoint.unwrap_or_else(|| std::mem::take(&mut member.endpoint));
    });
    rules.member_updated(tx, key, before, endpoint_changed);
    let view = rules.view(tx.base, key, View::Full);
    tx.applied.events.extend(view.map(|member| SharedEvent::MemberUpdated { key, member: Box::new(member) }.into()));
    Ok(())
}

fn update_swarm(
    tx: &mut Transaction<'_>,
    rules: &mut dyn RuleSet,
    by: &By,
    mut update: SwarmUpdate,
) -> Result<(), Rejection> {
    rules.leads(by)?;
    let metadata = update.metadata.take().filter(|metadata| *metadata != tx.base.metadata);
    let reconfigured = rules.reconfigure(&update);
    if metadata.is_none() && !reconfigured {
        return Ok(());
    }
    if let Some(metadata) = metadata {
        tx.base.metadata = metadata;
    }
    tx.applied.updated = true;
    tx.applied.summary_changed = true;
    tx.event(rules.updated(tx.base.metadata.clone()));
    Ok(())
}

fn claim(
    base: &mut Base,
    rules: &mut dyn RuleSet,
    by: &By,
    channels: ChannelSet,
    pod: PodId,
    join: Join,
) -> Result<Applied, Rejection> {
    base.not_ended()?;
    let mut tx = Transaction::new(base);
    rules.claim(&mut tx, by, channels, pod, join)?;
    tx.applied.session = tx.base.roster.find(by.node).map(|member| member.session);
    Ok(commit(rules, tx))
}

/// Detaches every session from a pod, which is the home of no term any more. O(members).
fn pod_gone(base: &mut Base, rules: &mut dyn RuleSet, pod: PodId) -> Applied {
    let mut tx = Transaction::new(base);
    rules.clear_homes(&mut tx, pod);
    for key in tx.base.roster.keys() {
        let member = tx.base.roster.at(key);
        if member.lease.is_attached_to(pod) || member.pods().contains(&pod) {
            leave_pod(&mut tx, rules, key, pod, |lease, now| lease.detach(pod, now));
        }
    }
    commit(rules, tx)
}

/// Detaches up to `most` sessions from a pod of a cluster that is gone since a time, in the order of their slots; the
/// pod is the home of none of their terms any more, nor of the swarm's own. Tells how much it was: fewer than `most`
/// when nothing is left. O(what is done).
pub(super) fn detach_gone(
    base: &mut Base,
    rules: &mut dyn RuleSet,
    pod: PodId,
    gone_at: u64,
    most: usize,
) -> (Applied, usize) {
    let mut tx = Transaction::new(base);
    let of_swarm = usize::from(rules.clear_homes(&mut tx, pod));
    let left = most.saturating_sub(of_swarm);
    let keys: Vec<MemberKey> = tx.base.roster.on_pod(pod, MemberKey::FIRST).take(left).collect();
    for key in &keys {
        leave_pod(&mut tx, rules, *key, pod, |lease, _| lease.detach_gone(pod, gone_at));
    }
    (commit(rules, tx), of_swarm + keys.len())
}

/// A pod on which a member had streams, or the home of terms, is gone.
fn leave_pod(
    tx: &mut Transaction<'_>,
    rules: &dyn RuleSet,
    key: MemberKey,
    pod: PodId,
    detach: impl FnOnce(&mut Lease, u64),
) {
    let now = tx.base.now;
    let has_left_home = tx.base.roster.update(key, |member| {
        detach(&mut member.lease, now);
        member.leave_home(pod)
    });
    if has_left_home {
        rules.tell_grants(tx, key);
    }
}

/// Ends the swarm and every session in it.
fn finish(tx: &mut Transaction<'_>, rules: &mut dyn RuleSet, reason: EndReason) {
    rules.finish(tx, reason);
    let Base { roster, bans, last_members, stats, ended, now, .. } = &mut *tx.base;
    *bans = Bans::default();
    *ended = Some((*now, reason));
    stats.set_active(false, *now);
    let roster = std::mem::take(roster);
    *last_members = LastMembers::of(&roster);
    stats.all_left(LeaveReason::Ended, roster.len());
    tx.applied.over = true;
    tx.applied.summary_changed = true;
    tx.applied.touched.all = true;
    if !roster.is_empty() {
        tx.applied.retired = Some(Box::new(roster));
    }
}
