//! What the contract says of a command before it is submitted: accepted, or refused
//! and why. Checks in the order of the contract, the first fault wins: not ended,
//! the actor's session and membership, the object's membership, authority, state,
//! capacity. Knows the model only, never the core. Repeated requests come before
//! all of this and are not judged here.

use starling_core::channel::{Channel, ChannelSet};
use starling_core::command::{By, CreateGroup, CreateLivestream, Join};
use starling_core::group::MAX_LISTENERS;
use starling_core::key::BroadcasterKey;
use starling_core::livestream::State;
use starling_core::member::{Role, ViewerMode};
use starling_core::{Command, GroupCommand, LivestreamCommand, NodeId, Rejection, SessionId, SharedCommand};

use crate::model::Model;

type Verdict = Result<(), Rejection>;

/// The command that made the swarm, and what has become of it since.
#[derive(Debug)]
pub(crate) enum Oracle<'a> {
    /// There is no swarm.
    Nothing,
    /// A livestream, with the key that it was made with.
    Livestream(&'a CreateLivestream, Option<BroadcasterKey>, &'a Model),
    /// A group.
    Group(&'a CreateGroup, &'a Model),
}

impl Oracle<'_> {
    /// What is to become of a command.
    pub(crate) fn judge(&self, command: &Command) -> Verdict {
        match (self, command) {
            (_, Command::Shared(SharedCommand::Expire | SharedCommand::Forget))
            | (
                Self::Nothing,
                Command::CreateLivestream(_) | Command::CreateSignedLivestream(..) | Command::CreateGroup(_),
            )
            | (Self::Livestream(..) | Self::Group(..), Command::Shared(SharedCommand::PodGone(_))) => Ok(()),
            (Self::Nothing, _) => Err(Rejection::NoSuchSwarm),
            (Self::Livestream(made, key, model), Command::CreateLivestream(create)) => {
                let same = made.config == create.config && made.broadcaster == create.broadcaster && key.is_none();
                if model.ended.is_some() || same { Ok(()) } else { Err(Rejection::Exists) }
            }
            (Self::Livestream(made, key, model), Command::CreateSignedLivestream(create, given)) => {
                let same = made.config == create.config && made.broadcaster == create.broadcaster;
                if model.ended.is_some() || (same && *key == Some(*given)) { Ok(()) } else { Err(Rejection::Exists) }
            }
            (Self::Group(made, model), Command::CreateGroup(create)) => {
                let same = made.config == create.config && made.owner == create.owner;
                if model.ended.is_some() || same { Ok(()) } else { Err(Rejection::Exists) }
            }
            (_, Command::CreateLivestream(_) | Command::CreateSignedLivestream(..) | Command::CreateGroup(_)) => {
                Err(Rejection::Exists)
            }
            (Self::Livestream(_, _, model), _) => livestream(model, command),
            (Self::Group(_, model), _) => group(model, command),
        }
    }
}

