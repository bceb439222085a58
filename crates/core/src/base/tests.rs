use super::*;
use crate::channel::Channel;
use crate::interest::{Interest, InterestChange};
use crate::role::ViewerMode;
use crate::roster::Timer;

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

/// Session 1 of node 1, with a lease of one second, at time 0.
fn with_member() -> Base {
    let mut base = Base::new(Epoch::drawn(1), Box::default(), 0, 0);
    let role = Role::Viewer { mode: ViewerMode::Active, can_relay: true };
    Transaction::new(&mut base).insert(Join::bare(node(1), session(1), 1_000), role);
    base
}

#[test]
fn due_timers_follow_leases_and_interests() {
    let mut base = with_member();
    let key = base.roster.key(node(1)).unwrap();
    base.renew(node(1), session(1), |lease, _| lease.attach(3)).unwrap();
    assert_eq!(base.roster.next_expiry(), None, "attached for as long as it likes");
    let brief = InterestChange { channel: Channel::Chat, source: None, level: Interest::None, ttl_ms: Some(50) };
    base.roster.update(key, |member| member.interests.set(&[brief], 100));
    assert_eq!(base.roster.next_expiry(), Some(150));
    base.now = 120;
    base.renew(node(1), session(1), |lease, now| lease.detach(3, now)).unwrap();
    assert_eq!(base.roster.due(2_000, 10), [(key, Timer::Interest), (key, Timer::Lease)]);
    base.now = 900;
    base.renew(node(1), session(1), Lease::touch).unwrap();
    assert_eq!(base.roster.due(1_899, 10), [(key, Timer::Interest)]);
    base.roster.check();
}

#[test]
fn only_the_current_session_renews_its_lease() {
    let mut base = with_member();
    base.now = 500;
    let stale = base.renew(node(1), session(9), Lease::touch);
    assert_eq!(stale, Err(Rejection::SessionReplaced { node: node(1), given: session(9) }));
    assert_eq!(base.renew(node(2), session(9), Lease::touch), Err(Rejection::NotAMember(node(2))));
    assert_eq!(base.roster.next_expiry(), Some(1_000));
}

#[test]
fn who_is_banned_is_told_until_when() {
    let mut base = with_member();
    base.now = 100;
    let mut tx = Transaction::new(&mut base);
    tx.ban(node(2), 50);
    tx.ban(node(2), 50);
    assert_eq!(tx.applied.events, [SharedEvent::BanChanged { node: node(2), until: Some(150) }.into()], "told once");
    let banned = Rejection::Banned { node: node(2), until: 150 };
    let by = By { node: node(2), session: None, request: None };
    assert_eq!((base.lets_in(node(2)), base.member(&by)), (Err(banned.clone()), Err(banned.clone())));
    assert_eq!(base.renew(node(2), session(9), Lease::touch), Err(banned.clone()));
    let given = By { session: Some(session(9)), ..by.clone() };
    assert_eq!((base.admit(&by, None), base.admit(&given, Some(node(2)))), (Err(banned.clone()), Err(banned)));
    assert_eq!(base.lets_in(node(1)), Ok(()), "and nobody else");
    base.now = 150;
    assert_eq!((base.lets_in(node(2)), base.admit(&by, None)), (Ok(()), Err(Rejection::NotAMember(node(2)))));
    base.check();
}

#[test]
fn actor_is_member_or_authority_in_its_session() {
    let base = with_member();
    let admit = |number, given: Option<u64>, authority: Option<u64>| {
        let by = By { node: node(number), session: given.map(session), request: None };
        base.admit(&by, authority.map(node))
    };
    assert_eq!(admit(1, None, None), Ok(()));
    assert_eq!(admit(1, Some(1), None), Ok(()));
    assert_eq!(admit(1, Some(2), None), Err(Rejection::SessionReplaced { node: node(1), given: session(2) }));
    assert_eq!(admit(2, None, Some(2)), Ok(()));
    assert_eq!(admit(2, Some(1), Some(2)), Err(Rejection::NotAMember(node(2))), "its session is over");
    assert_eq!(admit(2, None, None), Err(Rejection::NotAMember(node(2))));
}
