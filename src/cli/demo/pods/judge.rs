//! What is said of the demo of several servers.

use std::time::Duration;

use super::cluster::DemoCluster;
use super::viewer::Seen;
use crate::cli::demo::ids::LIVESTREAM;
use crate::cli::demo::progress::soon;
use crate::cli::demo::targets::sorted;
use crate::cli::demo::verdict::{Verdict, judge_histories};
use crate::cli::error::{CliError, told};
use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use starling_verify::{History, PublisherLog};

/// The livestream before, and as all servers have it now.
pub(super) fn cluster(verdict: &mut Verdict, before: &pb::Livestream, after: &[pb::Livestream], viewers: u64) {
    let has_epoch = after.iter().all(|found| found.epoch == before.epoch && found.revision >= before.revision);
    verdict.check("the livestream goes on, with its epoch and revision", has_epoch, format!("{} servers", after.len()));
    let counts: Vec<String> = after.iter().map(|found| found.viewer_count.to_string()).collect();
    let is_complete = after.iter().all(|found| found.viewer_count == viewers);
    verdict.check("every server has every viewer", is_complete, counts.join(", "));
}

/// The lists of targets that viewers have, beside what every server says.
pub(super) async fn lists(verdict: &mut Verdict, cluster: &DemoCluster, seen: &mut [Seen]) -> Result<(), CliError> {
    let (mut equal, mut all) = (0, 0);
    for url in cluster.living() {
        let mut client = Client::connect(url).await?;
        for one in seen.iter_mut() {
            let get =
                pb::GetTargetsRequest { livestream_id: LIVESTREAM, of_node_id: one.node_id, ..Default::default() };
            let answer = client.livestreams.get_targets(get).await.map_err(|status| told(&status))?.into_inner();
            let wanted = answer.targets.unwrap_or_default();
            soon("the targets of a viewer", one.fold_until(answer.revision, &wanted)).await??;
            all += 1;
            equal += u64::from(sorted(&one.targets) == sorted(&wanted));
        }
    }
    let details = format!("{equal} of {all}");
    verdict.check("folded targets of every viewer equal GetTargets on every server", equal == all && all > 0, details);
    Ok(())
}

/// What the viewers got.
pub(super) fn viewers(
    verdict: &mut Verdict,
    pictures: u64,
    log: &PublisherLog,
    seen: &[Seen],
    publisher_interruption: Duration,
) {
    let cut = seen.iter().filter(|one| one.cuts > 0).count();
    let rejoined = seen.iter().filter(|one| one.rejoined).count();
    let details = format!("{cut} of {} viewers were cut and went on elsewhere", seen.len());
    verdict.check("no viewer lost its session", rejoined == 0 && cut > 0, details);
    let whole = seen.iter().filter(|one| one.pictures == pictures).count();
    let lost: u64 = seen.iter().map(|one| one.announced).sum();
    let accounted = seen.iter().all(|one| one.pictures + one.announced == pictures);
    let details = format!("{whole} of {} got all {pictures} pictures, Gaps announced {lost}", seen.len());
    verdict.check("every picture came to every viewer, or a Gap announced it", accounted, details);
    let histories: Vec<History> = seen.iter().map(|one| one.history.clone()).collect();
    judge_histories(verdict, "livestream", std::slice::from_ref(log), &histories);
    let longest = seen.iter().map(|one| one.interruption).max().unwrap_or_default();
    verdict.tell(vec![
        ("pictures published", pictures.to_string()),
        ("longest from a cut to the next picture, of the viewers", format!("{} ms", longest.as_millis())),
        ("longest without an acknowledgement, of the publisher", format!("{} ms", publisher_interruption.as_millis())),
    ]);
}
