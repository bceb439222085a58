//! An honest client that publishes small updates as fast as it can: nothing that is to be cut.

use bytes::Bytes;
use h2::RecvStream;
use prost::Message;
use starling_client::pb::livestream::v1::publish_updates_request::Message as Publish;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::livestream::v1::{PublishUpdatesRequest, PublishUpdatesResponse};
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::ending::Ending;
use crate::link::{Link, framed, send_all};
use crate::world::{Livestream, livestream, livestream_method};

/// Publish streams of one connection.
const STREAMS: usize = 8;
/// Bytes of a payload, by stream.
const PAYLOADS: [usize; 3] = [0, 10, 100];
/// Updates that are sent before the client looks at its time and its answers.
const BURST: u64 = 64;

pub(super) struct HonestPublisher;

impl Case for HonestPublisher {
    fn name(&self) -> &'static str {
        "honest-publisher"
    }

    fn does(&self) -> &'static str {
        "publishes updates of 0, 10 and 100 bytes on 8 streams as fast as it can, a DATA frame each; it must not be cut"
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        STREAMS as u64 * budgets.bytes("feed.ring_bytes", 8 << 20)
    }

    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        self.budget(budgets)
    }

    fn limit(&self) -> Limit {
        Limit::Never
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let mut link = attacker.link().await?;
            let mut publishers = Vec::new();
            for number in 0..STREAMS {
                publishers.push(publish(attacker, &link, livestream(&link).await?, PAYLOADS[number % PAYLOADS.len()]));
            }
            let mut sent = 0;
            for published in futures_util::future::join_all(publishers).await {
                match published {
                    Ok(updates) => {
                        sent += updates;
                        attacker.note(Ending::Served);
                    }
                    Err(ending) => attacker.note(ending),
                }
            }
            if let Some(ending) = link.has_ended() {
                attacker.note(ending);
            }
            attacker.figure(format!("{sent} updates acknowledged"));
            Ok(())
        })
    }
}

/// Publishes until the time is over and then until all is acknowledged; how many updates that were.
async fn publish(attacker: &Attacker, link: &Link, stream: Livestream, payload: usize) -> Result<u64, Ending> {
    let (mut body, answers) = link.open(&livestream_method("PublishUpdates"), &stream.publish_open()).await?;
    let sends = async {
        let mut sent = 0;
        while !attacker.is_over() {
            for _ in 0..BURST {
                sent += 1;
                send_all(&mut body, update(sent, payload)).await?;
            }
            tokio::task::yield_now().await;
        }
        body.send_data(Bytes::new(), true).map_err(|error| Ending::of_h2(&error))?;
        Ok(sent)
    };
    let (sent, acknowledged) = tokio::try_join!(sends, acknowledged(answers))?;
    if sent == acknowledged { Ok(sent) } else { Err(Ending::Told(format!("{acknowledged} of {sent} acknowledged"))) }
}

fn update(number: u64, payload: usize) -> Bytes {
    let update = UpdateDraft {
        channel: UpdateChannel::Data.into(),
        payload: vec![0; payload].into(),
        publisher_sequence: number,
        ..Default::default()
    };
    framed(&PublishUpdatesRequest { message: Some(Publish::Update(update)) })
}

/// Reads the answers to their end; up to which update they acknowledge.
async fn acknowledged(mut body: RecvStream) -> Result<u64, Ending> {
    let (mut have, mut through) = (Vec::new(), 0);
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| Ending::of_h2(&error))?;
        body.flow_control().release_capacity(data.len()).ok();
        have.extend_from_slice(&data);
        while let Some(answer) = next(&mut have) {
            match answer.event {
                Some(Event::Ack(ack)) => {
                    through = ack.channels.iter().map(|channel| channel.accepted_through).max().unwrap_or(through);
                }
                Some(Event::Rejected(rejected)) => {
                    return Err(Ending::Told(rejected.reason().as_str_name().to_owned()));
                }
                _ => {}
            }
        }
    }
    match crate::link::trailers(&mut body).await {
        Ending::Served => Ok(through),
        refused => Err(refused),
    }
}

/// Takes the first answer off, if it is whole.
pub(super) fn next(have: &mut Vec<u8>) -> Option<PublishUpdatesResponse> {
    let &[_, a, b, c, d] = have.first_chunk::<5>()?;
    let end = 5 + u32::from_be_bytes([a, b, c, d]) as usize;
    let answer = PublishUpdatesResponse::decode(have.get(5..end)?).ok();
    have.drain(..end);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_off_one_by_one() {
        let answer = PublishUpdatesResponse { event: Some(Event::Goodbye(Default::default())) };
        let mut have = [framed(&answer), framed(&answer).slice(..5)].concat();
        assert_eq!(next(&mut have), Some(answer));
        assert_eq!((next(&mut have), have.len()), (None, 5));
    }
}
