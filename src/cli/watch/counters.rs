//! What came, in numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use indicatif::HumanBytes;

use starling_client::pb::swarm::v1::{Gap, Update, UpdateChannel};

/// Counts updates, bytes, losses and latencies.
#[derive(Debug)]
pub(super) struct Counters {
    began: SystemTime,
    updates: u64,
    /// By channel.
    by_channel: BTreeMap<i32, u64>,
    bytes: u64,
    gaps: u64,
    lost: u64,
    /// Gaps of which the server did not know how many updates they stand for.
    uncounted: u64,
    /// Gaps whose end is not known yet, by source and channel.
    open: BTreeSet<(u64, i32)>,
    accepted: Latency,
    end_to_end: Latency,
}

/// The latencies of one kind: all, and those since the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Latency {
    all: Sum,
    recent: Sum,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u32,
    total: Duration,
    most: Duration,
}

impl Sum {
    fn add(&mut self, time: Duration) {
        self.count = self.count.saturating_add(1);
        self.total = self.total.saturating_add(time);
        self.most = self.most.max(time);
    }

    /// The mean, in milliseconds.
    fn mean(&self) -> Option<String> {
        Some(format!("{:.1} ms", self.total.checked_div(self.count)?.as_secs_f64() * 1_000.0))
    }

    /// The mean and the most.
    fn told(&self) -> Option<String> {
        Some(format!("{}, at most {:.1} ms", self.mean()?, self.most.as_secs_f64() * 1_000.0))
    }
}

impl Latency {
    /// A time that lies ahead counts as now: clocks differ.
    fn add(&mut self, since: SystemTime, now: SystemTime) {
        let time = now.duration_since(since).unwrap_or_default();
        self.all.add(time);
        self.recent.add(time);
    }
}

impl Counters {
    /// Counts from `now` on.
    pub(super) const fn new(now: SystemTime) -> Self {
        const NONE: Sum = Sum { count: 0, total: Duration::ZERO, most: Duration::ZERO };
        const UNKNOWN: Latency = Latency { all: NONE, recent: NONE };
        Self {
            began: now,
            updates: 0,
            by_channel: BTreeMap::new(),
            bytes: 0,
            gaps: 0,
            lost: 0,
            uncounted: 0,
            open: BTreeSet::new(),
            accepted: UNKNOWN,
            end_to_end: UNKNOWN,
        }
    }

    pub(super) fn update(&mut self, update: &Update, now: SystemTime) {
        self.updates += 1;
        self.bytes += update.payload.len() as u64;
        if let Some(position) = &update.position {
            *self.by_channel.entry(position.channel).or_default() += 1;
            if self.open.remove(&(position.source_node_id, position.channel)) {
                self.uncounted += 1;
            }
        }
        let Some(accept_time) = update.accept_time.and_then(|at| SystemTime::try_from(at).ok()) else { return };
        // What was accepted before comes from the cache, and its age is no latency.
        if accept_time < self.began {
            return;
        }
        self.accepted.add(accept_time, now);
        if let Some(publish_time) = update.publish_time.and_then(|at| SystemTime::try_from(at).ok()) {
            self.end_to_end.add(publish_time, now);
        }
    }

    /// A gap is told once when it opens, and once more when its end is known.
    pub(super) fn gap(&mut self, gap: &Gap) {
        let channel = (gap.source_node_id, gap.channel);
        let known = self.open.remove(&channel);
        self.gaps += u64::from(!known);
        match (gap.before, gap.count) {
            (None, _) => drop(self.open.insert(channel)),
            (Some(_), Some(count)) => self.lost += count,
            (Some(_), None) => self.uncounted += 1,
        }
    }

    /// The state of now, for a line that is refreshed; short, since a terminal cuts it off. Latencies are
    /// the means since the last one.
    pub(super) fn line(&mut self) -> String {
        let Self { updates, gaps, .. } = *self;
        let mut line = format!("{updates} updates, {}, {gaps} gaps", HumanBytes(self.bytes));
        for (name, latency) in [("latency", &mut self.accepted), ("end to end", &mut self.end_to_end)] {
            if let Some(mean) = std::mem::take(&mut latency.recent).mean() {
                line += &format!(", {name} {mean}");
            }
        }
        line
    }

    /// The mean and the longest latency; `None` when there was nothing to measure.
    pub(super) fn latency(&self) -> Option<String> {
        let mut told = format!("latency since acceptance: {}", self.accepted.all.told()?);
        if let Some(end_to_end) = self.end_to_end.all.told() {
            told += &format!("; end to end: {end_to_end}");
        }
        Some(told)
    }

    /// What came, at the end, and what did not. Programs read it.
    pub(super) fn summary(&self) -> String {
        let mut summary = format!("received {} updates, {} bytes, {} gaps", self.updates, self.bytes, self.gaps);
        if self.gaps > 0 {
            let least = if self.lost_is_exact() { "" } else { "at least " };
            summary += &format!(": {least}{} updates lost", self.lost);
        }
        summary
    }

