//! Who watches, and what of a livestream each of them gets.

use std::str::FromStr;

use starling_client::pb::swarm::v1::Interest;

/// Interests and their weights: `high`, `mix`, or such as `high=5,low=2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interests(Vec<(Interest, u64)>);

/// Which updates of a livestream are what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pictures {
    /// One of so many is a keyframe, the first one to begin with.
    pub(crate) keyframes: u64,
}

impl Pictures {
    /// Whether the update of this number, from 0, is a keyframe, and its temporal layer.
    pub(crate) const fn kind(self, number: u64) -> (bool, u32) {
        let keyframe = number.is_multiple_of(self.keyframes);
        (keyframe, if keyframe || number.is_multiple_of(2) { 0 } else { 1 })
    }

    /// How many of the first `published` updates an interest gets.
    pub(crate) fn share(self, interest: Interest, published: u64) -> u64 {
        let kinds = (0..published).map(|number| self.kind(number));
        match interest {
            Interest::High | Interest::Critical => published,
            Interest::Medium => kinds.filter(|(_, layer)| *layer == 0).count() as u64,
            Interest::Low => kinds.filter(|(keyframe, _)| *keyframe).count() as u64,
            Interest::None | Interest::Unspecified => 0,
        }
    }
}

impl Interests {
    /// Everybody wants every update.
    pub(crate) fn high() -> Self {
        Self(vec![(Interest::High, 1)])
    }

    /// The interest of a viewer, by its number: weights hold in any long run of viewers.
    pub(crate) fn of(&self, viewer: u64) -> Interest {
        let total: u64 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut at = viewer % total;
        for (interest, weight) in &self.0 {
            if at < *weight {
                return *interest;
            }
            at -= weight;
        }
        Interest::High
    }
}

impl FromStr for Interests {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = if text == "mix" { "high=5,medium=3,low=2" } else { text };
        let mut interests = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let interest = match name {
                "critical" => Interest::Critical,
                "high" => Interest::High,
                "medium" => Interest::Medium,
                "low" => Interest::Low,
                _ => return Err(format!("{name} is none of critical, high, medium, low, mix")),
            };
            match weight.parse::<u32>() {
                Ok(weight) if weight > 0 => interests.push((interest, weight.into())),
                _ => return Err(format!("{weight} is no weight: give a whole number above 0")),
            }
        }
        Ok(Self(interests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interest_weights_are_parsed_and_applied() {
        let mix: Interests = "mix".parse().unwrap();
        let count = |interest| (0..100).filter(|viewer| mix.of(*viewer) == interest).count();
        assert_eq!([Interest::High, Interest::Medium, Interest::Low].map(count), [50, 30, 20]);
        assert_eq!("high".parse::<Interests>().unwrap().of(3), Interest::High);
        for wrong in ["", "hihg", "high=0", "high=-1", "high,"] {
            assert!(wrong.parse::<Interests>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_interest_gets_its_share_of_updates() {
        let pictures = Pictures { keyframes: 5 };
        let share = |interest| pictures.share(interest, 11);
        assert_eq!(share(Interest::High), 11);
        // 0, 2, 4, 6, 8, 10, and 5, which is a keyframe.
        assert_eq!(share(Interest::Medium), 7);
        assert_eq!(share(Interest::Low), 3);
    }
}
