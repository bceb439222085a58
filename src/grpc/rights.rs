//! What each request needs of who sends it: one table for all RPCs, and the check that all of them pass.
//!
//! The check comes after the fields of a request are found to be as they must be, and before anything is looked
//! up: to whom a swarm is forbidden, it looks as one that does not exist.

use std::fmt;

use tonic::{Request, Status};

use super::Edge;
use super::authentication::identity;
use super::fields::{NAMED, Parsed};
use super::publish_requests::RawOpen;
use super::status;
use crate::identity::{Identity, Right};
use crate::pb::{group::v1 as group, livestream::v1 as livestream, swarm::v1 as shared};
use starling_core::channel::{Channel, ChannelSet};
use starling_core::id::{NodeId, SwarmId, SwarmKind};

/// What a request needs of who sends it, beside the node that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// To be known.
    Identity,
    /// A right to the swarm that it names; where it names none, to all of the kind.
    Right(Right),
    /// To administer all swarms of the kind.
    All,
    /// The same, or to be allowed to join each of those that it names.
    AllOrEach,
    /// To administer all swarms of both kinds.
    Everything,
    /// To be allowed to publish on the channels that it names.
    Publish,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "any identity",
            Self::Right(Right::Create) => "create",
            Self::Right(Right::Join) => "join",
            Self::Right(Right::Moderate) => "moderate",
            Self::Right(Right::Administer) => "administer",
            Self::All => "administer on all",
            Self::AllOrEach => "administer on all, or join on each that is named",
            Self::Everything => "administer on all livestreams and groups",
            Self::Publish => "publish",
        })
    }
}

/// A request, as far as it concerns what its sender may do. Ids are as they came: of those that are no ids the
/// fields are refused anyhow.
pub(super) trait Guarded {
    /// What it needs.
    const NEEDS: Needs;

    /// The nodes that its sender acts as; 0 = none.
    fn acts_as(&self) -> [u64; 2];

    /// Puts the sender's own node where it may be left out.
    fn fill_in(&mut self, own: NodeId);

    /// True when the sender has what it needs.
    fn is_granted(&self, identity: &Identity) -> bool;
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Its sender is not this node.
    Node(u64),
    /// Its sender lacks this.
    Right(Needs),
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Node(node) => status::not_your_node(node),
            Denied::Right(needs) => status::not_granted(&needs.to_string()),
        }
    }
}

/// Whether an identity may send a request.
pub(super) fn check<R: Guarded>(request: &R, identity: &Identity) -> Result<(), Denied> {
    let foreign = |node: &u64| NodeId::new(*node).is_some_and(|node| !identity.acts_as(node));
    if let Some(node) = request.acts_as().into_iter().find(foreign) {
        return Err(Denied::Node(node));
    }
    if request.is_granted(identity) { Ok(()) } else { Err(Denied::Right(R::NEEDS)) }
}

/// Whether a publish stream may go on under another identity.
pub(super) fn check_renewal(
    identity: &Identity,
    node: NodeId,
    id: SwarmId,
    channels: ChannelSet,
) -> Result<(), Denied> {
    if !identity.acts_as(node) {
        Err(Denied::Node(node.get()))
    } else if !identity.may_publish(channels, id) {
        Err(Denied::Right(Needs::Publish))
    } else {
        Ok(())
    }
}

impl Edge {
    /// What a request says, once its fields are as they must be and its sender may send it.
    pub(super) fn admit<R: Guarded, P>(
        &self,
        request: Request<R>,
        parse: impl FnOnce(R) -> Parsed<P>,
    ) -> Result<P, Status> {
        let identity = identity(&request)?;
        self.admit_from(&identity, request.into_inner(), parse)
    }

