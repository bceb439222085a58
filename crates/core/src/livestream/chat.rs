//! What members write to each other, where several pods have one order of it.

use super::Livestream;
use crate::base::Base;
use crate::chat::{AcceptedMessage, Author, Chat, ChatRefusal, micros};
use crate::command::By;
use crate::error::Rejection;
use crate::event::Applied;
use crate::id::NodeId;

impl Livestream {
    /// Takes a message of a member, or refuses it: the outcome says which. Nobody sees it in the swarm.
    pub(super) fn write(
        &mut self,
        base: &Base,
        by: &By,
        publisher_sequence: u64,
        content: Box<[u8]>,
    ) -> Result<Applied, Rejection> {
        base.not_ended()?;
        base.admit(by, None)?;
        let (author, session) = (by.node, base.roster.at(base.member(by)?).session);
        let (muted, now) = (self.muted.contains(&author), micros(base.now));
        let chat = self.chat.get_or_insert_with(|| Box::new(Chat::new(now)));
        let outcome = chat.write(author, session, publisher_sequence, muted, now);
        let accepted = outcome.result.ok().filter(|position| !position.duplicate);
        let message = accepted.map(|position| {
            Box::new(AcceptedMessage { author, sequence: position.sequence, publisher_sequence, content })
        });
        Ok(Applied { chat: Some(outcome), message, ..base.unchanged() })
    }

    /// The number of the newest message to the CHAT that went through a replicated log; 0 = there was none.
    pub fn chat_sequence(&self) -> u64 {
        self.chat.as_ref().map_or(0, |chat| chat.sequence)
    }

    /// What is known of an author of such messages.
    pub fn chat_author(&self, node: NodeId) -> Option<&Author> {
        self.chat.as_ref()?.authors.get(node)
    }

    /// Why a member's message would be refused at `now`, in milliseconds since the Unix epoch, whatever its number is:
    /// what is worth asking before it is submitted. The number of one that is not submitted is not used up.
    pub fn chat_refusal(&self, node: NodeId, now: u64) -> Option<ChatRefusal> {
        if self.muted.contains(&node) {
            return Some(ChatRefusal::Muted);
        }
        self.chat.as_ref()?.quota_refusal(node, micros(now))
    }
}
