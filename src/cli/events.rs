//! `starling events`: what happens, in the order in which it happens.

mod position;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use self::position::{SetFold, SwarmFold};
use super::error::CliError;
use super::format::Format;
use super::interrupt::Interrupt;
use super::selector::OptionalSelector;
use super::server::Server;
use starling_client::pb::swarm::v1::{EventPosition, MemberView};
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use starling_client::{Client, Retry, SwarmRef, Watch};

#[derive(Debug, clap::Args)]
pub(super) struct Events {
    #[command(flatten)]
    server: Server,
    /// Without either: which swarms there are, begin and end.
    #[command(flatten)]
    swarm: OptionalSelector,
    /// Kinds of events, such as membership, lifecycle or placement; by default all but interest and placement.
    /// May be given several times.
    #[arg(long = "kind", value_name = "KIND", requires = "swarm")]
    kinds: Vec<String>,
    /// Begin after this position, as printed, instead of with the whole state.
    #[arg(long, value_name = "EPOCH:REVISION", requires = "swarm", conflicts_with = "targets", value_parser = position)]
    resume: Option<EventPosition>,
    /// Instead, to whom a node forwards and from whom it receives.
    #[arg(long, requires = "swarm", conflicts_with = "kinds")]
    targets: bool,
    /// The node of --targets; by default the broadcaster of a livestream.
    #[arg(long, value_name = "NODE", requires = "targets")]
    node: Option<u64>,
    #[command(flatten)]
    format: Format,
}

fn position(text: &str) -> Result<EventPosition, String> {
    let parsed = text.split_once(':').and_then(|(epoch, revision)| Some((epoch.parse().ok()?, revision.parse().ok()?)));
    let (epoch, revision) = parsed.ok_or("is not EPOCH:REVISION, two numbers")?;
    Ok(EventPosition { epoch, revision })
}

/// Where a watch has come to: noted as messages come, and asked when it is opened again.
type Shared<F> = Arc<Mutex<F>>;

impl Events {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        let kinds = self.kinds()?;
        let client = self.server.connect().await?;
        let mut interrupt = Interrupt::catch()?;
        let format = self.format;
        let followed = async {
            match self.swarm.swarm() {
                None => all(client, format).await,
                Some(SwarmRef::Livestream(id)) if self.targets => {
                    livestream_targets(client, id, self.node.unwrap_or_default(), format).await
                }
                Some(SwarmRef::Group(id)) if self.targets => {
                    let node = self.node.ok_or_else(|| CliError("--targets of a group needs --node".into()))?;
                    group_targets(client, id, node, format).await
                }
                Some(SwarmRef::Livestream(id)) => one_livestream(client, id, kinds, self.resume, format).await,
                Some(SwarmRef::Group(id)) => one_group(client, id, kinds, self.resume, format).await,
            }
        };
        tokio::select! {
            followed = followed => followed.map(|()| ExitCode::SUCCESS),
            status = interrupt.came() => status,
        }
    }

    /// The numbers of the kinds in the schema.
    fn kinds(&self) -> Result<Vec<i32>, CliError> {
        let number = |kind: &String| {
            let name = kind.to_uppercase().replace('-', "_");
            match self.swarm.swarm() {
                Some(SwarmRef::Group(_)) => {
                    group::GroupEventKind::from_str_name(&format!("GROUP_EVENT_KIND_{name}")).map(Into::into)
                }
                _ => livestream::LivestreamEventKind::from_str_name(&format!("LIVESTREAM_EVENT_KIND_{name}"))
                    .map(Into::into),
            }
            .filter(|number| *number != 0)
            .ok_or_else(|| CliError(format!("--kind {kind}: there is no such kind of event here")))
        };
        self.kinds.iter().map(number).collect()
    }
}

/// Prints what comes until the server ends the stream. `note` is shown each message first, and says whether people
/// want to see it.
async fn follow<M>(mut watch: Watch<M>, name: &str, format: Format, note: impl Fn(&M) -> bool) -> Result<(), CliError>
where
    M: prost::Message + prost::Name,
{
    while let Some(message) = watch.next().await? {
        if note(&message) || format.json {
            format.print_line(name, &message)?;
        }
    }
    Ok(())
}

