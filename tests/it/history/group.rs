//! A group: everybody speaks, one shares the screen, and they come and go.

use starling_client::pb::group::v1 as pb;
use starling_client::pb::swarm::v1::UpdateChannel;
use starling_client::{Client, SwarmRef};
use starling_verify::PublisherLog;

use crate::history::logged_publisher::{LoggedPublisher, draft};
use crate::history::{Clock, LISTENERS, LONG_LEASE, SWARM};
use starling_testkit::Rng;

/// Those who speak; they read as well.
pub(crate) const SPEAKERS: [u64; 5] = [1, 2, 3, 4, 5];
const SPOKEN: [UpdateChannel; 4] =
    [UpdateChannel::Visual, UpdateChannel::Audio, UpdateChannel::Data, UpdateChannel::Chat];

/// One who speaks. Its screen is a stream, and a log, of its own.
struct Speaker {
    publisher: LoggedPublisher,
    screen: LoggedPublisher,
    present: bool,
    audio: bool,
    video: bool,
}

/// A call under way.
struct Call {
    client: Client,
    speakers: Vec<Speaker>,
    /// Index of the one who shares its screen.
    sharing: Option<usize>,
}

/// Makes the group.
pub(crate) async fn create(client: &mut Client, rng: &mut Rng) {
    let config = pb::GroupConfig {
        subscriber_bytes_per_second: Some(if rng.one_in(2) { 1_000_000_000 } else { 40_000 }),
        max_lag: rng.one_in(2).then_some(prost_types::Duration { seconds: 0, nanos: 100_000_000 }),
        ..Default::default()
    };
    let create = pb::CreateGroupRequest { group_id: SWARM, config: Some(config), ..Default::default() };
    client.groups.create_group(create).await.unwrap();
}

/// Publishes about `updates`, while microphones, cameras and the screen go on and off, streams
/// break, and participants leave, are removed and come back; and ends the group.
pub(crate) async fn drive(client: Client, rng: &mut Rng, updates: u64, clock: &Clock) -> Vec<PublisherLog> {
    let publisher = |node| LoggedPublisher::new(SwarmRef::Group(SWARM), node);
    let speakers = SPEAKERS.map(|node| Speaker {
        publisher: publisher(node),
        screen: publisher(node),
        present: false,
        audio: true,
        video: true,
    });
    let mut call = Call { client, speakers: speakers.into(), sharing: None };
    for at in 0..SPEAKERS.len() {
        call.enter(at).await;
    }
    while *clock.borrow() < updates {
        if let Some(at) = call.somebody(rng) {
            let channel = rng.pick(&SPOKEN);
            call.speakers[at].publisher.publish(draft(rng, channel)).await;
            clock.send_modify(|count| *count += 1);
        }
        if let Some(at) = call.sharing.filter(|_| rng.one_in(3)) {
            call.speakers[at].screen.publish(draft(rng, UpdateChannel::Screen)).await;
            clock.send_modify(|count| *count += 1);
        }
        call.go_on(rng).await;
    }
    for speaker in &mut call.speakers {
        speaker.publisher.settle().await;
        speaker.screen.settle().await;
    }
    let node_id = call.owner().await;
    let end = pb::EndGroupRequest { group_id: SWARM, node_id, ..Default::default() };
    call.client.groups.end_group(end).await.unwrap();
    call.speakers.into_iter().flat_map(|speaker| [speaker.publisher.log, speaker.screen.log]).collect()
}

impl Call {
    /// One who is in, or nobody.
    fn somebody(&self, rng: &mut Rng) -> Option<usize> {
        Some(usize::try_from(rng.below(self.speakers.len() as u64)).unwrap()).filter(|at| self.speakers[*at].present)
    }

    async fn go_on(&mut self, rng: &mut Rng) {
        if rng.one_in(100)
            && let Some(at) = self.somebody(rng)
        {
            self.switch(rng, at).await;
        }
        if rng.one_in(80) {
            match self.sharing {
                Some(at) => self.stop_sharing(rng, at).await,
                None => self.start_sharing(rng).await,
            }
        }
        if rng.one_in(50)
            && let Some(at) = self.somebody(rng)
        {
            self.break_off(rng, at).await;
        }
        if rng.one_in(150)
            && let Some(at) = self.somebody(rng)
        {
            let removed = rng.one_in(2);
            self.exit(at, removed).await;
        }
        if rng.one_in(200) {
            // It may not be in.
            let (node_id, viewer_node_id) = (self.owner().await, rng.pick(&LISTENERS));
            drop(self.client.groups.remove_participant(removal(node_id, viewer_node_id)).await);
        }
        if rng.one_in(25)
            && let Some(at) = self.speakers.iter().position(|speaker| !speaker.present)
        {
            self.enter(at).await;
        }
    }

