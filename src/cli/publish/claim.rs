//! The right to publish: a swarm of one's own, or one that is there and whose publisher one is.

use crate::cli::error::{CliError, told};
use crate::cli::settings::Settings;
use crate::cli::terminal::remark;
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use starling_client::{Client, Error, Join, Retry, SigningKey, SwarmRef};

/// A swarm to publish in, and the node that does.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) swarm: SwarmRef,
    pub(super) node: u64,
    /// Whether the swarm was created for this, and not by somebody else.
    pub(super) created: bool,
    /// Bytes per second that a viewer is sent.
    pub(super) budget: u64,
}

impl Claim {
    /// Creates the swarm, unless it is there. Nothing of another publisher's is changed unless it is told to.
    pub(super) async fn make(
        client: &mut Client,
        swarm: SwarmRef,
        node: Option<u64>,
        key: Option<&SigningKey>,
        take_over: bool,
        settings: &Settings,
    ) -> Result<Self, CliError> {
        match swarm {
            SwarmRef::Livestream(id) => Self::livestream(client, id, node, key, take_over, settings).await,
            SwarmRef::Group(id) => Self::group(client, id, node, take_over, settings).await,
        }
    }

    async fn livestream(
        client: &mut Client,
        livestream_id: u64,
        node: Option<u64>,
        key: Option<&SigningKey>,
        take_over: bool,
        settings: &Settings,
    ) -> Result<Self, CliError> {
        let node = key.map(|key| key.public_key().node_id()).or(node);
        let own = node.unwrap_or_else(Client::random_node);
        let config = Some(settings.livestream()?);
        let broadcaster_public_key = key.map_or_else(Vec::new, |key| key.public_key().bytes().to_vec()).into();
        let create = livestream::CreateLivestreamRequest {
            livestream_id,
            node_id: own,
            config,
            broadcaster_public_key,
            ..Default::default()
        };
        let (found, created) = match client.livestreams.create_livestream(create).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                (answer.livestream.unwrap_or_default(), answer.created)
            }
            Err(status) if status.code() == tonic::Code::AlreadyExists => {
                let get = livestream::GetLivestreamRequest { livestream_id, ..Default::default() };
                let found = client.livestreams.get_livestream(get).await.map_err(|status| told(&status))?;
                (found.into_inner().livestream.unwrap_or_default(), false)
            }
            Err(status) => return Err(told(&status)),
        };
        let broadcaster = found.broadcaster_node_id;
        if !created {
            match (key, found.broadcaster_public_key.is_empty()) {
                (Some(_), true) => {
                    return Err(CliError(format!(
                        "livestream {livestream_id} was created without a key, and takes no signed updates"
                    )));
                }
                (None, false) => {
                    return Err(CliError(format!(
                        "livestream {livestream_id} has a key: --signing-key FILE signs its updates"
                    )));
                }
                (Some(_), false) | (None, true) => {}
            }
            if broadcaster != own && (node.is_some() || !take_over) {
                return Err(CliError(format!(
                    "livestream {livestream_id} is that of node {broadcaster}: --node {broadcaster} publishes as that \
                     node, and another --livestream ID makes a new one"
                )));
            }
            if found.broadcaster_present && !take_over {
                return Err(CliError(format!(
                    "node {broadcaster} has a session in livestream {livestream_id}: it publishes there, or did so \
                     until a moment ago. --take-over ends that session and publishes in its place"
                )));
            }
        }
        let node_id = if created { own } else { broadcaster };
        let outcome = if found.state() == livestream::LivestreamState::Paused {
            let resume = livestream::ResumeLivestreamRequest { livestream_id, node_id, ..Default::default() };
            client.livestreams.resume_livestream(resume).await.map(drop)
        } else {
            let start = livestream::StartLivestreamRequest { livestream_id, node_id, ..Default::default() };
            client.livestreams.start_livestream(start).await.map(drop)
        };
        outcome.map_err(|status| told(&status))?;
        let budget = found.config.unwrap_or_default().subscriber_bytes_per_second();
        Ok(Self { swarm: SwarmRef::Livestream(livestream_id), node: node_id, created, budget })
    }

    async fn group(
        client: &mut Client,
        group_id: u64,
        node: Option<u64>,
        take_over: bool,
        settings: &Settings,
    ) -> Result<Self, CliError> {
        let node_id = node.unwrap_or_else(Client::random_node);
        let config = Some(settings.group()?);
        let create =
            group::CreateGroupRequest { group_id, node_id, owner_node_id: node_id, config, ..Default::default() };
        let (found, created) = match client.groups.create_group(create).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                (answer.group.unwrap_or_default(), answer.created)
            }
            Err(status) if status.code() == tonic::Code::AlreadyExists => {
                let get = group::GetGroupRequest { group_id, ..Default::default() };
                let found = client.groups.get_group(get).await.map_err(|status| told(&status))?;
                (found.into_inner().group.unwrap_or_default(), false)
            }
            Err(status) => return Err(told(&status)),
        };
        let swarm = SwarmRef::Group(group_id);
        if !take_over && client.renew_lease(swarm, node_id, 0).await.is_ok() {
            return Err(CliError(format!(
                "node {node_id} has a session in group {group_id}. --take-over ends that session and publishes in its \
                 place, and without --node another node publishes"
            )));
        }
        Ok(Self {
            swarm,
            node: node_id,
            created,
            budget: found.config.unwrap_or_default().subscriber_bytes_per_second(),
        })
    }

    /// How the node joins, and joins again when its lease has expired.
    pub(super) fn join(&self) -> Join {
        let node_id = self.node;
        match self.swarm {
            SwarmRef::Livestream(livestream_id) => {
                Join::Livestream(livestream::JoinLivestreamRequest { livestream_id, node_id, ..Default::default() })
            }
            SwarmRef::Group(group_id) => {
                Join::Group(group::JoinGroupRequest { group_id, node_id, ..Default::default() })
            }
        }
    }

    /// Ends the swarm, also over a wire that breaks: ending twice is allowed.
    pub(super) async fn end(&self, client: &Client) -> Result<(), Error> {
        let (swarm, node_id) = (self.swarm, self.node);
        let end = |mut client: Client| async move {
            match swarm {
                SwarmRef::Livestream(livestream_id) => {
                    let end = livestream::EndLivestreamRequest { livestream_id, node_id, ..Default::default() };
                    client.livestreams.end_livestream(end).await.map(|_| tonic::Response::new(()))
                }
                SwarmRef::Group(group_id) => {
                    let end = group::EndGroupRequest { group_id, node_id, ..Default::default() };
                    client.groups.end_group(end).await.map(|_| tonic::Response::new(()))
                }
            }
        };
        client.until_answered(Retry::default(), end).await
    }

    /// Leaves a group; a livestream knows when its broadcaster is gone, and others may publish by its session.
    pub(super) async fn leave(&self, client: &mut Client, session_id: u64) {
        if let SwarmRef::Group(_) = self.swarm
            && let Err(status) = client.leave(self.swarm, self.node, session_id).await
        {
            remark!("cannot leave: {}", told(&status));
        }
    }
}

/// A swarm in words.
pub(super) fn name(swarm: SwarmRef) -> String {
    match swarm {
        SwarmRef::Livestream(id) => format!("livestream {id}"),
        SwarmRef::Group(id) => format!("group {id}"),
    }
}
