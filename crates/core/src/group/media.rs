//! Microphone, camera, screen: what a participant sends, and its right to.

use super::Group;
use crate::command::By;
use crate::error::Rejection;
use crate::event::{Applied, Event, Gate, Grant};
use crate::id::NodeId;
use crate::interest::{Channel, ChannelSet};
use crate::member::{Media, Member, Role};
use crate::roster::Key;

impl Group {
    pub(super) fn set_media(
        &mut self,
        by: &By,
        audio: Option<bool>,
        video: Option<bool>,
        out: &mut Applied,
    ) -> Result<(), Rejection> {
        let key = self.member(by)?;
        let before = media(self.roster.at(key)).ok_or(Rejection::OnlyListens(by.node))?;
        let after = Media { audio: audio.unwrap_or(before.audio), video: video.unwrap_or(before.video) };
        if before != after {
            self.roster.update(key, |member| member.role = Role::Participant(after));
            out.events.push(Event::MediaChanged { key, node: by.node, media: after });
            out.grants.extend(self.grants_of(key));
        }
        Ok(())
    }

    pub(super) fn start_share(&mut self, by: &By, out: &mut Applied) -> Result<(), Rejection> {
        let key = self.member(by)?;
        self.takes_part(key)?;
        match self.sharing {
            Some(holder) if holder != by.node => Err(Rejection::ScreenShareHeld { holder }),
            Some(_) => Ok(()),
            None => {
                self.sharing = Some(by.node);
                out.events.push(Event::ShareStarted { node: by.node });
                out.grants.extend(self.grants_of(key));
                Ok(())
            }
        }
    }

    /// Stopping what one does not hold is a repeat, and changes nothing.
    pub(super) fn stop_share(&mut self, by: &By, out: &mut Applied) -> Result<(), Rejection> {
        let key = self.member(by)?;
        if self.sharing == Some(by.node) {
            self.sharing = None;
            out.events.push(Event::ShareStopped { node: by.node });
            out.grants.extend(self.grants_of(key));
        }
        Ok(())
    }

    /// Grants a participant a new term on its own channels; SCREEN only while it
    /// holds the share.
    pub(super) fn claim(&mut self, by: &By, channels: ChannelSet) -> Result<Applied, Rejection> {
        self.not_ended()?;
        self.roster.admit(by, None)?;
        let key = self.member(by)?;
        self.takes_part(key)?;
        if channels.contains(Channel::Screen) {
            self.shares(by.node)?;
        }
        let term = self.revision + 1;
        let session = self.roster.update(key, |member| {
            let terms = member.terms.get_or_insert_default();
            channels.iter().for_each(|channel| terms[channel.index()] = term);
            member.session
        });
        let mut out = Applied { session: Some(session), ..Applied::default() };
        out.grants.extend(self.grants_of(key).filter(|grant| channels.contains(grant.channel)));
        out.events.push(Event::AuthorityGranted { node: by.node, channels });
        Ok(self.commit(out))
    }

    /// The same where the participant holds no term yet.
    pub(super) fn acquire(&mut self, by: &By, channels: ChannelSet) -> Result<Applied, Rejection> {
        let held = self.roster.find(by.node).and_then(|member| member.terms.as_deref().copied()).unwrap_or_default();
        let free: ChannelSet = channels.iter().filter(|channel| held[channel.index()] == 0).collect();
        if !free.is_empty() {
            return self.claim(by, free);
        }
        self.not_ended()?;
        let key = self.member(by)?;
        Ok(Applied { session: Some(self.roster.at(key).session), revision: self.revision, ..Applied::default() })
    }

    /// Listeners send nothing.
    fn takes_part(&self, key: Key) -> Result<(), Rejection> {
        let member = self.roster.at(key);
        if member.is_listener() { Err(Rejection::OnlyListens(member.node)) } else { Ok(()) }
    }

    fn shares(&self, node: NodeId) -> Result<(), Rejection> {
        match self.sharing {
            Some(holder) if holder == node => Ok(()),
            Some(holder) => Err(Rejection::ScreenShareHeld { holder }),
            None => Err(Rejection::ChannelDisabled),
        }
    }

    /// Whether a channel of a participant takes updates; with SCREEN, why not.
    pub fn gate(&self, node: NodeId, channel: Channel) -> Result<Gate, Rejection> {
        let member = self.roster.find(node).ok_or(Rejection::NotAMember(node))?;
        if member.is_listener() {
            return Err(Rejection::OnlyListens(node));
        }
        if channel == Channel::Screen {
            self.shares(node)?;
        }
        Ok(self.gate_of(member, channel))
    }

    fn gate_of(&self, member: &Member, channel: Channel) -> Gate {
        let Some(media) = media(member) else { return Gate::Off };
        let enabled = match channel {
            Channel::Visual => media.video,
            Channel::Audio => media.audio,
            Channel::Screen => self.sharing == Some(member.node),
            Channel::Chat | Channel::Data => true,
        };
        if enabled { Gate::Open } else { Gate::Off }
    }

    fn grants_of(&self, key: Key) -> impl Iterator<Item = Grant> {
        let member = self.roster.at(key);
        let terms = member.terms.as_deref().copied().unwrap_or_default();
        Channel::ALL.into_iter().filter_map(move |channel| {
            let (source, term, gate) = (member.node, terms[channel.index()], self.gate_of(member, channel));
            (term != 0).then_some(Grant { source, channel, term, session: Some(member.session), gate })
        })
    }

    /// The rights to publish that are in force.
    pub fn grants(&self) -> impl Iterator<Item = Grant> {
        self.keys().into_iter().flat_map(|key| self.grants_of(key).collect::<Vec<_>>())
    }

    /// What a participant sends; `None` when it is none.
    pub fn media(&self, node: NodeId) -> Option<Media> {
        self.roster.find(node).and_then(media)
    }
}

const fn media(member: &Member) -> Option<Media> {
    match member.role {
        Role::Participant(media) => Some(media),
        Role::Listener | Role::Broadcaster { .. } | Role::Viewer { .. } => None,
    }
}