    async fn owner(&mut self) -> u64 {
        let look = pb::GetGroupRequest { group_id: SWARM, ..Default::default() };
        let found = self.client.groups.get_group(look).await.unwrap().into_inner().group.unwrap();
        found.owner_node_id
    }

    /// Comes in, with microphone and camera on.
    async fn enter(&mut self, at: usize) {
        let speaker = &mut self.speakers[at];
        let join = pb::JoinGroupRequest {
            group_id: SWARM,
            node_id: speaker.publisher.node,
            lease_ttl: LONG_LEASE,
            ..Default::default()
        };
        self.client.groups.join_group(join).await.unwrap();
        (speaker.present, speaker.audio, speaker.video) = (true, true, true);
        speaker.publisher.open(&self.client, SPOKEN.into()).await;
    }

    /// Leaves or is removed, with updates under way.
    async fn exit(&mut self, at: usize, removed: bool) {
        if self.speakers.iter().filter(|speaker| speaker.present).count() < 2 {
            return;
        }
        self.speakers[at].hear_rejections().await;
        let (node_id, owner) = (self.speakers[at].publisher.node, self.owner().await);
        if removed && owner != node_id {
            self.client.groups.remove_participant(removal(owner, node_id)).await.unwrap();
        } else {
            let leave = pb::LeaveGroupRequest { group_id: SWARM, node_id, ..Default::default() };
            self.client.groups.leave_group(leave).await.unwrap();
        }
        let speaker = &mut self.speakers[at];
        speaker.present = false;
        speaker.publisher.read_to_the_end().await;
        speaker.screen.read_to_the_end().await;
        self.sharing = self.sharing.filter(|holder| *holder != at);
    }

    /// Its stream breaks with updates under way, and it opens another.
    async fn break_off(&mut self, rng: &mut Rng, at: usize) {
        let speaker = &mut self.speakers[at];
        speaker.hear_rejections().await;
        tokio::join!(
            speaker.publisher.reopen(&self.client, rng),
            ask_for_keyframe(self.client.clone(), speaker.screen.node)
        );
        if self.sharing == Some(at) && rng.one_in(2) {
            speaker.screen.reopen(&self.client, rng).await;
        }
    }

    async fn switch(&mut self, rng: &mut Rng, at: usize) {
        let speaker = &mut self.speakers[at];
        let which = if rng.one_in(2) { &mut speaker.audio } else { &mut speaker.video };
        *which = !*which;
        let media = pb::SetMediaRequest {
            group_id: SWARM,
            node_id: speaker.publisher.node,
            audio_enabled: Some(speaker.audio),
            video_enabled: Some(speaker.video),
            ..Default::default()
        };
        self.client.groups.set_media(media).await.unwrap();
        if speaker.audio && speaker.video {
            // So that from here on nothing is rejected.
            speaker.publisher.settle().await;
        }
    }

    async fn start_sharing(&mut self, rng: &mut Rng) {
        let Some(at) = self.somebody(rng) else { return };
        let speaker = &mut self.speakers[at];
        let start =
            pb::StartScreenShareRequest { group_id: SWARM, node_id: speaker.publisher.node, ..Default::default() };
        self.client.groups.start_screen_share(start).await.unwrap();
        speaker.screen.open(&self.client, vec![UpdateChannel::Screen]).await;
        self.sharing = Some(at);
    }

    /// Stops, goes on sending for a moment, and often hands over to the next.
    async fn stop_sharing(&mut self, rng: &mut Rng, at: usize) {
        let speaker = &mut self.speakers[at];
        let stop =
            pb::StopScreenShareRequest { group_id: SWARM, node_id: speaker.publisher.node, ..Default::default() };
        self.client.groups.stop_screen_share(stop).await.unwrap();
        for _ in 0..rng.below(3) {
            speaker.screen.publish(draft(rng, UpdateChannel::Screen)).await;
        }
        speaker.screen.settle().await;
        self.sharing = None;
        if !rng.one_in(3) {
            self.start_sharing(rng).await;
        }
    }
}

/// One of the listeners asks a speaker.
async fn ask_for_keyframe(mut client: Client, source_node_id: u64) {
    let channel = UpdateChannel::Visual.into();
    let (group_id, node_id) = (SWARM, LISTENERS[0]);
    let request = pb::RequestKeyframeRequest { group_id, node_id, source_node_id, channel, ..Default::default() };
    // It may not be in.
    drop(client.groups.request_keyframe(request).await);
}

impl Speaker {
    /// A rejection that is lost with the stream is beyond the log: whoever may have been
    /// rejected hears of it before the stream goes.
    async fn hear_rejections(&mut self) {
        if !(self.audio && self.video) {
            self.publisher.settle().await;
        }
    }
}

fn removal(node_id: u64, participant_node_id: u64) -> pb::RemoveParticipantRequest {
    pb::RemoveParticipantRequest { group_id: SWARM, node_id, participant_node_id, ..Default::default() }
}