fn livestream(model: &Model, command: &Command) -> Verdict {
    let broadcaster = model.broadcaster.expect("a livestream has a broadcaster");
    let not_ended = || if model.ended.is_some() { Err(Rejection::Ended) } else { Ok(()) };
    let acts = |by: &By| not_ended().and_then(|()| admit(model, by, model.broadcaster));
    let leads = |by: &By| {
        if by.node == broadcaster { Ok(()) } else { Err(Rejection::NotBroadcaster { node: by.node }) }
    };
    let moderates = |by: &By| {
        let may = by.node == broadcaster || model.moderators.contains(&by.node);
        if may { Ok(()) } else { Err(Rejection::NotModerator { node: by.node }) }
    };
    let viewer = |node: NodeId| {
        if node == broadcaster { Err(Rejection::TargetIsBroadcaster) } else { object(model, node) }
    };
    let in_state = |states: &[State]| {
        if states.contains(&model.state) { Ok(()) } else { Err(Rejection::WrongState(model.state)) }
    };
    match command {
        Command::Group(_) => Err(Rejection::NoSuchSwarm),
        Command::Shared(SharedCommand::Touch(node, session))
        | Command::Shared(SharedCommand::Attach(node, session, _))
        | Command::Shared(SharedCommand::Detach(node, session, _)) => {
            not_ended()?;
            current(model, *node, *session)
        }
        Command::Shared(SharedCommand::Join(join)) => {
            not_ended()?;
            lets_in(model, join.node)?;
            if join.node == broadcaster {
                return if join.mode.is_some() { Err(Rejection::BroadcasterCannotView) } else { Ok(()) };
            }
            room(model, join, model.viewers(), model.capacity)
        }
        Command::Shared(SharedCommand::Leave(by)) | Command::Shared(SharedCommand::SetInterest(by, _)) => {
            acts(by)?;
            subject(model, by.node)
        }
        Command::Shared(SharedCommand::UpdateMember(by, update)) => {
            acts(by)?;
            subject(model, by.node)?;
            if by.node == broadcaster {
                return Err(Rejection::BroadcasterCannotView);
            }
            let lurks = matches!(model.role(by.node), Some(Role::Viewer { mode: ViewerMode::Lurker, .. }));
            if lurks && update.can_relay == Some(true) { Err(Rejection::LurkerCannotRelay) } else { Ok(()) }
        }
        Command::Shared(SharedCommand::UpdateSwarm(by, _))
        | Command::Shared(SharedCommand::Claim { by, .. })
        | Command::Shared(SharedCommand::Acquire { by, .. }) => acts(by).and_then(|()| leads(by)),
        Command::Shared(SharedCommand::End(by)) if model.ended.is_some() && by.node == broadcaster => Ok(()),
        Command::Shared(SharedCommand::End(by)) => acts(by).and_then(|()| leads(by)),
        Command::Livestream(LivestreamCommand::Chat { by, .. }) => {
            not_ended()?;
            admit(model, by, None)
        }
        Command::Livestream(LivestreamCommand::Start(by)) => {
            acts(by).and_then(|()| leads(by))?;
            in_state(&[State::Initializing, State::Active])
        }
        Command::Livestream(LivestreamCommand::Pause(by)) | Command::Livestream(LivestreamCommand::Resume(by)) => {
            acts(by).and_then(|()| leads(by))?;
            in_state(&[State::Active, State::Paused])
        }
        Command::Shared(SharedCommand::ReportPeer(by, node)) => {
            acts(by)?;
            if *node == broadcaster { Ok(()) } else { object(model, *node) }
        }
        Command::Shared(SharedCommand::Remove(by, node)) | Command::Livestream(LivestreamCommand::Mute(by, node)) => {
            acts(by)?;
            viewer(*node)?;
            moderates(by)
        }
        Command::Shared(SharedCommand::Ban { by, node, .. } | SharedCommand::Unban(by, node)) => {
            acts(by)?;
            if *node == broadcaster { Err(Rejection::TargetIsBroadcaster) } else { moderates(by) }
        }
        Command::Livestream(LivestreamCommand::Unmute(by, node)) => {
            acts(by)?;
            // A mute outlives the session, so it can be lifted without one.
            if !model.muted.contains(node) {
                viewer(*node)?;
            }
            moderates(by)
        }
        Command::Livestream(LivestreamCommand::AddModerator(by, node)) => {
            acts(by)?;
            viewer(*node)?;
            leads(by)
        }
        Command::Livestream(LivestreamCommand::RemoveModerator(by, node)) => {
            acts(by)?;
            if !model.moderators.contains(node) {
                viewer(*node)?;
            }
            leads(by)
        }
        Command::Livestream(LivestreamCommand::Transfer(by, node) | LivestreamCommand::TransferSigned(by, node, _)) => {
            acts(by)?;
            viewer(*node)?;
            leads(by)?;
            if !matches!(model.role(*node), Some(Role::Viewer { mode: ViewerMode::Active, .. })) {
                return Err(Rejection::NotActiveViewer(*node));
            }
            let names_key = matches!(command, Command::Livestream(LivestreamCommand::TransferSigned(..)));
            match (model.key.is_some(), names_key) {
                (true, false) => Err(Rejection::KeyRequired),
                (false, true) => Err(Rejection::KeyNotExpected),
                (true, true) | (false, false) => Ok(()),
            }
        }
        Command::CreateLivestream(_)
        | Command::CreateSignedLivestream(..)
        | Command::CreateGroup(_)
        | Command::Shared(SharedCommand::PodGone(_))
        | Command::Shared(SharedCommand::Expire | SharedCommand::Forget) => {
            unreachable!("judged before")
        }
    }
}

