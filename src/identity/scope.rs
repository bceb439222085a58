//! What the tokens of a key may claim at most.

use starling_core::channel::Channel;
use starling_core::id::SwarmKind;

use super::authority::Authority;
use super::permission::{IdRanges, Permission, Right};

/// What the tokens of a key may claim at most.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// By right, then by kind of swarm.
    rights: [[Merged; 2]; Right::ALL.len()],
    /// By channel, then by kind of swarm.
    channels: [[Merged; 2]; Channel::ALL.len()],
    nodes: Option<Merged>,
}

/// Ranges that neither overlap nor touch, in ascending order.
#[derive(Clone, Debug, Default)]
struct Merged(Vec<(u64, u64)>);

const KINDS: [SwarmKind; 2] = [SwarmKind::Livestream, SwarmKind::Group];

impl Scope {
    pub(super) fn new(authority: &Authority) -> Self {
        let merged = |which: &dyn Fn(&Permission) -> bool| {
            KINDS.map(|kind| {
                let permitted = authority.permissions.iter().filter(|permission| which(permission));
                Merged::new(permitted.map(|permission| permission.swarms(kind)))
            })
        };
        Self {
            rights: Right::ALL.map(|right| merged(&|permission| permission.rights.contains(right))),
            channels: Channel::ALL.map(|channel| merged(&|permission| permission.channels.contains(channel))),
            nodes: authority.act_for.as_ref().map(|nodes| Merged::new([nodes])),
        }
    }

    /// True when a token of the key may claim this: each permission is within those of the key, and it acts for no
    /// other nodes. A key without `act_for` has no back-ends, and its other tokens may be any node.
    pub(super) fn covers(&self, claimed: &Authority, own: Option<u64>) -> bool {
        let nodes = match (&self.nodes, &claimed.act_for, own) {
            (Some(nodes), Some(claimed), _) => nodes.cover(claimed),
            (None, Some(_), _) => false,
            (Some(nodes), None, Some(own)) => nodes.cover(&[own..=own].into_iter().collect()),
            (_, None, _) => true,
        };
        nodes && claimed.permissions.iter().all(|permission| self.covers_permission(permission))
    }

    fn covers_permission(&self, claimed: &Permission) -> bool {
        let within = |allowed: &[Merged; 2]| {
            KINDS.into_iter().zip(allowed).all(|(kind, allowed)| allowed.cover(claimed.swarms(kind)))
        };
        let rights = Right::ALL.into_iter().zip(&self.rights).filter(|(right, _)| claimed.rights.contains(*right));
        let channels = Channel::ALL.into_iter().zip(&self.channels);
        let mut channels = channels.filter(|(channel, _)| claimed.channels.contains(*channel));
        let mut rights = rights.map(|(_, allowed)| allowed);
        rights.all(within) && channels.all(|(_, allowed)| within(allowed))
    }
}

impl Merged {
    fn new<'a>(ids: impl IntoIterator<Item = &'a IdRanges>) -> Self {
        let mut ranges: Vec<(u64, u64)> =
            ids.into_iter().flat_map(IdRanges::iter).map(|range| (*range.start(), *range.end())).collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// True when each of these ids is in one of the ranges.
    fn cover(&self, ids: &IdRanges) -> bool {
        ids.iter().all(|range| {
            // No id is 0.
            let (first, last) = ((*range.start()).max(1), *range.end());
            let after = self.0.partition_point(|(start, _)| *start <= first);
            after.checked_sub(1).is_some_and(|at| last <= self.0[at].1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(json: &str) -> Authority {
        Authority::parse(json).unwrap()
    }

    #[test]
    fn claims_within_a_scope_are_covered() {
        let scope = Scope::new(&authority(
            r#"{"grants": [{"livestreams": ["1-10", "20"], "may": ["join"], "publish": ["CHAT"]},
                           {"livestreams": ["11-19"], "groups": "*", "may": ["join", "moderate"]}],
                "act_for": ["5-9"]}"#,
        ));
        for (claimed, own, covered) in [
            (r#"{}"#, Some(5), true),
            (r#"{}"#, Some(4), false),
            (r#"{"act_for": [5, 6, "8-9"]}"#, None, true),
            (r#"{"act_for": ["5-10"]}"#, None, false),
            (r#"{"act_for": "*"}"#, None, false),
            (r#"{"grants": [{"livestreams": ["2-20"], "may": ["join"]}]}"#, Some(5), true),
            (r#"{"grants": [{"livestreams": ["2-21"], "may": ["join"]}]}"#, Some(5), false),
            (r#"{"grants": [{"livestreams": ["11"], "may": ["join", "moderate"]}]}"#, Some(5), true),
            (r#"{"grants": [{"livestreams": ["10"], "may": ["join", "moderate"]}]}"#, Some(5), false),
            (r#"{"grants": [{"livestreams": ["10"], "publish": ["CHAT"]}]}"#, Some(5), true),
            (r#"{"grants": [{"livestreams": ["10"], "publish": ["CHAT", "DATA"]}]}"#, Some(5), false),
            (r#"{"grants": [{"livestreams": ["11"], "publish": ["CHAT"]}]}"#, Some(5), false),
            (r#"{"grants": [{"groups": "*", "may": ["join"]}]}"#, Some(5), true),
            (r#"{"grants": [{"livestreams": "*", "may": ["join"]}]}"#, Some(5), false),
            (r#"{"grants": [{"groups": "*", "may": ["create"]}]}"#, Some(5), false),
        ] {
            assert_eq!(scope.covers(&authority(claimed), own), covered, "{claimed} {own:?}");
        }
    }

    #[test]
    fn scope_without_act_for_has_no_back_ends() {
        let scope = Scope::new(&authority(r#"{"grants": [{"groups": ["1-18446744073709551615"], "may": ["join"]}]}"#));
        assert!(scope.covers(&authority(r#"{"grants": [{"groups": "*", "may": ["join"]}]}"#), Some(u64::MAX)));
        assert!(!scope.covers(&authority(r#"{"act_for": [1]}"#), None));
    }
}