    /// The same, of a message that came by itself.
    pub(super) fn admit_from<R: Guarded, P>(
        &self,
        identity: &Identity,
        mut request: R,
        parse: impl FnOnce(R) -> Parsed<P>,
    ) -> Result<P, Status> {
        // Messages may come long after their headers.
        if identity.expires_at.is_some_and(|at| at <= self.service.clock().wall()) {
            return Err(status::token_expired());
        }
        if let Some(own) = identity.node() {
            request.fill_in(own);
        }
        let allowed = check(&request, identity);
        let parsed = parse(request)?;
        allowed?;
        Ok(parsed)
    }
}

/// True when an identity has a right to a swarm; without a number, to all of the kind.
fn may(identity: &Identity, right: Right, kind: SwarmKind, number: u64) -> bool {
    match SwarmId::new(kind, number) {
        Some(id) => identity.may(right, id),
        None => identity.may_everywhere(right, kind),
    }
}

/// True when an identity may administer all of a kind, or join each of those named.
fn may_list(identity: &Identity, kind: SwarmKind, named: &[u64]) -> bool {
    // More are refused for their number.
    let mut ids = named.iter().take(NAMED).filter_map(|number| SwarmId::new(kind, *number));
    identity.may_everywhere(Right::Administer, kind) || !named.is_empty() && ids.all(|id| identity.may(Right::Join, id))
}

/// True when an identity may publish on these channels of a swarm.
fn may_publish(identity: &Identity, kind: SwarmKind, number: u64, channels: &[i32]) -> bool {
    let channels =
        channels.iter().take(Channel::ALL.len()).filter_map(|number| super::fields::channel("", *number).ok());
    let channels: ChannelSet = channels.collect();
    SwarmId::new(kind, number).is_none_or(|id| identity.may_publish(channels, id))
}

/// The table. A row is a request, what it needs, and who acts in it:
///
/// - `acts`: `node_id`, which may be left out;
/// - `makes FIELD`: `node_id`, which may be left out, and the node of the field;
/// - `watches`: `node_id`, or nobody; with `session_id` it may be left out;
/// - `names`: `node_id`, or nobody;
/// - `reads`: nobody.
macro_rules! requests {
    ($($pb:ident $kind:ident $id:tt { $($Request:ident: $needs:ident $(($list:ident))?, $who:ident $($field:ident)?;)* })*) => {
        $($(
            impl Guarded for $pb::$Request {
                const NEEDS: Needs = requests!(@needs $needs);

                fn acts_as(&self) -> [u64; 2] {
                    requests!(@nodes self $who $($field)?)
                }

                #[allow(unused_variables, reason = "not every request may leave it out")]
                fn fill_in(&mut self, own: NodeId) {
                    requests!(@fill self own $who);
                }

                #[allow(unused_variables, reason = "some are granted to all")]
                fn is_granted(&self, identity: &Identity) -> bool {
                    requests!(@granted self identity (SwarmKind::$kind) $id $needs $($list)?)
                }
            }
        )*)*

        /// The name of each request of the table, and what it needs.
        #[cfg(test)]
        fn table() -> Vec<(String, Needs)> {
            use prost::Name;
            vec![$($(($pb::$Request::full_name(), $pb::$Request::NEEDS)),*),*]
        }
    };
    (@needs identity) => { Needs::Identity };
    (@needs create) => { Needs::Right(Right::Create) };
    (@needs join) => { Needs::Right(Right::Join) };
    (@needs moderate) => { Needs::Right(Right::Moderate) };
    (@needs administer) => { Needs::Right(Right::Administer) };
    (@needs all) => { Needs::All };
    (@needs all_or_each) => { Needs::AllOrEach };
    (@needs everything) => { Needs::Everything };
    (@needs publish) => { Needs::Publish };
    (@nodes $request:ident acts) => { [$request.node_id, 0] };
    (@nodes $request:ident makes $field:ident) => { [$request.node_id, $request.$field] };
    (@nodes $request:ident watches) => { [$request.node_id, 0] };
    (@nodes $request:ident names) => { [$request.node_id, 0] };
    (@nodes $request:ident reads) => { [0, 0] };
    (@fill $request:ident $own:ident acts) => {
        if $request.node_id == 0 {
            $request.node_id = $own.get();
        }
    };
    (@fill $request:ident $own:ident makes) => { requests!(@fill $request $own acts) };
    (@fill $request:ident $own:ident watches) => {
        if $request.session_id != 0 && $request.node_id == 0 {
            $request.node_id = $own.get();
        }
    };
    (@fill $request:ident $own:ident $who:ident) => {};
    (@granted $request:ident $identity:ident ($kind:expr) $id:tt identity) => { true };
    (@granted $request:ident $identity:ident ($kind:expr) $id:tt all) => {
        $identity.may_everywhere(Right::Administer, $kind)
    };
    (@granted $request:ident $identity:ident ($kind:expr) $id:tt everything) => {
        [SwarmKind::Livestream, SwarmKind::Group].into_iter().all(|kind| $identity.may_everywhere(Right::Administer, kind))
    };
    (@granted $request:ident $identity:ident ($kind:expr) $id:tt all_or_each $list:ident) => {
        may_list($identity, $kind, &$request.$list)
    };
    (@granted $request:ident $identity:ident ($kind:expr) $id:tt publish) => {
        may_publish($identity, $kind, $request.$id, $request.update.as_ref().map(|update| update.channel).as_slice())
    };
    (@granted $request:ident $identity:ident ($kind:expr) $id:tt $needs:ident) => {{
        let Needs::Right(right) = Self::NEEDS else { return false };
        may($identity, right, $kind, $request.$id)
    }};
}

