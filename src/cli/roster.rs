//! Who is in a swarm, and which swarms there are, over all pages.

use super::error::{CliError, told};
use starling_client::Client;
use starling_client::pb::swarm::v1::MemberView;
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};

/// As many as the server gives at a time.
const PAGE: i32 = 1_000;

/// Asks for page after page until there is no token for a next one. Gives each page to `take` as it comes.
async fn pages<P>(
    mut page: impl AsyncFnMut(String) -> Result<P, tonic::Status>,
    mut take: impl FnMut(P) -> Result<String, CliError>,
) -> Result<(), CliError> {
    let mut token = String::new();
    loop {
        token = take(page(token).await.map_err(|status| told(&status))?)?;
        if token.is_empty() {
            return Ok(());
        }
    }
}

/// Gives every livestream to `take`.
pub(super) async fn livestreams(
    client: &mut Client,
    mut take: impl FnMut(livestream::Livestream) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let page = async |page_token| {
        let list = livestream::ListLivestreamsRequest { page_size: PAGE, page_token, ..Default::default() };
        Ok(client.livestreams.list_livestreams(list).await?.into_inner())
    };
    pages(page, |page| page.livestreams.into_iter().try_for_each(&mut take).map(|()| page.next_page_token)).await
}

/// Gives every group to `take`.
pub(super) async fn groups(
    client: &mut Client,
    mut take: impl FnMut(group::Group) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let page = async |page_token| {
        let list = group::ListGroupsRequest { page_size: PAGE, page_token, ..Default::default() };
        Ok(client.groups.list_groups(list).await?.into_inner())
    };
    pages(page, |page| page.groups.into_iter().try_for_each(&mut take).map(|()| page.next_page_token)).await
}

/// Gives every viewer of a livestream to `take`.
pub(super) async fn viewers(
    client: &mut Client,
    livestream_id: u64,
    mut take: impl FnMut(livestream::Viewer) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let page = async |page_token| {
        let view = MemberView::Full.into();
        let list =
            livestream::ListViewersRequest { livestream_id, page_size: PAGE, page_token, view, ..Default::default() };
        Ok(client.livestreams.list_viewers(list).await?.into_inner())
    };
    pages(page, |page| page.viewers.into_iter().try_for_each(&mut take).map(|()| page.next_page_token)).await
}

/// Gives every participant of a group to `take`.
pub(super) async fn participants(
    client: &mut Client,
    group_id: u64,
    mut take: impl FnMut(group::Participant) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let page = async |page_token| {
        let view = MemberView::Full.into();
        let list = group::ListParticipantsRequest { group_id, page_size: PAGE, page_token, view, ..Default::default() };
        Ok(client.groups.list_participants(list).await?.into_inner())
    };
    pages(page, |page| page.participants.into_iter().try_for_each(&mut take).map(|()| page.next_page_token)).await
}
