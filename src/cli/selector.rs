//! Which swarm a command is about.

use starling_client::SwarmRef;

/// One swarm.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "swarm", required = true, multiple = false)]
pub(super) struct Selector {
    /// The livestream.
    #[arg(long, value_name = "ID")]
    livestream: Option<u64>,
    /// The group.
    #[arg(long, value_name = "ID")]
    group: Option<u64>,
}

/// One swarm, or none.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "swarm", multiple = false)]
pub(super) struct OptionalSelector {
    /// A livestream.
    #[arg(long, value_name = "ID")]
    livestream: Option<u64>,
    /// A group.
    #[arg(long, value_name = "ID")]
    group: Option<u64>,
}

impl Selector {
    pub(super) fn swarm(self) -> SwarmRef {
        swarm(self.livestream, self.group).expect("one of the two is required")
    }
}

impl OptionalSelector {
    pub(super) fn swarm(self) -> Option<SwarmRef> {
        swarm(self.livestream, self.group)
    }
}

fn swarm(livestream: Option<u64>, group: Option<u64>) -> Option<SwarmRef> {
    livestream.map(SwarmRef::Livestream).or_else(|| group.map(SwarmRef::Group))
}
