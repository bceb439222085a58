//! `starling chat`: writes to the chat of a swarm, and reads it.

use std::process::ExitCode;

use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use super::error::{CliError, told};
use super::format::{Format, print_json, print_text};
use super::interrupt::Interrupt;
use super::message::Message;
use super::selector::Selector;
use super::server::Server;
use super::terminal::remark;
use starling_client::pb::swarm::v1::{Gap, StartFrom, Update, UpdateChannel, UpdateDraft, delivery::Item};
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use starling_client::{Client, Join, Retry, SubscribeOptions, Subscriber, SubscriptionEvent, SwarmRef};

#[derive(Debug, clap::Args)]
pub(super) struct Chat {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    swarm: Selector,
    /// Who writes and reads. A node that is a member already keeps its session; another one joins for the time.
    /// By default one that hardly anybody else has.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
    /// Read only, until the swarm ends.
    #[arg(long, conflicts_with = "message")]
    read: bool,
    #[command(flatten)]
    format: Format,
    /// What to write. Without it the lines of standard input are written, and what others write meanwhile is printed.
    message: Option<String>,
}

/// A member of the swarm, for the time.
struct Member {
    client: Client,
    swarm: SwarmRef,
    node: u64,
    /// 0 = the session of somebody else, who is the same node.
    session: u64,
    join: Option<Join>,
    /// Messages written in a session of its own, so that one whose answer was lost is not written twice.
    written: u64,
}

impl Chat {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        let mut interrupt = Interrupt::catch()?;
        let client = self.server.connect().await?;
        let mut member = Member::enter(client, self.swarm.swarm(), self.node).await?;
        let format = self.format;
        let outcome = tokio::select! {
            written = member.converse(self.message, self.read, format) => written.map(|()| ExitCode::SUCCESS),
            status = interrupt.came() => status,
        };
        member.leave().await;
        outcome
    }
}

impl Member {
    /// Joins, unless the node is a member already: a join of its own would end the session of whoever that is.
    async fn enter(mut client: Client, swarm: SwarmRef, node: Option<u64>) -> Result<Self, CliError> {
        let told_node = node.is_some();
        let node = node.unwrap_or_else(Client::random_node);
        if told_node && client.renew_lease(swarm, node, 0).await.is_ok() {
            return Ok(Self { client, swarm, node, session: 0, join: None, written: 0 });
        }
        let join = match swarm {
            SwarmRef::Livestream(livestream_id) => Join::Livestream(livestream::JoinLivestreamRequest {
                livestream_id,
                node_id: node,
                can_relay: Some(false),
                ..Default::default()
            }),
            SwarmRef::Group(group_id) => {
                Join::Group(group::JoinGroupRequest { group_id, node_id: node, ..Default::default() })
            }
        };
        let session = client.join(join.clone()).await.map_err(|status| told(&status))?;
        Ok(Self { client, swarm, node, session, join: Some(join), written: 0 })
    }

    /// Gives a session of its own back; whoever cannot loses it when its lease is over.
    async fn leave(mut self) {
        if self.session != 0 {
            self.client.leave(self.swarm, self.node, self.session).await.ok();
        }
    }

    async fn converse(&mut self, message: Option<String>, read_only: bool, format: Format) -> Result<(), CliError> {
        if let Some(message) = message {
            return self.write(&message).await;
        }
        let subscription = SubscribeOptions {
            channels: vec![UpdateChannel::Chat],
            start_from: StartFrom::Live,
            join: self.join.clone(),
            ..SubscribeOptions::new(self.swarm, self.node, self.session)
        };
        let mut subscriber = Subscriber::open(self.client.clone(), subscription).await?;
        let mut lines = (!read_only).then(|| BufReader::new(tokio::io::stdin()).lines());
        loop {
            tokio::select! {
                event = subscriber.next() => match event? {
                    Some(event) => {
                        self.session = if self.session == 0 { 0 } else { subscriber.session_id() };
                        self.show(event, format)?;
                    }
                    None => return Ok(()),
                },
                line = next_line(&mut lines) => match line? {
                    Some(line) if line.is_empty() => {}
                    Some(line) => self.write(&line).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Writes a message. One that is over the quota waits until it is not.
    async fn write(&mut self, message: &str) -> Result<(), CliError> {
        self.written += u64::from(self.session != 0);
        let draft = UpdateDraft {
            channel: UpdateChannel::Chat.into(),
            payload: message.to_owned().into(),
            publisher_sequence: self.written,
            ..Default::default()
        };
        let (swarm, node_id, session_id) = (self.swarm, self.node, self.session);
        let publish = |client: Client| {
            let Client { mut livestreams, mut groups, .. } = client;
            let update = Some(draft.clone());
            async move {
                match swarm {
                    SwarmRef::Livestream(livestream_id) => {
                        let request =
                            livestream::PublishUpdateRequest { livestream_id, node_id, session_id, update, term: 0 };
                        livestreams.publish_update(request).await.map(|_| tonic::Response::new(()))
                    }
                    SwarmRef::Group(group_id) => {
                        let request = group::PublishUpdateRequest { group_id, node_id, session_id, update, term: 0 };
                        groups.publish_update(request).await.map(|_| tonic::Response::new(()))
                    }
                }
            }
        };
        Ok(self.client.until_answered(Retry::default(), publish).await?)
    }

    fn show(&self, event: SubscriptionEvent, format: Format) -> Result<(), CliError> {
        match event {
            SubscriptionEvent::Item(Item::Update(update)) => {
                let author = match self.swarm {
                    SwarmRef::Livestream(_) => update.author_node_id,
                    SwarmRef::Group(_) => update.position.unwrap_or_default().source_node_id,
                };
                // On a terminal one's own line stands there already.
                if author != self.node || format.json {
                    print(author, &update, format)?;
                }
            }
            SubscriptionEvent::Item(Item::Gap(Gap { count: Some(lost), .. })) => remark!("{lost} messages were lost"),
            SubscriptionEvent::Item(Item::Gap(_)) => remark!("messages were lost"),
            SubscriptionEvent::Item(_) => {}
            SubscriptionEvent::Cut(why) => remark!("cut: {why}"),
            SubscriptionEvent::Resumed { .. } => remark!("resumed"),
        }
        Ok(())
    }
}

/// The next line of standard input; for ever when it is not read.
async fn next_line(lines: &mut Option<Lines<BufReader<Stdin>>>) -> Result<Option<String>, CliError> {
    match lines {
        Some(lines) => {
            lines.next_line().await.map_err(|error| CliError(format!("cannot read standard input: {error}")))
        }
        None => std::future::pending().await,
    }
}

fn print(author: u64, update: &Update, format: Format) -> Result<(), CliError> {
    let text = String::from_utf8_lossy(&update.payload);
    if format.json {
        let update = Message::new(update)?.json()?;
        return print_json(&serde_json::json!({ "author": author.to_string(), "text": text, "update": update }));
    }
    // A message is not to move the cursor, nor to look like one of another author.
    let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    print_text(&format!("{author}: {text}\n"))
}
