//! The member `starling` of a token, which says what it may, and of a key, which says what its tokens may.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use starling_core::channel::{Channel, ChannelSet};

use super::json::object;
use super::permission::{IdRanges, Permission, Right};

/// Permissions of one token or key at most.
const GRANTS_MAX: usize = 64;
/// Ids and ranges of one token or key at most. Each check passes through those of one token.
const RANGES_MAX: usize = 1_024;

/// What a token claims, or a key allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// What may be done; what none of them names may not.
    pub permissions: Vec<Permission>,
    /// The nodes that it may act for; `None` = it is one node, by its name.
    pub act_for: Option<IdRanges>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow, default)]
    grants: Vec<&'a RawValue>,
    act_for: Option<Ids>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    #[serde(default)]
    livestreams: Ids,
    #[serde(default)]
    groups: Ids,
    #[serde(default)]
    may: Vec<Right>,
    #[serde(default)]
    publish: Channels,
}

impl Authority {
    /// Reads `{ "grants": [...], "act_for": ... }`. A member that it does not know is refused, and so is a name of a
    /// right or a channel: a slip of the pen must neither widen nor narrow what was meant.
    ///
    /// # Errors
    /// When it is anything else, or has more than 64 grants or 1024 ids and ranges.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let Members { grants, act_for } = object(json)?;
        if grants.len() > GRANTS_MAX {
            return Err(Error::custom(format_args!("more than {GRANTS_MAX} grants")));
        }
        if act_for.as_ref().is_some_and(|Ids(nodes)| nodes.iter().next().is_none()) {
            return Err(Error::custom("act_for names no node"));
        }
        let permissions = grants.into_iter().map(|grant| {
            let Grant { livestreams: Ids(livestreams), groups: Ids(groups), may, publish } = object(grant.get())?;
            Ok(Permission { livestreams, groups, rights: may.into_iter().collect(), channels: publish.0 })
        });
        let authority = Self {
            permissions: permissions.collect::<Result<_, serde_json::Error>>()?,
            act_for: act_for.map(|Ids(ids)| ids),
        };
        if authority.ranges() > RANGES_MAX {
            return Err(Error::custom(format_args!("more than {RANGES_MAX} ids and ranges")));
        }
        Ok(authority)
    }

    /// Ids and ranges that it names.
    pub(super) fn ranges(&self) -> usize {
        let of_swarms = self.permissions.iter().flat_map(|it| [&it.livestreams, &it.groups]);
        of_swarms.chain(&self.act_for).map(|ids| ids.iter().count()).sum()
    }
}

impl<'de> Deserialize<'de> for Right {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = Self::ALL.into_iter().find(|right| right.name() == name);
        known.ok_or_else(|| D::Error::custom("a right is \"create\", \"join\", \"moderate\" or \"administer\""))
    }
}

/// `"*"`, or a list of ids and ranges: `7`, `"7"`, `"10-20"`.
#[derive(Default)]
struct Ids(IdRanges);

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Ids;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\", or a list of ids and ranges such as [7, \"10-20\"]")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Ids, E> {
                if text == "*" {
                    Ok(Ids(IdRanges::all()))
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ids, A::Error> {
                let mut ranges = Vec::new();
                while let Some(IdRange(range)) = list.next_element()? {
                    ranges.push(range);
                }
                Ok(Ids(ranges.into_iter().collect()))
            }
        }
        deserializer.deserialize_any(Of)
    }
}

/// `7`, `"7"` or `"10-20"`.
struct IdRange(RangeInclusive<u64>);

impl<'de> Deserialize<'de> for IdRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl Visitor<'_> for Of {
            type Value = IdRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id or a range, such as 7, \"7\" or \"10-20\"")
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<IdRange, E> {
                if id == 0 {
                    Err(E::invalid_value(serde::de::Unexpected::Unsigned(id), &self))
                } else {
                    Ok(IdRange(id..=id))
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<IdRange, E> {
                parse_range(text).map(IdRange).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Of)
    }
}

/// An id or a range, as tokens write them: `7`, `10-20`.
fn parse_range(text: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_id(first)?, parse_id(last)?);
    (first <= last).then_some(first..=last)
}

/// An id: decimal digits without a sign or a zero in front, 1 to 2^64 - 1.
pub(super) fn parse_id(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| digits)
}

/// `"*"`, or a list of names of channels.
#[derive(Default)]
struct Channels(ChannelSet);

impl<'de> Deserialize<'de> for Channels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Channels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\", or a list of VISUAL, AUDIO, SCREEN, CHAT and DATA")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Channels, E> {
                if text == "*" {
                    Ok(Channels(Channel::ALL.into_iter().collect()))
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Channels, A::Error> {
                let mut channels = Vec::new();
                while let Some(name) = list.next_element::<String>()? {
                    let channel = Channel::ALL.into_iter().find(|channel| channel_name(*channel) == name);
                    channels.push(
                        channel.ok_or_else(|| A::Error::invalid_value(serde::de::Unexpected::Str(&name), &self))?,
                    );
                }
                Ok(Channels(channels.into_iter().collect()))
            }
        }
        deserializer.deserialize_any(Of)
    }
}

/// The name of a channel, as tokens write it.
const fn channel_name(channel: Channel) -> &'static str {
    match channel {
        Channel::Visual => "VISUAL",
        Channel::Audio => "AUDIO",
        Channel::Screen => "SCREEN",
        Channel::Chat => "CHAT",
        Channel::Data => "DATA",
    }
}
