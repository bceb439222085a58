//! One who watches targets, and goes on elsewhere when its server is gone.

use std::sync::{Arc, Mutex};

use starling_client::pb::livestream::v1 as pb;
use starling_client::{Client, Watch};

use crate::cluster::RETRY;
use crate::target_fold::{Content, Message, TargetFold};

/// What a watch has told so far.
pub(crate) type SharedFold = Arc<Mutex<Option<TargetFold>>>;

/// Watches the targets of a node, a member, until the livestream ends. Answers how often it began anew.
pub(crate) async fn watch_targets(
    client: Client,
    livestream_id: u64,
    node: u64,
    session: u64,
    fold: SharedFold,
) -> u64 {
    let open = move |mut client: Client, session_id| async move {
        let watch = pb::WatchTargetsRequest { livestream_id, of_node_id: node, session_id, node_id: node };
        client.livestreams.watch_targets(watch).await
    };
    let mut watch = Watch::open(client, session, None, RETRY, open).await.expect("a member may watch");
    let mut begun = 0;
    while let Some(message) = watch.next().await.unwrap_or_else(|error| panic!("watch of targets of {node}: {error}")) {
        let mut fold = fold.lock().unwrap();
        if let (epoch, revision, Content::Snapshot(_)) = message.clone().parts() {
            begun += 1;
            if let Some(before) = &*fold {
                assert_eq!(before.epoch, epoch, "the livestream is the same");
                if revision < before.revision {
                    eprintln!("targets of {node}: from revision {} back to {revision}", before.revision);
                }
            }
            *fold = Some(TargetFold::begin(message));
            continue;
        }
        // A goodbye comes before a cut, or before the end.
        let _goodbye = fold.as_mut().expect("a watch begins with a snapshot").take(message);
    }
    begun
}