requests! {
    livestream Livestream livestream_id {
        CreateLivestreamRequest: create, makes broadcaster_node_id;
        GetLivestreamRequest: join, reads;
        ListLivestreamsRequest: all_or_each(livestream_ids), reads;
        WatchLivestreamsRequest: all, reads;
        UpdateLivestreamRequest: administer, acts;
        StartLivestreamRequest: administer, acts;
        PauseLivestreamRequest: administer, acts;
        ResumeLivestreamRequest: administer, acts;
        EndLivestreamRequest: administer, acts;
        JoinLivestreamRequest: join, acts;
        LeaveLivestreamRequest: join, acts;
        RenewLeaseRequest: join, acts;
        GetViewerRequest: join, reads;
        ListViewersRequest: join, reads;
        SetInterestRequest: join, acts;
        UpdateViewerRequest: join, acts;
        AddModeratorRequest: administer, acts;
        RemoveModeratorRequest: administer, acts;
        MuteViewerRequest: moderate, acts;
        UnmuteViewerRequest: moderate, acts;
        ListMutedNodesRequest: join, reads;
        RemoveViewerRequest: moderate, acts;
        UnbanViewerRequest: moderate, acts;
        ListBansRequest: join, reads;
        TransferBroadcastRequest: administer, acts;
        GetTargetsRequest: join, names;
        WatchTargetsRequest: join, watches;
        ReportPeerRequest: join, acts;
        PublishUpdateRequest: publish, acts;
        SubscribeUpdatesRequest: join, acts;
        RequestKeyframeRequest: join, acts;
        WatchLivestreamRequest: join, watches;
        GetStatsRequest: join, reads;
    }
    group Group group_id {
        CreateGroupRequest: create, makes owner_node_id;
        GetGroupRequest: join, reads;
        ListGroupsRequest: all_or_each(group_ids), reads;
        WatchGroupsRequest: all, reads;
        UpdateGroupRequest: administer, acts;
        EndGroupRequest: administer, acts;
        JoinGroupRequest: join, acts;
        LeaveGroupRequest: join, acts;
        RenewLeaseRequest: join, acts;
        GetParticipantRequest: join, reads;
        ListParticipantsRequest: join, reads;
        UpdateParticipantRequest: join, acts;
        SetMediaRequest: join, acts;
        StartScreenShareRequest: join, acts;
        StopScreenShareRequest: join, acts;
        SetInterestRequest: join, acts;
        RemoveParticipantRequest: moderate, acts;
        UnbanParticipantRequest: moderate, acts;
        ListBansRequest: join, reads;
        GetTargetsRequest: join, names;
        WatchTargetsRequest: join, watches;
        ReportPeerRequest: join, acts;
        PublishUpdateRequest: publish, acts;
        SubscribeUpdatesRequest: join, acts;
        RequestKeyframeRequest: join, acts;
        WatchGroupRequest: join, watches;
        GetStatsRequest: join, reads;
    }
    shared Livestream none {
        GetServerInfoRequest: identity, reads;
        RevokeTokensRequest: everything, reads;
        ListRevocationsRequest: everything, reads;
        GetClusterStatusRequest: everything, reads;
        ActivateLevelRequest: everything, reads;
    }
}

