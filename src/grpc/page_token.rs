//! Page tokens: where a page begins, and which list it is a page of.
//!
//! A token is no secret and grants nothing; its check is there so that a token of
//! another list, or of an earlier swarm of the same id, is refused instead of
//! skipping items in silence.

use std::hash::Hash;

use super::fields::{Parsed, invalid};
use starling_core::hash::FixedHasher;
use starling_core::id::{Epoch, SwarmId, SwarmKind};

/// A list that has pages.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum List {
    /// The swarms of a kind.
    Swarms(SwarmKind),
    /// The members of an incarnation of a swarm.
    Members(SwarmId, Epoch),
    /// Those of the named swarms of a kind that are there; see [`names`].
    NamedSwarms(SwarmKind, u64),
    /// Those of the named nodes that are members of an incarnation of a swarm.
    NamedMembers(SwarmId, Epoch, u64),
    /// The muted nodes of an incarnation of a livestream.
    Muted(SwarmId, Epoch),
    /// The bans of an incarnation of a swarm.
    Bans(SwarmId, Epoch),
    /// Whose tokens are revoked.
    Revocations,
}

/// What stands for a list of names, so that a token is valid for the same names alone.
pub(super) fn names(numbers: &[u64]) -> u64 {
    FixedHasher::digest(&("page names", numbers))
}

/// A token that is well-formed. Of which list it is can be asked once that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageToken {
    start: u64,
    check: u64,
}

impl PageToken {
    /// Reads a token; empty = the first page.
    pub(super) fn parse(token: &str) -> Parsed<Option<Self>> {
        if token.is_empty() {
            return Ok(None);
        }
        let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let parsed = token.split_once('-').and_then(|(start, check)| Some((number(start)?, number(check)?)));
        match parsed {
            Some((start, check)) if token == render(start, check) => Ok(Some(Self { start, check })),
            _ => invalid("page_token", "was not given out by this service"),
        }
    }

    /// Where its page begins.
    pub(super) const fn start(self) -> u64 {
        self.start
    }

    /// Refuses a token of another list.
    pub(super) fn is_of(self, list: List) -> Parsed<()> {
        if self.check == check(list, self.start) { Ok(()) } else { invalid("page_token", "is of another list") }
    }
}

/// The token of the page that begins there; empty when there is none.
pub(super) fn next_page(list: List, next: Option<u64>) -> String {
    next.map(|start| render(start, check(list, start))).unwrap_or_default()
}

fn check(list: impl Hash, start: u64) -> u64 {
    FixedHasher::digest(&("page token", list, start))
}

fn render(start: u64, check: u64) -> String {
    format!("{start:x}-{check:x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> Vec<List> {
        let (one, two) = (Epoch::new(1).unwrap(), Epoch::new(2).unwrap());
        let mut lists = Vec::new();
        for kind in [SwarmKind::Livestream, SwarmKind::Group] {
            lists.push(List::Swarms(kind));
            lists.extend([names(&[1]), names(&[1, 2])].map(|names| List::NamedSwarms(kind, names)));
            for id in [1, 2] {
                let id = SwarmId::new(kind, id).unwrap();
                lists.extend([
                    List::Members(id, one),
                    List::Members(id, two),
                    List::Muted(id, one),
                    List::Bans(id, one),
                ]);
                lists.extend([names(&[1]), names(&[1, 2])].map(|names| List::NamedMembers(id, one, names)));
            }
        }
        lists
    }

    #[test]
    fn page_token_is_valid_for_its_list_only() {
        for (at, list) in lists().into_iter().enumerate() {
            let token = next_page(list, Some(17));
            let token = PageToken::parse(&token).unwrap().expect("it is no first page");
            assert_eq!(token.start(), 17);
            for (other_at, other) in lists().into_iter().enumerate() {
                assert_eq!(token.is_of(other).is_ok(), at == other_at, "{list:?} {other:?}");
            }
        }
    }

    #[test]
    fn tokens_not_issued_are_refused() {
        for token in ["x", "-1", "1", "1-", "-", "+1-2", "01-2", "1-02", "F-2", " 1-2", "1-2-3", "1-10000000000000000"]
        {
            assert!(PageToken::parse(token).is_err(), "{token}");
        }
        assert!(PageToken::parse("").unwrap().is_none());
    }
}