fn group(model: &Model, command: &Command) -> Verdict {
    let not_ended = || if model.ended.is_some() { Err(Rejection::Ended) } else { Ok(()) };
    let acts = |by: &By| not_ended().and_then(|()| admit(model, by, model.owner));
    let takes_part = |by: &By| acts(by).and_then(|()| subject(model, by.node));
    let owns = |by: &By| {
        if Some(by.node) == model.owner { Ok(()) } else { Err(Rejection::NotOwner { node: by.node }) }
    };
    let sends = |by: &By| match model.role(by.node) {
        Some(Role::Listener) => Err(Rejection::OnlyListens(by.node)),
        _ => Ok(()),
    };
    let shares_or = |by: &By, otherwise: Rejection| match model.sharing {
        Some(holder) if holder == by.node => Ok(()),
        Some(holder) => Err(Rejection::ScreenShareHeld { holder }),
        None => Err(otherwise),
    };
    match command {
        Command::Livestream(_) => Err(Rejection::NoSuchSwarm),
        Command::Shared(SharedCommand::Touch(node, session))
        | Command::Shared(SharedCommand::Attach(node, session, _))
        | Command::Shared(SharedCommand::Detach(node, session, _)) => {
            not_ended()?;
            current(model, *node, *session)
        }
        Command::Shared(SharedCommand::Join(join)) => {
            not_ended()?;
            lets_in(model, join.node)?;
            let listened = matches!(model.role(join.node), Some(Role::Listener));
            let listens = join.listens.unwrap_or(listened);
            if model.members.contains_key(&join.node) && listens == listened {
                return Ok(());
            }
            let (taken, max) = match listens {
                true => (model.listeners(), MAX_LISTENERS),
                false => (model.members.len() - model.listeners(), model.capacity),
            };
            if taken < max as usize { Ok(()) } else { Err(Rejection::Full { max }) }
        }
        Command::Shared(SharedCommand::Leave(by))
        | Command::Shared(SharedCommand::SetInterest(by, _))
        | Command::Shared(SharedCommand::UpdateMember(by, _))
        | Command::Group(GroupCommand::StopShare(by)) => takes_part(by),
        Command::Group(GroupCommand::SetMedia { by, .. }) => takes_part(by).and_then(|()| sends(by)),
        Command::Group(GroupCommand::StartShare(by)) => {
            takes_part(by)?;
            sends(by)?;
            if model.sharing.is_none() { Ok(()) } else { shares_or(by, Rejection::ChannelDisabled) }
        }
        Command::Shared(SharedCommand::Claim { by, channels, .. })
        | Command::Shared(SharedCommand::Acquire { by, channels, .. }) => {
            not_ended()?;
            admit(model, by, None)?;
            sends(by)?;
            if wants_screen(*channels) { shares_or(by, Rejection::ChannelDisabled) } else { Ok(()) }
        }
        Command::Shared(SharedCommand::End(by)) if model.ended.is_some() && Some(by.node) == model.owner => Ok(()),
        Command::Shared(SharedCommand::End(by)) | Command::Shared(SharedCommand::UpdateSwarm(by, _)) => {
            acts(by).and_then(|()| owns(by))
        }
        Command::Shared(SharedCommand::Remove(by, node)) => {
            acts(by)?;
            object(model, *node)?;
            owns(by)
        }
        Command::Shared(SharedCommand::Ban { by, node, .. } | SharedCommand::Unban(by, node)) => {
            acts(by)?;
            if Some(*node) == model.owner { Err(Rejection::TargetIsOwner) } else { owns(by) }
        }
        Command::Shared(SharedCommand::ReportPeer(by, node)) => {
            not_ended()?;
            admit(model, by, None)?;
            object(model, *node)
        }
        Command::CreateLivestream(_)
        | Command::CreateSignedLivestream(..)
        | Command::CreateGroup(_)
        | Command::Shared(SharedCommand::PodGone(_))
        | Command::Shared(SharedCommand::Expire | SharedCommand::Forget) => {
            unreachable!("judged before")
        }
    }
}

fn wants_screen(channels: ChannelSet) -> bool {
    channels.contains(Channel::Screen)
}

/// The actor is in, or is the one who may act without a session; a session that it
/// names is current.
fn admit(model: &Model, by: &By, authority: Option<NodeId>) -> Verdict {
    match (model.session(by.node), by.session) {
        (Some(current), Some(given)) if current != given => Err(Rejection::SessionReplaced { node: by.node, given }),
        (None, None) if Some(by.node) == authority => Ok(()),
        _ => subject(model, by.node),
    }
}

fn current(model: &Model, node: NodeId, given: SessionId) -> Verdict {
    subject(model, node)?;
    if model.session(node) == Some(given) { Ok(()) } else { Err(Rejection::SessionReplaced { node, given }) }
}

fn subject(model: &Model, node: NodeId) -> Verdict {
    if model.members.contains_key(&node) { Ok(()) } else { Err(model.bans.absence(node)) }
}

fn object(model: &Model, node: NodeId) -> Verdict {
    if model.members.contains_key(&node) { Ok(()) } else { Err(Rejection::NoSuchMember(node)) }
}

fn lets_in(model: &Model, node: NodeId) -> Verdict {
    model.bans.end(node).map_or(Ok(()), |until| Err(Rejection::Banned { node, until }))
}

fn room(model: &Model, join: &Join, taken: usize, max: u32) -> Verdict {
    let is_in = model.members.contains_key(&join.node);
    if is_in || taken < max as usize { Ok(()) } else { Err(Rejection::Full { max }) }
}
