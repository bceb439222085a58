//! `starling watch`: join a livestream and write what comes.

use std::path::PathBuf;

use prost::Message;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

use super::{Failure, Server, told};
use crate::client::Client;
use crate::pb::livestream::v1::{self as pb, watch_livestreams_response::Event};
use crate::pb::swarm::v1::{self as shared, delivery::Item};

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    #[command(flatten)]
    server: Server,
    /// The livestream.
    #[arg(long, value_name = "ID")]
    livestream: u64,
    /// Where to write the payloads; - for standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Wait until there is such a livestream.
    #[arg(long)]
    wait: bool,
}

impl Watch {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut client = self.server.connect().await?;
        if self.wait {
            self.wait_until_there(&mut client).await?;
        }
        let mut output = self.open().await?;
        let node_id = Client::random_node();
        let join = pb::JoinLivestreamRequest { livestream_id: self.livestream, node_id, ..Default::default() };
        let joined = client.livestreams.join_livestream(join).await.map_err(|status| told(&status))?.into_inner();
        let session_id = joined.session_id;
        eprintln!("node {node_id} watches livestream {}", self.livestream);

        let subscribe = pb::SubscribeUpdatesRequest {
            livestream_id: self.livestream,
            node_id,
            session_id,
            channels: vec![shared::Channel::Visual.into()],
            ..Default::default()
        };
        let updates = client.livestreams.subscribe_updates(subscribe).await.map_err(|status| told(&status))?;
        let mut updates = updates.into_inner();
        let (mut count, mut bytes, mut gaps) = (0_u64, 0_u64, 0_u64);
        let ended = loop {
            let Some(message) = updates.message().await.map_err(|status| told(&status))? else { break false };
            let mut over = false;
            for delivery in message.deliveries {
                match shared::Delivery::decode(delivery)?.item {
                    Some(Item::Update(update)) => {
                        (count, bytes) = (count + 1, bytes + update.payload.len() as u64);
                        output.write_all(&update.payload).await?;
                    }
                    Some(Item::Gap(gap)) => {
                        gaps += 1;
                        eprintln!("gap: {}", gap.reason().as_str_name());
                    }
                    Some(Item::Goodbye(goodbye)) => over = goodbye.reason() == shared::GoodbyeReason::Ended,
                    Some(Item::Subscribed(_) | Item::Filter(_) | Item::Heartbeat(_)) | None => {}
                }
            }
            // A reader of a pipe sees each update as it comes.
            output.flush().await?;
            if over {
                break true;
            }
        };
        eprintln!("received {count} updates, {bytes} bytes, {gaps} gaps");
        if ended { Ok(()) } else { Err(Failure("the stream of updates broke off".into())) }
    }

    async fn open(&self) -> Result<BufWriter<Box<dyn AsyncWrite + Send + Unpin>>, Failure> {
        let output: Box<dyn AsyncWrite + Send + Unpin> = match &self.output {
            None => Box::new(tokio::io::sink()),
            Some(path) if path.as_os_str() == "-" => Box::new(tokio::io::stdout()),
            Some(path) => {
                let created = tokio::fs::File::create(path).await;
                Box::new(created.map_err(|error| Failure(format!("cannot write {}: {error}", path.display())))?)
            }
        };
        Ok(BufWriter::new(output))
    }

    /// Waits until the livestream is there and has not ended.
    async fn wait_until_there(&self, client: &mut Client) -> Result<(), Failure> {
        let watch = client.livestreams.watch_livestreams(pb::WatchLivestreamsRequest::default());
        let mut livestreams = watch.await.map_err(|status| told(&status))?.into_inner();
        while let Some(message) = livestreams.message().await.map_err(|status| told(&status))? {
            match message.event {
                Some(Event::Livestream(livestream))
                    if livestream.livestream_id == self.livestream
                        && livestream.state() != pb::LivestreamState::Ended =>
                {
                    return Ok(());
                }
                Some(Event::Goodbye(_)) => break,
                _ => {}
            }
        }
        Err(Failure("the server stopped before the livestream began".into()))
    }
}
