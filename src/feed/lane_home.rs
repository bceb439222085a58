//! What becomes of a lane when its home is another pod: grants, seals, and what is owed to those who read.

use super::lane::Lane;
use super::position::TermSeq;
use super::tally::Tally;
use super::upstream::{FORMER, Former, Granted, OWED_FOR, Seal, Upstream};
use crate::clock::Micros;
use starling_core::event::{Gate, Grant};
use starling_core::id::{NO_HOME, PodId, SessionId};

impl Lane {
    /// The pod where the term in force publishes; [`NO_HOME`] = none, or this process is alone.
    pub(super) fn home(&self) -> PodId {
        self.upstream.as_ref().map_or(NO_HOME, |upstream| upstream.home)
    }

    /// Which revision of the swarm made the grant in force.
    pub(super) fn granted(&self) -> Granted {
        self.upstream.as_ref().map(|upstream| upstream.granted).unwrap_or_default()
    }

    /// Where the last term of a home ended.
    pub(super) fn seal(&self) -> Option<&Seal> {
        self.upstream.as_ref()?.seal.as_ref()
    }

    /// A grant is about to be put in force, of this term or another; `own` is this pod, if it is known.
    pub(super) fn grant_at_home(&mut self, grant: &Grant, granted: Granted, own: PodId) {
        let home = self.home();
        if grant.term != self.term && self.term != 0 && home != NO_HOME {
            self.end_term_of_home(grant, own);
        } else if grant.home == NO_HOME && home != NO_HOME && home != own && self.head.is_some() {
            // Its home is gone, and nobody can say any more where the term ended.
            self.upstream_mut().owed = true;
        }
        let same = (grant.term, grant.gate) == (self.term, self.gate);
        let upstream = self.upstream_mut();
        upstream.granted = if same { upstream.granted.until(granted) } else { granted };
        let next = if grant.term == 0 { NO_HOME } else { grant.home };
        upstream.complete &= next == home;
        upstream.home = next;
    }

    pub(super) fn upstream_mut(&mut self) -> &mut Upstream {
        self.upstream.get_or_insert_default()
    }

    /// The term in force ends, which has a home; `own` is this pod, if it is known.
    pub(super) fn end_term_of_home(&mut self, next: &Grant, own: PodId) {
        let (home, term) = (self.home(), self.term);
        let last = self.head.filter(|(newest, _)| *newest == term).map_or(0, |(_, sequence)| sequence);
        let session = self.publisher.session();
        let seal = Seal { home, term, last, publisher_sequence: self.publisher.accepted(), session };
        let goes_on = next.term != 0 && next.session == session && session.is_some();
        let (open, from) = (self.gate == Gate::Open && next.gate == Gate::Open, self.granted().from());
        let has_head = self.head.is_some();
        let upstream = self.upstream_mut();
        upstream.seal = Some(seal);
        if let Some(session) = session {
            upstream.began(term, session);
        }
        if home == own && own != NO_HOME || !(goes_on || has_head) {
            return;
        }
        if upstream.former.len() == FORMER {
            upstream.former.remove(0);
            upstream.owed |= has_head;
        }
        upstream.former.push(Former { term, home, from: (goes_on && open).then_some(from), waited_since: None });
    }

    /// Who published in a term, as far as that is remembered.
    pub(super) fn session_of(&self, term: u64) -> Option<SessionId> {
        if term == self.term {
            return self.publisher.session();
        }
        let known = self.upstream.as_ref()?.sessions.iter();
        known.rev().find(|(of, _)| *of == term).map(|(_, session)| *session)
    }

    /// The newest update that came, taken or not.
    pub(super) fn seen(&self) -> Option<TermSeq> {
        self.head.max(self.upstream.as_ref().and_then(|upstream| upstream.seen))
    }

