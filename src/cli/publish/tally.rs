//! What was published, and what did not reach everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::HumanBytes;
use serde_json::json;

use starling_client::Publisher;
use starling_client::pb::swarm::v1::{GapReason, Skips, UpdateChannel};

/// Totals, for the end.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Handed over to the client, in bytes.
    pub(super) bytes: u64,
    /// By channel and reason.
    missed: BTreeMap<(UpdateChannel, GapReason), Missed>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Missed {
    updates: u64,
    /// The most at a time: the reports do not say who.
    subscribers: u64,
}

/// What the server accepted of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) video: u64,
    /// Nothing when there is no sound.
    pub(super) audio: Option<u64>,
}

impl Accepted {
    pub(super) fn by(publisher: &Publisher, with_audio: bool) -> Self {
        let audio = with_audio.then(|| publisher.accepted_on(UpdateChannel::Audio));
        Self { video: publisher.accepted_on(UpdateChannel::Visual), audio }
    }
}

/// A channel or a reason as it is told.
fn word(name: &str, of: &str) -> String {
    name.strip_prefix(of).unwrap_or(name).to_owned()
}

impl Tally {
    /// Adds a report. Answers with what is told here for the first time.
    pub(super) fn skipped(&mut self, skips: &Skips) -> Vec<String> {
        let mut lines = Vec::new();
        for report in &skips.channels {
            let (channel, reason) = (report.channel(), report.reason());
            let missed = self.missed.entry((channel, reason)).or_insert_with(|| {
                lines.push(format!(
                    "viewers miss updates on {}: {}",
                    word(channel.as_str_name(), "UPDATE_CHANNEL_"),
                    match reason {
                        GapReason::Bandwidth => "their bandwidth does not suffice".to_owned(),
                        GapReason::Lagging => "they are too slow".to_owned(),
                        other => word(other.as_str_name(), "GAP_REASON_"),
                    }
                ));
                Missed::default()
            });
            missed.updates += report.updates;
            missed.subscribers = missed.subscribers.max(report.subscribers);
        }
        lines
    }

    /// The first line of the totals. Programs read it.
    pub(super) fn published(&self, accepted: Accepted, swarm: &str, took: Duration) -> String {
        let Accepted { video, audio } = accepted;
        let sound = audio.map_or_else(String::new, |audio| format!(" and {audio} audio frames"));
        let (size, seconds) = (HumanBytes(self.bytes), took.as_secs_f64());
        let rate = per_second(video, seconds);
        format!("published {video} access units{sound} on {swarm}: {size} in {seconds:.1} s, {rate:.1} access units/s")
    }

    /// What viewers did not get.
    pub(super) fn missed(&self, budget: u64) -> String {
        if self.missed.is_empty() {
            return "no viewer was skipped".into();
        }
        let parts: Vec<_> = self
            .missed
            .iter()
            .map(|((channel, reason), Missed { updates, subscribers })| {
                let (channel, reason) =
                    (word(channel.as_str_name(), "UPDATE_CHANNEL_"), word(reason.as_str_name(), "GAP_REASON_"));
                format!("{updates} updates on {channel} for {reason} (up to {subscribers} viewers at a time)")
            })
            .collect();
        let bandwidth = self.missed.keys().any(|(_, reason)| *reason == GapReason::Bandwidth);
        let hint = format!("; each is sent {budget} bytes/s, which --subscriber-bytes-per-second sets at creation");
        format!("viewers missed {}{}", parts.join(", "), if bandwidth { hint.as_str() } else { "" })
    }

    /// The totals for programs.
    pub(super) fn json(&self, accepted: Accepted, took: Duration) -> serde_json::Value {
        let missed: Vec<_> = self
            .missed
            .iter()
            .map(|((channel, reason), Missed { updates, subscribers })| {
                json!({
                    "channel": channel.as_str_name(), "reason": reason.as_str_name(),
                    "updates": updates, "subscribers": subscribers,
                })
            })
            .collect();
        json!({ "summary": {
            "accessUnits": accepted.video, "audioFrames": accepted.audio, "bytes": self.bytes,
            "seconds": took.as_secs_f64(), "missed": missed,
        } })
    }
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn per_second(units: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { units as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_client::pb::swarm::v1::ChannelSkips;

    fn report(channel: UpdateChannel, reason: GapReason, subscribers: u64, updates: u64) -> ChannelSkips {
        ChannelSkips { channel: channel.into(), reason: reason.into(), subscribers, updates, track: 0 }
    }

    #[test]
    fn missed_updates_are_summed_by_channel_and_reason() {
        let mut tally = Tally::default();
        assert_eq!(tally.missed(1), "no viewer was skipped");
        let first = Skips { channels: vec![report(UpdateChannel::Visual, GapReason::Bandwidth, 3, 10)] };
        let told = "viewers miss updates on VISUAL: their bandwidth does not suffice";
        assert_eq!(tally.skipped(&first), [told]);
        let second = Skips {
            channels: vec![
                report(UpdateChannel::Visual, GapReason::Bandwidth, 2, 5),
                report(UpdateChannel::Visual, GapReason::Lagging, 1, 1),
            ],
        };
        assert_eq!(tally.skipped(&second), ["viewers miss updates on VISUAL: they are too slow"]);
        assert_eq!(
            tally.missed(500_000),
            "viewers missed 1 updates on VISUAL for LAGGING (up to 1 viewers at a time), 15 updates on VISUAL for \
             BANDWIDTH (up to 3 viewers at a time); each is sent 500000 bytes/s, which --subscriber-bytes-per-second sets at \
             creation"
        );
        let accepted = Accepted { video: 20, audio: Some(30) };
        let summary = &tally.json(accepted, Duration::from_secs(2))["summary"];
        assert_eq!(summary["missed"][1]["updates"], 15);
        assert_eq!((&summary["accessUnits"], &summary["audioFrames"]), (&json!(20), &json!(30)));
    }

    #[test]
    fn the_totals_name_what_was_accepted() {
        let tally = Tally { bytes: 2_048, ..Tally::default() };
        let accepted = Accepted { video: 50, audio: None };
        assert_eq!(
            tally.published(accepted, "livestream 7", Duration::from_secs(2)),
            "published 50 access units on livestream 7: 2.00 KiB in 2.0 s, 25.0 access units/s"
        );
        let accepted = Accepted { audio: Some(9), ..accepted };
        assert!(
            tally.published(accepted, "group 7", Duration::ZERO).contains("50 access units and 9 audio frames on ")
        );
    }
}
