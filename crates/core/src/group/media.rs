//! Microphone, camera, screen: what a participant sends, and its right to.

use super::Group;
use crate::base::{Base, Transaction};
use crate::channel::{Channel, ChannelSet};
use crate::command::By;
use crate::error::Rejection;
use crate::event::{Gate, Grant, GroupEvent, SharedEvent};
use crate::id::{MemberKey, NodeId, PodId};
use crate::member::Member;
use crate::role::{Media, Role};
use crate::term::Term;

impl Group {
    pub(super) fn set_media(
        &mut self,
        tx: &mut Transaction<'_>,
        by: &By,
        audio: Option<bool>,
        video: Option<bool>,
    ) -> Result<(), Rejection> {
        let key = tx.base.member(by)?;
        let before = media(tx.base.roster.at(key))?;
        let after = Media { audio: audio.unwrap_or(before.audio), video: video.unwrap_or(before.video) };
        if before != after {
            tx.base.roster.update(key, |member| member.role = Role::Participant(after));
            tx.event(GroupEvent::MediaChanged { key, node: by.node, media: after });
            self.tell_all_grants(tx, key);
        }
        Ok(())
    }

    pub(super) fn start_share(&mut self, tx: &mut Transaction<'_>, by: &By) -> Result<(), Rejection> {
        let key = tx.base.member(by)?;
        media(tx.base.roster.at(key))?;
        match self.sharing {
            Some(holder) if holder != by.node => Err(Rejection::ScreenShareHeld { holder }),
            Some(_) => Ok(()),
            None => {
                self.sharing = Some(by.node);
                tx.event(GroupEvent::ShareStarted { node: by.node });
                self.tell_all_grants(tx, key);
                Ok(())
            }
        }
    }

    /// Stopping what one does not hold is a repeat, and changes nothing.
    pub(super) fn stop_share(&mut self, tx: &mut Transaction<'_>, by: &By) -> Result<(), Rejection> {
        let key = tx.base.member(by)?;
        if self.sharing == Some(by.node) {
            self.end_share(tx);
            self.tell_all_grants(tx, key);
        }
        Ok(())
    }

    pub(super) fn end_share(&mut self, tx: &mut Transaction<'_>) {
        if let Some(node) = self.sharing.take() {
            tx.event(GroupEvent::ShareStopped { node });
        }
    }

    /// Grants a participant a new term on its own channels, at home on a pod; SCREEN only while it
    /// holds the share.
    pub(super) fn grant_anew(
        &self,
        tx: &mut Transaction<'_>,
        key: MemberKey,
        channels: ChannelSet,
        home: PodId,
    ) -> Result<(), Rejection> {
        let member = tx.base.roster.at(key);
        let node = member.node;
        media(member)?;
        if channels.contains(Channel::Screen) {
            self.shares(node)?;
        }
        let term = Term { number: tx.base.revision + 1, home };
        tx.base.roster.update(key, |member| {
            let terms = member.terms.get_or_insert_default();
            channels.iter().for_each(|channel| terms[channel] = term);
        });
        let grants = self.grants_of(tx.base.roster.at(key)).filter(|grant| channels.contains(grant.channel));
        tx.applied.grants.extend(grants);
        tx.event(SharedEvent::AuthorityGranted { node, channels });
        Ok(())
    }

    fn shares(&self, node: NodeId) -> Result<(), Rejection> {
        match self.sharing {
            Some(holder) if holder == node => Ok(()),
            Some(holder) => Err(Rejection::ScreenShareHeld { holder }),
            None => Err(Rejection::ChannelDisabled),
        }
    }

    /// Whether a channel of a participant takes updates; with SCREEN, why not.
    pub(crate) fn gate(&self, base: &Base, node: NodeId, channel: Channel) -> Result<Gate, Rejection> {
        let member = base.roster.find(node).ok_or_else(|| base.absence(node, base.now))?;
        let media = media(member)?;
        if channel == Channel::Screen {
            self.shares(node)?;
        }
        Ok(self.gate_of(node, media, channel))
    }

    fn gate_of(&self, node: NodeId, media: Media, channel: Channel) -> Gate {
        let enabled = match channel {
            Channel::Visual => media.video,
            Channel::Audio => media.audio,
            Channel::Screen => self.sharing == Some(node),
            Channel::Chat | Channel::Data => true,
        };
        if enabled { Gate::Open } else { Gate::Off }
    }

    /// The rights of a member; a listener has none.
    pub(super) fn grants_of(&self, member: &Member) -> impl Iterator<Item = Grant> {
        let Member { node: source, session, .. } = *member;
        let terms = member.terms.as_deref().copied().unwrap_or_default();
        let media = media(member).ok();
        Channel::ALL.into_iter().filter_map(move |channel| {
            let term = terms[channel];
            let gate = self.gate_of(source, media?, channel);
            let Term { number, home } = term;
            let session = Some(session);
            term.is_there().then_some(Grant { source, channel, term: number, session, home, gate, key: None })
        })
    }

    pub(super) fn tell_all_grants(&self, tx: &mut Transaction<'_>, key: MemberKey) {
        tx.applied.grants.extend(self.grants_of(tx.base.roster.at(key)));
    }
}

/// What a participant sends. A listener sends nothing.
const fn media(member: &Member) -> Result<Media, Rejection> {
    match member.role {
        Role::Participant(media) => Ok(media),
        Role::Listener | Role::Broadcaster { .. } | Role::Viewer { .. } => Err(Rejection::OnlyListens(member.node)),
    }
}