    /// What came on each channel; `None` when there is one only.
    pub(super) fn channels(&self) -> Option<String> {
        let each = |(channel, count): (&i32, &u64)| format!("{count} on {}", name(*channel));
        let channels: Vec<_> = self.by_channel.iter().map(each).collect();
        (channels.len() > 1).then(|| format!("of these {}", channels.join(", ")))
    }

    fn lost_is_exact(&self) -> bool {
        self.uncounted == 0 && self.open.is_empty()
    }

    /// The same for programs.
    pub(super) fn json(&self) -> serde_json::Value {
        let channels: serde_json::Map<_, _> =
            self.by_channel.iter().map(|(channel, count)| (name(*channel), (*count).into())).collect();
        serde_json::json!({ "summary": {
            "updates": self.updates, "bytes": self.bytes, "channels": channels,
            "gaps": self.gaps, "lost": self.lost, "lostIsExact": self.lost_is_exact(),
        } })
    }
}

fn name(channel: i32) -> String {
    let name = UpdateChannel::try_from(channel).unwrap_or_default().as_str_name();
    name.strip_prefix("UPDATE_CHANNEL_").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_client::pb::swarm::v1::{TermSequence, UpdatePosition};

    fn after(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + millis)
    }

    fn update(publish_time: u64, accept_time: u64) -> Update {
        Update {
            payload: vec![0; 10].into(),
            publish_time: Some(after(publish_time).into()),
            accept_time: Some(after(accept_time).into()),
            ..Default::default()
        }
    }

    #[test]
    fn latencies_are_reported_per_interval_and_overall() {
        let mut counters = Counters::new(after(100));
        assert_eq!(counters.line(), "0 updates, 0 B, 0 gaps");
        counters.update(&update(90, 100), after(102));
        counters.update(&update(190, 200), after(204));
        counters.gap(&gap(Some(5), Some(3)));
        assert_eq!(counters.line(), "2 updates, 20 B, 1 gaps, latency 3.0 ms, end to end 13.0 ms");
        assert_eq!(counters.line(), "2 updates, 20 B, 1 gaps");
        let latencies = "latency since acceptance: 3.0 ms, at most 4.0 ms; end to end: 13.0 ms, at most 14.0 ms";
        assert_eq!(counters.latency().as_deref(), Some(latencies));
        assert_eq!(counters.summary(), "received 2 updates, 20 bytes, 1 gaps: 3 updates lost");
    }

    fn gap(before: Option<u64>, count: Option<u64>) -> Gap {
        let before = before.map(|sequence| TermSequence { term: 1, sequence });
        Gap { source_node_id: 1, channel: 1, before, count, ..Gap::default() }
    }

    #[test]
    fn a_gap_that_was_open_counts_once() {
        let mut counters = Counters::new(after(100));
        assert_eq!(counters.summary(), "received 0 updates, 0 bytes, 0 gaps");
        counters.gap(&gap(None, None));
        assert_eq!(counters.summary(), "received 0 updates, 0 bytes, 1 gaps: at least 0 updates lost");
        counters.gap(&gap(Some(9), Some(7)));
        assert_eq!(counters.summary(), "received 0 updates, 0 bytes, 1 gaps: 7 updates lost");
        counters.gap(&gap(None, None));
        let position = Some(UpdatePosition { source_node_id: 1, channel: 1, term: 1, sequence: 20, track: 0 });
        counters.update(&Update { position, ..update(190, 200) }, after(204));
        assert_eq!(counters.summary(), "received 1 updates, 10 bytes, 2 gaps: at least 7 updates lost");
        assert_eq!(counters.json()["summary"]["lostIsExact"], false);
    }

    #[test]
    fn several_channels_are_counted_apart() {
        let mut counters = Counters::new(after(100));
        for channel in [1, 2, 2] {
            let position = Some(UpdatePosition { source_node_id: 1, channel, term: 1, sequence: 1, track: 0 });
            counters.update(&Update { position, ..update(90, 100) }, after(102));
        }
        assert_eq!(counters.channels().as_deref(), Some("of these 1 on VISUAL, 2 on AUDIO"));
        assert_eq!(counters.json()["summary"]["channels"]["AUDIO"], 2);
    }

    #[test]
    fn latency_excludes_cached_updates_and_clock_skew() {
        let mut counters = Counters::new(after(100));
        counters.update(&update(10, 20), after(102));
        assert_eq!((counters.updates, counters.latency()), (1, None));
        counters.update(&update(300, 300), after(250));
        let latencies = "latency since acceptance: 0.0 ms, at most 0.0 ms; end to end: 0.0 ms, at most 0.0 ms";
        assert_eq!(counters.latency().as_deref(), Some(latencies));
    }
}