    /// True when its publisher may have been told that updates were taken which never came here.
    pub(super) fn owes(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| upstream.owed)
    }

    /// True when it is published at another pod.
    pub(super) fn is_elsewhere(&self, own: PodId) -> bool {
        let home = self.home();
        own != NO_HOME && self.term != 0 && home != NO_HOME && home != own
    }

    /// True when readers were told that something after its newest record is lost.
    pub(super) fn lost_its_tail(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| upstream.tail_told)
    }

    /// True when the end of a former term is awaited.
    pub(super) fn awaits_seal(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| !upstream.former.is_empty())
    }

    /// Gives up waiting for the seals of these terms.
    pub(super) fn give_up(&mut self, gone: impl Fn(&Former) -> bool) -> bool {
        let has_head = self.head.is_some();
        let Some(upstream) = self.upstream.as_deref_mut() else { return false };
        let given_up = upstream.give_up(gone);
        upstream.owed |= given_up && has_head;
        given_up
    }

    /// Its publisher publishes here, and goes on: no seal is awaited any more.
    pub(super) fn begin_here(&mut self, own: PodId) {
        if own == NO_HOME {
            // Nothing of others was ever taken: this pod had all terms, or nobody read.
            self.upstream.iter_mut().for_each(|upstream| upstream.former.clear());
        } else {
            self.give_up(|_| true);
        }
    }

    /// Takes the word of its home for where a term ended.
    pub(super) fn seal_by(&mut self, seal: &Seal) {
        let (seen, head, accepted) = (self.seen(), self.head, self.publisher.accepted());
        let same_session = seal.session.is_some() && seal.session == self.publisher.session();
        let Some(upstream) = self.upstream.as_deref_mut() else { return };
        if !upstream.give_up(|former| former.term == seal.term && former.home == seal.home) || head.is_none() {
            return;
        }
        let end = (seal.term, seal.last);
        let missing = match seen {
            Some((term, sequence)) if term == seal.term => seal.last.saturating_sub(sequence),
            Some(seen) if seen < end && same_session => seal.publisher_sequence.saturating_sub(accepted),
            Some(seen) if seen < end => seal.last,
            Some(_) | None => 0,
        };
        if missing > 0 {
            upstream.lost = upstream.lost.plus(Tally::unknown(missing));
            upstream.seen = Some(end);
        }
    }

    /// What is missing before the next update, which its publisher gave this number.
    pub(super) fn missing_before_next(&self, given: Option<u64>) -> Tally {
        let Some(upstream) = self.upstream.as_deref().filter(|_| self.head.is_some()) else { return Tally::default() };
        if !upstream.owed {
            return upstream.lost;
        }
        match given.filter(|number| self.publisher.accepted() > 0 && *number > self.publisher.accepted()) {
            Some(number) => Tally::unknown(number - self.publisher.accepted() - 1),
            None => upstream.lost.plus(Tally::unknown(1)),
        }
    }

    /// A record is taken: what was known of those before it is told with it.
    pub(super) fn caught_up(&mut self) {
        if let Some(upstream) = self.upstream.as_deref_mut() {
            (upstream.seen, upstream.lost) = (None, Tally::default());
            (upstream.owed, upstream.owed_since, upstream.tail_told) = (false, None, false);
        }
    }

    /// Counts what is missing at the end of the lane as lost, as if it had come and gone. True if anything is.
    pub(super) fn lose_tail(&mut self) -> bool {
        let (head, seen) = (self.head, self.seen());
        let Some((term, sequence)) = head else { return false };
        let Some(upstream) = self.upstream.as_deref_mut() else { return false };
        let unknown = Tally::unknown(u64::from(upstream.owed));
        let lost = upstream.lost.plus(unknown);
        if lost.updates == 0 {
            return false;
        }
        self.head = seen.max(Some((term, sequence + 1)));
        self.tally = self.tally.plus(lost);
        (upstream.seen, upstream.lost) = (None, Tally::default());
        (upstream.owed, upstream.owed_since, upstream.tail_told) = (false, None, true);
        true
    }

    /// True while its end is awaited, or may have to be told lost.
    pub(super) fn may_lose_tail(&self) -> bool {
        let of = |upstream: &Upstream| upstream.owed || upstream.lost.updates > 0 || !upstream.former.is_empty();
        self.upstream.as_deref().is_some_and(of)
    }

    /// True when what is owed is to be told now; notes since when it is owed.
    pub(super) fn is_tail_due(&mut self, now: Micros) -> bool {
        let Some(upstream) = self.upstream.as_deref_mut() else { return false };
        let owes = upstream.owed || upstream.lost.updates > 0;
        owes && upstream.former.is_empty() && *upstream.owed_since.get_or_insert(now) + OWED_FOR <= now
    }
}
