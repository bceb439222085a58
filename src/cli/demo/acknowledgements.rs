//! What a publisher of the demo hears.

use crate::cli::error::CliError;
use starling_client::PublishEvent;
use starling_client::pb::swarm::v1::RejectReason;
use starling_verify::PublisherLog;

/// Notes what a publisher hears; answers why an update was refused, if one was.
pub(super) fn note(log: &mut PublisherLog, event: Option<PublishEvent>) -> Result<Option<RejectReason>, CliError> {
    match event {
        Some(PublishEvent::Accepted(ack)) => log.acked(&ack),
        Some(PublishEvent::Rejected(rejected)) => {
            log.rejected(&rejected);
            return Ok(Some(rejected.reason()));
        }
        Some(PublishEvent::Cut(why)) => return Err(why.into()),
        Some(_) => {}
        None => return Err(CliError("the swarm ended too early".into())),
    }
    Ok(None)
}
