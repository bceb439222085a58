//! From INITIALIZING to ENDED.

use super::{Livestream, State};
use crate::base::Transaction;
use crate::command::By;
use crate::error::Rejection;
use crate::event::LivestreamEvent;
use crate::rules::RuleSet;
use crate::state::EndReason;

impl Livestream {
    pub(super) fn go(&mut self, tx: &mut Transaction<'_>, by: &By, to: State, from: State) -> Result<(), Rejection> {
        self.leads(by)?;
        // Repeating a call is fine; so is Start or Resume of what is on air.
        if self.state == to {
            return Ok(());
        }
        if self.state != from {
            return Err(Rejection::WrongState(self.state));
        }
        self.set_state(tx, to, None);
        Ok(())
    }

    pub(super) fn set_state(&mut self, tx: &mut Transaction<'_>, state: State, reason: Option<EndReason>) {
        let now = tx.base.now;
        self.state = state;
        tx.base.stats.set_active(state == State::Active, now);
        if state == State::Active {
            self.started_at.get_or_insert(now);
        }
        tx.event(LivestreamEvent::StateChanged { state, reason });
        tx.applied.summary_changed = true;
        tx.applied.grants.extend(self.grants(tx.base));
    }
}
