//! A source and a viewer, in either kind of swarm.

use starling_client::pb::group::v1 as group;
use starling_client::pb::swarm::v1::{
    Gap, GapReason, SubscriptionPosition, TermSequence, UpdateChannel, UpdateDraft, delivery::Item,
};
use starling_client::{
    Client, Error, PublishEvent, PublishOptions, Publisher, SubscribeOptions, Subscriber, SubscriptionEvent, SwarmRef,
};

use crate::edge::updates::{delta, keyframe};
use crate::edge::world::{answered, end, go_live_wide, join_group, join_livestream, make_group};
use crate::harness::{Server, soon};

pub(super) const SOURCE: u64 = 1;
pub(super) const VIEWER: u64 = 2;
pub(super) const KINDS: [(SwarmRef, UpdateChannel); 3] = [
    (SwarmRef::Livestream(7), UpdateChannel::Visual),
    (SwarmRef::Group(7), UpdateChannel::Visual),
    (SwarmRef::Group(7), UpdateChannel::Screen),
];

/// A swarm with a source and a viewer.
pub(super) struct ResumeFixture {
    pub(super) server: Server,
    pub(super) client: Client,
    pub(super) swarm: SwarmRef,
    pub(super) channel: UpdateChannel,
    /// Of the source; 0 = the first publish stream makes it.
    pub(super) session_id: u64,
    pub(super) viewer_session: u64,
}

impl ResumeFixture {
    pub(super) async fn new((swarm, channel): (SwarmRef, UpdateChannel)) -> Self {
        let server = Server::start().await;
        let client = server.client().await;
        let (session_id, viewer_session) = match swarm {
            SwarmRef::Livestream(_) => {
                go_live_wide(&client, 7).await;
                (0, join_livestream(&client, 7, VIEWER).await)
            }
            SwarmRef::Group(_) => {
                make_group(&client, 7, 16).await;
                (join_group(&client, 7, SOURCE).await, join_group(&client, 7, VIEWER).await)
            }
        };
        let fixture = Self { server, client, swarm, channel, session_id, viewer_session };
        fixture.share_screen().await;
        fixture
    }

    pub(super) async fn share_screen(&self) {
        if self.channel == UpdateChannel::Screen {
            let share = group::StartScreenShareRequest { group_id: 7, node_id: SOURCE, ..Default::default() };
            answered(self.client.clone().groups.start_screen_share(share).await);
        }
    }

    pub(super) fn publication(&self) -> PublishOptions {
        PublishOptions { session_id: self.session_id, ..PublishOptions::new(self.swarm, SOURCE, vec![self.channel]) }
    }

    pub(super) async fn publisher(&self) -> Publisher {
        soon(Publisher::open(self.client.clone(), self.publication())).await.unwrap()
    }

    pub(super) fn subscription(&self) -> SubscribeOptions {
        SubscribeOptions {
            channels: vec![self.channel],
            ..SubscribeOptions::new(self.swarm, VIEWER, self.viewer_session)
        }
    }

    pub(super) async fn viewer(&self) -> Subscriber {
        soon(Subscriber::open(self.client.clone(), self.subscription())).await.unwrap()
    }

    pub(super) async fn resumed(&self, from: SubscriptionPosition) -> Result<Subscriber, Error> {
        let subscription = SubscribeOptions { resume_from: Some(from), ..self.subscription() };
        soon(Subscriber::open(self.client.clone(), subscription)).await
    }

    /// The source joins again: another session.
    pub(super) async fn rejoin(&mut self) {
        self.session_id = match self.swarm {
            SwarmRef::Livestream(_) => join_livestream(&self.client, 7, SOURCE).await,
            SwarmRef::Group(_) => join_group(&self.client, 7, SOURCE).await,
        };
    }

    /// Publishes these, K for a keyframe, numbered from `first` (0 = not at all), and waits
    /// until they are accepted.
    pub(super) async fn publish(&self, publisher: &mut Publisher, first: u64, updates: &str) {
        for (at, update) in (0..).zip(updates.chars()) {
            let number = if first == 0 { 0 } else { first + at };
            let draft = if update == 'K' { keyframe(number) } else { delta(number) };
            publisher.send(UpdateDraft { channel: self.channel.into(), publisher_sequence: number, ..draft }).unwrap();
        }
        settled(publisher).await;
    }

    pub(super) async fn end(&self) {
        let mut client = self.client.clone();
        match self.swarm {
            SwarmRef::Livestream(_) => {
                answered(client.livestreams.end_livestream(end(7)).await);
            }
            SwarmRef::Group(_) => {
                let end = group::EndGroupRequest { group_id: 7, node_id: SOURCE, ..Default::default() };
                answered(client.groups.end_group(end).await);
            }
        }
    }
}

pub(super) async fn settled(publisher: &mut Publisher) {
    while publisher.unacknowledged() > 0 {
        let event = soon(publisher.next()).await.unwrap();
        assert!(!matches!(event, Some(PublishEvent::Rejected(_))), "{event:?}");
    }
}

/// What came: points of updates, and gaps.
#[derive(Debug, PartialEq)]
pub(super) enum Received {
    Update(u64, u64),
    Gap { after: Option<TermSequence>, before: Option<TermSequence>, reason: GapReason, count: Option<u64> },
}

impl From<Gap> for Received {
    fn from(gap: Gap) -> Self {
        let Gap { after, before, count, .. } = gap;
        Self::Gap { after, before, reason: gap.reason(), count }
    }
}

/// The next `count` updates and gaps.
pub(super) async fn received(viewer: &mut Subscriber, count: usize) -> Vec<Received> {
    let mut received = Vec::new();
    while received.len() < count {
        match soon(viewer.next()).await.unwrap() {
            Some(SubscriptionEvent::Item(Item::Update(update))) => {
                let position = update.position.unwrap();
                received.push(Received::Update(position.term, position.sequence));
            }
            Some(SubscriptionEvent::Item(Item::Gap(gap))) => received.push(gap.into()),
            Some(SubscriptionEvent::Item(Item::Subscribed(_) | Item::Filter(_) | Item::Heartbeat(_))) => {}
            other => panic!("{other:?}, after {received:?}"),
        }
    }
    received
}

pub(super) fn term(publisher: &Publisher) -> u64 {
    publisher.opened().channels[0].term
}

pub(super) const fn point(term: u64, sequence: u64) -> Option<TermSequence> {
    Some(TermSequence { term, sequence })
}

/// Takes so many updates of one term.
pub(super) async fn term_of_first(viewer: &mut Subscriber, count: usize) -> u64 {
    let Received::Update(term, _) = received(viewer, count).await[0] else { panic!("an update") };
    term
}
