//! All cases: first those that filled or stopped a server before it had budgets of bytes, then what HTTP/2 and gRPC
//! servers are attacked with, then what TLS and tokens add, and what a viewer can do to those who watch with it.

mod bad_signatures;
mod call_flood;
mod cancelled_calls;
mod certificate_chains;
mod compressed_messages;
mod connection_flood;
mod continuation_flood;
mod dripped_messages;
mod endless_hello;
mod event_log;
mod expired_tokens;
mod expiring_leases;
mod feed_records;
mod fellow_chat;
mod fellow_rejoins;
mod fellow_subscriptions;
mod half_messages;
mod handshake_churn;
mod honest_publisher;
mod hpack_bomb;
mod http1_headers;
mod ignored_frames;
mod interest_flips;
mod interest_work;
mod key_updates;
mod lying_lengths;
mod made_you_reset;
mod malformed_headers;
mod many_tokens;
mod missing_tokens;
mod nested_messages;
mod odd_tokens;
mod oversize_messages;
mod packed_open;
mod ping_flood;
mod rapid_reset;
mod renegotiation;
mod replayed_hellos;
mod slow_handshakes;
mod slowloris;
mod small_data_flood;
mod stream_exhaustion;
mod swarm_state;
mod target_work;
mod token_renewals;
mod trickle_reader;
mod unread_lists;
mod unread_participants;
mod unread_rosters;
mod unread_sockets;
mod unread_targets;
mod whole_messages;
mod zero_window;

use crate::attacker::Attacker;
use crate::case::Case;
use crate::ending::Ending;

/// In the order in which they run.
pub(crate) const ALL: &[&dyn Case] = &[
    &half_messages::HalfMessages,
    &whole_messages::WholeMessages,
    &event_log::EventLog,
    &expiring_leases::ExpiringLeases,
    &interest_flips::InterestFlips,
    &interest_work::InterestWork,
    &target_work::TargetWork,
    &unread_rosters::UnreadRosters,
    &unread_participants::UnreadParticipants,
    &unread_targets::UnreadTargets,
    &unread_lists::UnreadLists,
    &feed_records::FeedRecords,
    &packed_open::PackedOpen,
    &honest_publisher::HonestPublisher,
    &connection_flood::ConnectionFlood,
    &http1_headers::Http1Headers,
    &swarm_state::SwarmState,
    &rapid_reset::RapidReset,
    &made_you_reset::MadeYouReset,
    &continuation_flood::ContinuationFlood,
    &hpack_bomb::HpackBomb,
    &small_data_flood::SmallDataFlood,
    &ping_flood::PingFlood,
    &zero_window::ZeroWindow,
    &trickle_reader::TrickleReader,
    &stream_exhaustion::StreamExhaustion,
    &slowloris::Slowloris,
    &dripped_messages::DrippedMessages,
    &oversize_messages::OversizeMessages,
    &lying_lengths::LyingLengths,
    &malformed_headers::MalformedHeaders,
    &ignored_frames::IgnoredFrames,
    &compressed_messages::CompressedMessages,
    &nested_messages::NestedMessages,
    &cancelled_calls::CancelledCalls,
    &unread_sockets::UnreadSockets,
    &slow_handshakes::SlowHandshakes,
    &replayed_hellos::ReplayedHellos,
    &endless_hello::EndlessHello,
    &handshake_churn::HandshakeChurn,
    &key_updates::KeyUpdates,
    &renegotiation::Renegotiation,
    &certificate_chains::CertificateChains,
    &missing_tokens::MissingTokens,
    &bad_signatures::BadSignatures,
    &expired_tokens::ExpiredTokens,
    &many_tokens::ManyTokens,
    &odd_tokens::OddTokens,
    &token_renewals::TokenRenewals,
    &fellow_subscriptions::FellowSubscriptions,
    &fellow_rejoins::FellowRejoins,
    &fellow_chat::FellowChat,
];

/// Frames or groups of frames that a flood has at most, and that are written together.
const FLOOD: u32 = 1_000_000;
const TOGETHER: u32 = 256;

/// Floods a connection, until it is closed or the flood or the time is over; opens another one then, and so on, since
/// an attacker does. Notes what the server told on each.
async fn hold_floods(attacker: &Attacker, begins: &[u8], frames: impl Fn(&mut Vec<u8>, u32)) -> Result<(), Ending> {
    let mut sent = 0;
    while sent < FLOOD && !attacker.is_over() {
        let mut link = attacker.frames().await?;
        let mut flooded = link.send(begins).await;
        let mut number = 0;
        while flooded.is_ok() && sent < FLOOD && !attacker.is_over() && !link.told().closed {
            let mut out = Vec::new();
            (number..number + TOGETHER).for_each(|number| frames(&mut out, number));
            number += TOGETHER;
            sent += TOGETHER;
            flooded = match attacker.in_time(link.send(&out)).await {
                Some(flooded) => flooded,
                // Not read any more: held back, which is as good as cut.
                None => break,
            };
        }
        if flooded.is_err() {
            // What was told before the connection was closed is read yet.
            link.closed().await;
        }
        attacker.note_told(&link);
    }
    attacker.figure(format!("{sent} sent"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ALL.iter().map(|case| case.name()).collect();
        assert_eq!(names.len(), ALL.len());
        for case in ALL {
            assert!(!case.does().contains('|') && !case.does().is_empty(), "{}", case.name());
        }
    }
}
