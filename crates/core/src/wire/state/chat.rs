//! The CHAT of a livestream: how far it has come, and an author in few bytes.
//!
//! ```text
//! chat   = sequence judged quota
//! author = heard node session accepted highest forgotten previous range* quota
//! heard  = the message with which it was heard last, as its distance from that of the author before
//! quota  = millionths of a token, and when it held them, as the distance from the time of the swarm
//! ```

use super::order::{put_distance, take_distance};
use crate::chat::{Author, Authors, Chat, micros};
use crate::id::NodeId;
use crate::numbers::{Numbers, Range};
use crate::token_bucket::TokenBucket;
use crate::wire::{Fault, Reader, Wire, WireError};

wire_struct!(Range: first, last, rejected);
wire_struct!(Numbers: session, accepted, highest, forgotten, previous, missing);

fn put_quota(quota: &TokenBucket, now: u64, out: &mut Vec<u8>) {
    let (level, at) = quota.level();
    level.put(out);
    put_distance(micros(now), at, out);
}

fn take_quota(of: TokenBucket, now: u64, reader: &mut Reader<'_>) -> Result<TokenBucket, WireError> {
    reader.what = "quota";
    let start = reader.offset;
    let level = u64::take(reader)?;
    let at = take_distance(micros(now), reader)?;
    of.at_level(level, at).ok_or_else(|| reader.fault(start, Fault::OutOfRange { max: of.most() }))
}

/// Writes how far a CHAT has come, if it has begun, in a swarm whose time is `now`.
pub(super) fn put_chat(chat: Option<&Chat>, now: u64, out: &mut Vec<u8>) {
    chat.is_some().put(out);
    if let Some(Chat { sequence, judged, quota, authors: _ }) = chat {
        sequence.put(out);
        judged.put(out);
        put_quota(quota, now, out);
    }
}

/// How far a CHAT has come, without its authors.
pub(super) fn take_chat(now: u64, reader: &mut Reader<'_>) -> Result<Option<Box<Chat>>, WireError> {
    if !reader.field::<bool>("Livestream.chat")? {
        return Ok(None);
    }
    let mut chat = Chat::new(micros(now));
    chat.sequence = reader.field("Chat.sequence")?;
    chat.judged = reader.field("Chat.judged")?;
    chat.quota = take_quota(chat.quota, now, reader)?;
    Ok(Some(Box::new(chat)))
}

/// Writes an author that was heard after `last`.
pub(super) fn put_author(last: u64, heard: (u64, NodeId, &Author), now: u64, out: &mut Vec<u8>) {
    let (at, node, Author { numbers, quota }) = heard;
    (at - last).put(out);
    node.put(out);
    numbers.put(out);
    put_quota(quota, now, out);
}

/// The next author, heard after `last`: with which message, and who.
pub(super) fn take_author(
    last: u64,
    now: u64,
    authors: &mut Authors,
    reader: &mut Reader<'_>,
) -> Result<u64, WireError> {
    reader.what = "Author.heard";
    let start = reader.offset;
    let at = match u64::take(reader)? {
        0 => return Err(reader.fault(start, Fault::Order)),
        step => {
            last.checked_add(step).ok_or_else(|| reader.fault(start, Fault::OutOfRange { max: u64::MAX - last }))?
        }
    };
    let node = reader.field("Author.node")?;
    let numbers = reader.field("Author.numbers")?;
    let quota = take_quota(Author::new(micros(now)).quota, now, reader)?;
    if authors.restore(node, Author { numbers, quota }, at) {
        return Ok(at);
    }
    reader.what = "Author.node";
    Err(reader.fault(start, Fault::Repeated))
}
