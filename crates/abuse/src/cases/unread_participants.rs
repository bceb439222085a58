//! Large lists of participants, which nobody reads.

use std::time::Duration;

use prost::Message;
use starling_client::pb::group::v1::{ListParticipantsRequest, ListParticipantsResponse};
use starling_client::pb::swarm::v1::MemberView;

use super::unread_rosters::{UNREAD, unread_budget};
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, OUTLASTING};
use crate::settings::Setting;
use crate::world::{ask_without_reading, full_group, group_method};

pub(super) struct UnreadParticipants;

impl Case for UnreadParticipants {
    fn name(&self) -> &'static str {
        "unread-participants"
    }

    fn does(&self) -> &'static str {
        "300 ListParticipants (short: 60) of a full group with overrides, no answer read"
    }

    fn settings(&self) -> &'static [Setting] {
        UNREAD
    }

    // The group is state: as for the case event-log.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        unread_budget(budgets) + (32 << 20)
    }

    fn kept(&self, _budgets: &Budgets<'_>) -> u64 {
        32 << 20
    }

    fn short_time(&self) -> Duration {
        OUTLASTING
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link().await?;
            let group_id = full_group(&link).await?;
            let request = ListParticipantsRequest {
                group_id,
                page_size: 1_000,
                view: MemberView::Full.into(),
                ..Default::default()
            };
            let list = group_method("ListParticipants");
            let one: ListParticipantsResponse = link.call(&list, &request).await?;
            attacker.figure(format!("one answer has {} bytes", one.encoded_len()));
            let calls = attacker.form.pick(60, 300);
            ask_without_reading(attacker, 1, calls, &list, &request).await
        })
    }
}