/// The opening message of PublishUpdates, of both services.
impl Guarded for RawOpen {
    const NEEDS: Needs = Needs::Publish;

    fn acts_as(&self) -> [u64; 2] {
        [self.node_id, 0]
    }

    fn fill_in(&mut self, own: NodeId) {
        if self.node_id == 0 {
            self.node_id = own.get();
        }
    }

    fn is_granted(&self, identity: &Identity) -> bool {
        may_publish(identity, self.kind, self.swarm, &self.channels)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use prost::{Message, Name};
    use prost_types::FileDescriptorSet;

    use super::*;

    /// A method as the schema has it.
    struct Method {
        service: String,
        name: String,
        request: String,
        /// By its comment.
        needs: String,
    }

    fn methods() -> Vec<Method> {
        let set = FileDescriptorSet::decode(crate::pb::DESCRIPTORS).unwrap();
        let mut methods = Vec::new();
        for file in set.file.iter().filter(|file| file.package().starts_with("starling.")) {
            let comments = &file.source_code_info.as_ref().unwrap().location;
            for (at, service) in file.service.iter().enumerate() {
                for (number, method) in service.method.iter().enumerate() {
                    // By descriptor.proto: service is field 6 of a file, method is field 2 of a service.
                    let path = [6, at, 2, number].map(|step| i32::try_from(step).unwrap());
                    let comment = comments.iter().find(|location| location.path == path).unwrap().leading_comments();
                    let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
                    let needs = comment.split_once("Needs: ").and_then(|(_, rest)| rest.split_once('.'));
                    let needs = needs.unwrap_or_else(|| panic!("{}: say what it `Needs:`", method.name())).0;
                    methods.push(Method {
                        service: service.name().to_owned(),
                        name: method.name().to_owned(),
                        request: method.input_type().trim_start_matches('.').to_owned(),
                        needs: needs.to_owned(),
                    });
                }
            }
        }
        methods
    }

    #[test]
    fn every_rpc_needs_what_its_comment_says() {
        let mut enforced = table();
        enforced.push((livestream::PublishUpdatesRequest::full_name(), RawOpen::NEEDS));
        enforced.push((group::PublishUpdatesRequest::full_name(), RawOpen::NEEDS));
        let enforced: BTreeMap<_, _> = enforced.into_iter().map(|(name, needs)| (name, needs.to_string())).collect();
        let documented: BTreeMap<_, _> = methods().into_iter().map(|method| (method.request, method.needs)).collect();
        assert_eq!(enforced, documented);
    }

    #[test]
    fn list_of_calls_says_what_each_needs() {
        let mut listed = BTreeSet::new();
        let mut service = "";
        for line in include_str!("../../docs/api.md").lines() {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            if let Some(name) = line.strip_prefix("## ") {
                service = name;
            } else if let ["", name, _, needs, ..] = cells[..]
                && let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'))
                && service.ends_with("Service")
            {
                listed.insert((service.to_owned(), name.to_owned(), needs.to_owned()));
            }
        }
        let documented = methods().into_iter().map(|method| (method.service, method.name, method.needs));
        assert_eq!(listed, documented.collect::<BTreeSet<_>>());
    }
}