fn lock<F>(shared: &Shared<F>) -> std::sync::MutexGuard<'_, F> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn one_livestream(
    client: Client,
    livestream_id: u64,
    kinds: Vec<i32>,
    resume: Option<EventPosition>,
    format: Format,
) -> Result<(), CliError> {
    let fold = Arc::new(Mutex::new(SwarmFold::from(resume)));
    let reached = Arc::clone(&fold);
    let open = move |client: Client, _| {
        let resume_from = lock(&reached).position();
        let request = livestream::WatchLivestreamRequest {
            livestream_id,
            kinds: kinds.clone(),
            resume_from,
            view: MemberView::Full.into(),
            ..Default::default()
        };
        let Client { mut livestreams, .. } = client;
        async move { livestreams.watch_livestream(request).await }
    };
    let watch = Watch::open(client, 0, None, Retry::default(), open).await?;
    follow(watch, "livestream", format, |message| lock(&fold).livestream(message)).await
}

async fn one_group(
    client: Client,
    group_id: u64,
    kinds: Vec<i32>,
    resume: Option<EventPosition>,
    format: Format,
) -> Result<(), CliError> {
    let fold = Arc::new(Mutex::new(SwarmFold::from(resume)));
    let reached = Arc::clone(&fold);
    let open = move |client: Client, _| {
        let resume_from = lock(&reached).position();
        let request = group::WatchGroupRequest {
            group_id,
            kinds: kinds.clone(),
            resume_from,
            view: MemberView::Full.into(),
            ..Default::default()
        };
        let Client { mut groups, .. } = client;
        async move { groups.watch_group(request).await }
    };
    let watch = Watch::open(client, 0, None, Retry::default(), open).await?;
    follow(watch, "group", format, |message| lock(&fold).group(message)).await
}

/// Both sets of swarms, side by side.
async fn all(client: Client, format: Format) -> Result<(), CliError> {
    let fold = Arc::new(Mutex::new(SetFold::default()));
    let reached = Arc::clone(&fold);
    let open = move |client: Client, _| {
        let request = livestream::WatchLivestreamsRequest { resume_from: lock(&reached).position() };
        let Client { mut livestreams, .. } = client;
        async move { livestreams.watch_livestreams(request).await }
    };
    let livestreams = Watch::open(client.clone(), 0, None, Retry::default(), open).await?;
    let livestreams = follow(livestreams, "livestreams", format, |message| lock(&fold).livestreams(message));

    let fold = Arc::new(Mutex::new(SetFold::default()));
    let reached = Arc::clone(&fold);
    let open = move |client: Client, _| {
        let request = group::WatchGroupsRequest { resume_from: lock(&reached).position() };
        let Client { mut groups, .. } = client;
        async move { groups.watch_groups(request).await }
    };
    let groups = Watch::open(client, 0, None, Retry::default(), open).await?;
    let groups = follow(groups, "groups", format, |message| lock(&fold).groups(message));
    tokio::try_join!(livestreams, groups).map(drop)
}

async fn livestream_targets(client: Client, livestream_id: u64, node_id: u64, format: Format) -> Result<(), CliError> {
    let open = move |client: Client, _| async move {
        let Client { mut livestreams, .. } = client;
        livestreams
            .watch_targets(livestream::WatchTargetsRequest {
                livestream_id,
                of_node_id: node_id,
                node_id,
                ..Default::default()
            })
            .await
    };
    let watch: Watch<livestream::WatchTargetsResponse> = Watch::open(client, 0, None, Retry::default(), open).await?;
    follow(watch, "targets", format, |message| {
        !matches!(message.event, Some(livestream::watch_targets_response::Event::Heartbeat(_)))
    })
    .await
}

async fn group_targets(client: Client, group_id: u64, node_id: u64, format: Format) -> Result<(), CliError> {
    let open = move |client: Client, _| async move {
        let Client { mut groups, .. } = client;
        groups
            .watch_targets(group::WatchTargetsRequest { group_id, of_node_id: node_id, node_id, ..Default::default() })
            .await
    };
    let watch: Watch<group::WatchTargetsResponse> = Watch::open(client, 0, None, Retry::default(), open).await?;
    follow(watch, "targets", format, |message| {
        !matches!(message.event, Some(group::watch_targets_response::Event::Heartbeat(_)))
    })
    .await
}
