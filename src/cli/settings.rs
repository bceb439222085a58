//! The configuration of a swarm that a command creates.

use std::time::Duration;

use super::error::CliError;
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};

/// What is not given has the server's default.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Configuration of a swarm that is created")]
pub(super) struct Settings {
    /// Bytes per second that each subscriber is sent at most.
    #[arg(long, value_name = "BYTES")]
    pub(super) subscriber_bytes_per_second: Option<u64>,
    /// Longest time between keyframes before one is asked for, such as 2s.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    keyframe_interval: Option<Duration>,
    /// How far a viewer may fall behind before it skips to the newest keyframe.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_lag: Option<Duration>,
    /// Livestreams: most viewers.
    #[arg(long, value_name = "N")]
    max_viewers: Option<u32>,
    /// Livestreams: with more viewers than this the star becomes a tree.
    #[arg(long, value_name = "N")]
    star_to_tree_threshold: Option<u32>,
    /// Livestreams: most children of a node in the tree.
    #[arg(long, value_name = "N")]
    tree_fanout: Option<u32>,
    /// Livestreams: without its broadcaster for so long it ends; 0s = never.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    broadcaster_timeout: Option<Duration>,
    /// Groups: most participants.
    #[arg(long, value_name = "N")]
    max_participants: Option<u32>,
}

impl Settings {
    pub(super) fn livestream(&self) -> Result<livestream::LivestreamConfig, CliError> {
        refuse("a livestream", &[("--max-participants", self.max_participants.is_some())])?;
        Ok(livestream::LivestreamConfig {
            star_to_tree_threshold: self.star_to_tree_threshold,
            tree_fanout: self.tree_fanout,
            subscriber_bytes_per_second: self.subscriber_bytes_per_second,
            keyframe_interval: time("--keyframe-interval", self.keyframe_interval)?,
            max_viewers: self.max_viewers,
            max_lag: time("--max-lag", self.max_lag)?,
            broadcaster_timeout: time("--broadcaster-timeout", self.broadcaster_timeout)?,
        })
    }

    pub(super) fn group(&self) -> Result<group::GroupConfig, CliError> {
        let others = [
            ("--max-viewers", self.max_viewers.is_some()),
            ("--star-to-tree-threshold", self.star_to_tree_threshold.is_some()),
            ("--tree-fanout", self.tree_fanout.is_some()),
            ("--broadcaster-timeout", self.broadcaster_timeout.is_some()),
        ];
        refuse("a group", &others)?;
        Ok(group::GroupConfig {
            max_participants: self.max_participants,
            subscriber_bytes_per_second: self.subscriber_bytes_per_second,
            keyframe_interval: time("--keyframe-interval", self.keyframe_interval)?,
            max_lag: time("--max-lag", self.max_lag)?,
        })
    }
}

/// A flag of the other kind of swarm would change nothing.
fn refuse(kind: &str, flags: &[(&str, bool)]) -> Result<(), CliError> {
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(CliError(format!("{kind} has no {flag}"))),
        None => Ok(()),
    }
}

fn time(flag: &str, time: Option<Duration>) -> Result<Option<prost_types::Duration>, CliError> {
    time.map(prost_types::Duration::try_from).transpose().map_err(|_| CliError(format!("{flag} is too long")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(flags: &[&str]) -> Settings {
        Command::try_parse_from([&["it"], flags].concat()).unwrap().settings
    }

    #[test]
    fn every_field_of_a_configuration_has_a_flag() {
        let flags = ["--subscriber-bytes-per-second=1", "--keyframe-interval=2s", "--max-lag=3s", "--max-viewers=4"];
        let more = ["--star-to-tree-threshold=5", "--tree-fanout=6", "--broadcaster-timeout=7s"];
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let config = settings(&[flags, [more[0], more[1], more[2], ""]].concat()[..7]).livestream().unwrap();
        assert_eq!(
            config,
            livestream::LivestreamConfig {
                subscriber_bytes_per_second: Some(1),
                keyframe_interval: seconds(2),
                max_lag: seconds(3),
                max_viewers: Some(4),
                star_to_tree_threshold: Some(5),
                tree_fanout: Some(6),
                broadcaster_timeout: seconds(7),
            }
        );
        let flags =
            ["--subscriber-bytes-per-second=1", "--keyframe-interval=2s", "--max-lag=3s", "--max-participants=4"];
        assert_eq!(
            settings(&flags).group().unwrap(),
            group::GroupConfig {
                subscriber_bytes_per_second: Some(1),
                keyframe_interval: seconds(2),
                max_lag: seconds(3),
                max_participants: Some(4),
            }
        );
    }

    #[test]
    fn flags_of_the_other_kind_are_refused() {
        let refused = settings(&["--max-participants=4"]).livestream().unwrap_err();
        assert_eq!(refused.to_string(), "a livestream has no --max-participants");
        let refused = settings(&["--tree-fanout=4"]).group().unwrap_err();
        assert_eq!(refused.to_string(), "a group has no --tree-fanout");
    }
}
