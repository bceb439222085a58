//! The group call of the demo: five participants who talk, toggle, chat and share.

use super::acknowledgements::note;
use super::ids::GROUP;
use super::progress::soon;
use super::verdict::{Verdict, judge_histories};
use crate::cli::error::{CliError, told};
use starling_client::pb::group::v1 as pb;
use starling_client::pb::swarm::v1::{RejectReason, UpdateChannel, UpdateDraft, delivery::Item};
use starling_client::{Client, PublishOptions, Publisher, SwarmRef};
use starling_verify::{History, PublisherLog};

const PARTICIPANTS: u64 = 5;
/// Updates of each participant on each of its channels.
const UPDATES: u64 = 20;

/// What came of the call.
pub(super) struct Call {
    logs: Vec<PublisherLog>,
    histories: Vec<History>,
    /// Updates that Gaps declared lost: none, unless the machine is too slow.
    lost: u64,
    /// The microphone that was off was refused, and the second who wanted to share too.
    refusals: (bool, bool),
}

/// One participant, in and with all streams open.
struct Participant {
    node: u64,
    client: Client,
    publisher: Publisher,
    log: PublisherLog,
    updates: tonic::Streaming<pb::SubscribeUpdatesResponse>,
    history: History,
    lost: u64,
    rejected: Vec<RejectReason>,
}

/// Holds the call from the first join to the last leave.
pub(super) async fn hold(url: &str) -> Result<Call, CliError> {
    let mut host = Client::connect(url).await?;
    let create = pb::CreateGroupRequest { group_id: GROUP, node_id: 1, ..Default::default() };
    host.groups.create_group(create).await.map_err(|status| told(&status))?;
    for node_id in 1..=PARTICIPANTS {
        let join = pb::JoinGroupRequest { group_id: GROUP, node_id, ..Default::default() };
        host.groups.join_group(join).await.map_err(|status| told(&status))?;
    }
    let share = |node_id| pb::StartScreenShareRequest { group_id: GROUP, node_id, ..Default::default() };
    host.groups.start_screen_share(share(1)).await.map_err(|status| told(&status))?;
    let second = host.groups.start_screen_share(share(2)).await.is_err();
    let mut call = Vec::new();
    for node in 1..=PARTICIPANTS {
        call.push(Participant::enter(url, node).await?);
    }
    for round in 0..UPDATES {
        for participant in &mut call {
            participant.say(UpdateChannel::Audio, false).await?;
            if round % 5 == 0 {
                participant.say(UpdateChannel::Chat, false).await?;
            }
        }
        call[0].say(UpdateChannel::Screen, round % 10 == 0).await?;
    }
    // The third goes silent; what it says meanwhile is refused.
    let microphone =
        |on| pb::SetMediaRequest { group_id: GROUP, node_id: 3, audio_enabled: Some(on), ..Default::default() };
    host.groups.set_media(microphone(false)).await.map_err(|status| told(&status))?;
    call[2].say(UpdateChannel::Audio, false).await?;
    let refused = call[2].rejected == [RejectReason::ChannelDisabled];
    host.groups.set_media(microphone(true)).await.map_err(|status| told(&status))?;
    call[2].say(UpdateChannel::Audio, false).await?;
    // Everybody hears the last word of everybody else.
    for participant in &mut call {
        participant.say(UpdateChannel::Data, true).await?;
    }
    let (mut logs, mut histories, mut lost) = (Vec::new(), Vec::new(), 0);
    for mut participant in call {
        participant.listen().await?;
        let leave = pb::LeaveGroupRequest { group_id: GROUP, node_id: participant.node, ..Default::default() };
        participant.client.groups.leave_group(leave).await.map_err(|status| told(&status))?;
        logs.push(participant.log);
        histories.push(participant.history);
        lost += participant.lost;
    }
    Ok(Call { logs, histories, lost, refusals: (refused, second) })
}

impl Participant {
    async fn enter(url: &str, node: u64) -> Result<Self, CliError> {
        let mut client = Client::connect(url).await?;
        let subscribe = pb::SubscribeUpdatesRequest { group_id: GROUP, node_id: node, ..Default::default() };
        let updates = client.groups.subscribe_updates(subscribe).await.map_err(|status| told(&status))?.into_inner();
        let mut channels = vec![UpdateChannel::Audio, UpdateChannel::Chat, UpdateChannel::Data];
        channels.extend((node == 1).then_some(UpdateChannel::Screen));
        let publication = PublishOptions::new(SwarmRef::Group(GROUP), node, channels);
        let publisher = Publisher::open(client.clone(), publication).await?;
        let mut log = PublisherLog::new(node);
        log.opened(publisher.opened(), 1);
        Ok(Self { node, client, publisher, log, updates, history: History::new(node), lost: 0, rejected: Vec::new() })
    }

    /// Publishes one update and waits for the answer.
    async fn say(&mut self, channel: UpdateChannel, keyframe: bool) -> Result<(), CliError> {
        let payload = format!("{} {} {}", self.node, channel.as_str_name(), self.log.accepted()).into_bytes();
        let mut draft =
            UpdateDraft { channel: channel.into(), payload: payload.into(), keyframe, ..Default::default() };
        draft.publisher_sequence = self.publisher.send(draft.clone()).map_err(|error| CliError(error.to_string()))?;
        self.log.sent(&draft);
        while self.log.unanswered() > 0 {
            let event = soon("an acknowledgement in the call", self.publisher.next()).await??;
            self.rejected.extend(note(&mut self.log, event)?);
        }
        Ok(())
    }

    /// Takes what comes until the last word of each other participant.
    async fn listen(&mut self) -> Result<(), CliError> {
        let mut words = 0;
        while words < PARTICIPANTS - 1 {
            let message = soon("updates of the call", self.updates.message()).await?.map_err(|status| told(&status))?;
            for delivery in message.ok_or_else(|| CliError("the call ended too early".into()))?.deliveries {
                self.history.record(&delivery);
                match delivery.item {
                    Some(Item::Update(update)) => {
                        words += u64::from(
                            update.position.is_some_and(|position| position.channel() == UpdateChannel::Data),
                        );
                    }
                    Some(Item::Gap(gap)) => {
                        let count = gap.count.unwrap_or(0);
                        self.lost += count;
                        words += if gap.channel() == UpdateChannel::Data { count } else { 0 };
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl Call {
    pub(super) fn judge(self, verdict: &mut Verdict) {
        let Self { logs, histories, lost, refusals: (microphone, share) } = self;
        let published: u64 = logs.iter().map(PublisherLog::accepted).sum();
        let heard: u64 = histories.iter().map(|history| history.totals().updates).sum();
        let holds = heard + lost == published * (PARTICIPANTS - 1);
        let mut details = format!("{heard} updates");
        if lost > 0 {
            details += &format!("; Gaps announced the loss of {lost}");
        }
        verdict.check("in the call everybody got all that the others published", holds, details);
        verdict.check("a microphone that is off is refused", microphone, String::new());
        verdict.check("only one shares a screen", share, String::new());
        judge_histories(verdict, "call", &logs, &histories);
    }
}
