//! What gRPC's own documents ask of a server, line by line, and the test that holds each.
//!
//! "gRPC over HTTP2" (PROTOCOL-HTTP2.md), "gRPC Web" (PROTOCOL-WEB.md), "Compression"
//! (compression.md) and "GRPC Health Checking Protocol" (health-checking.md, health.proto) of the
//! repository grpc/grpc. Left out is what they ask of clients alone.

mod health;
mod limits;
pub(crate) mod raw;
mod requests;
mod responses;
mod web;

/// What a document asks for, and the test that holds it.
struct Rule(&'static str, Held);

enum Held {
    /// A function of one of the files in `TESTS`.
    By(&'static str),
    /// The server does otherwise, for this reason.
    Differs(&'static str),
}

use Held::{By, Differs};

const HTTP2: &[Rule] = &[
    Rule("a method other than POST is no call", By("other_methods_are_refused_by_http")),
    Rule("Path is case-sensitive", By("paths_are_case_sensitive")),
    Rule("TE is used to detect incompatible proxies", By("a_call_without_te_is_answered")),
    Rule("Timeout is at most 8 digits and a unit", By("malformed_timeouts_are_refused")),
    Rule("without Timeout a server assumes an infinite one", By("without_a_timeout_a_stream_stays_open")),
    Rule("servers track the deadline and cancel the call", By("deadlines_end_every_kind_of_call")),
    Rule(
        "at the deadline the server sends RST_STREAM with CANCEL",
        Differs("it sends the status DEADLINE_EXCEEDED, which says more and is allowed at any time"),
    ),
    Rule("Content-Type must begin with application/grpc, else 415", By("other_content_types_are_refused_by_http")),
    Rule("Custom-Metadata is the application's", By("unknown_and_odd_metadata_is_taken")),
    Rule("binary values are accepted padded and unpadded", By("unknown_and_odd_metadata_is_taken")),
    Rule("an invalid ASCII-Value must not be an error", By("unknown_and_odd_metadata_is_taken")),
    Rule("servers may limit the size of Request-Headers", By("large_headers_refuse_their_own_stream_only")),
    Rule("without Message-Encoding the Compressed-Flag must be 0", By("a_compressed_flag_needs_an_encoding")),
    Rule("an unknown encoding is UNIMPLEMENTED and names those known", By("an_unknown_encoding_is_unimplemented")),
    Rule("an encoding may be named without being used", By("the_identity_encoding_is_known")),
    Rule("EOS may be an empty DATA frame", By("the_end_may_be_an_empty_frame")),
    Rule("DATA frames have no relation to messages", By("frames_may_be_cut_anywhere")),
    Rule("a request is complete at END_STREAM only", By("a_reset_request_is_not_carried_out")),
    Rule("a unary request is one message", By("none_or_several_messages_are_refused")),
    Rule("a response has headers, messages and trailers", By("a_response_has_headers_a_message_and_trailers")),
    Rule("HTTP-Status is 200", By("a_response_has_headers_a_message_and_trailers")),
    Rule("Status is in trailers also when it is OK", By("a_response_has_headers_a_message_and_trailers")),
    Rule("an immediate error is Trailers-Only", By("an_immediate_error_is_trailers_only")),
    Rule("Status-Message is percent-encoded", By("messages_are_percent_encoded")),
    Rule("Status has no leading zeros", By("an_immediate_error_is_trailers_only")),
    Rule("an unknown method is UNIMPLEMENTED", By("paths_are_case_sensitive")),
    Rule("after early trailers: RST_STREAM with NO_ERROR", By("after_early_trailers_the_request_is_reset")),
    Rule("RST_STREAM with CANCEL cancels the call", By("cancelled_stream_is_released")),
    Rule("GOAWAY comes before a connection is terminated", By("goaway_precedes_the_end_of_a_connection")),
    Rule("PING is answered", By("pings_are_answered")),
];

const WEB: &[Rule] = &[
    Rule("application/grpc-web, with and without +proto", By("both_content_types_of_the_web_are_known")),
    Rule("application/grpc-web-text is base64 both ways", By("text_streams_are_base64_both_ways")),
    Rule("any HTTP/*", By("the_web_works_over_http2_too")),
    Rule("header and trailer names are lower-case", By("web_trailers_are_the_last_frame")),
    Rule("trailers are the last message, with the high bit set", By("web_trailers_are_the_last_frame")),
    Rule("Trailers-Only may be in the headers", By("a_web_error_is_in_the_headers")),
    Rule("end of body closes the stream", By("truncated_web_request_is_not_carried_out")),
    Rule("a unary request is one message", By("a_web_request_has_one_message")),
    Rule("a deadline is kept", By("web_deadlines_are_kept")),
    Rule("CORS allows POST", By("preflights_allow_what_they_ask_for")),
    Rule("CORS allows the headers that the preflight carries", By("preflights_allow_what_they_ask_for")),
    Rule(
        "Access-Control-Allow-Credentials",
        Differs("Authorization needs none; it is for cookies, which are not used, and any origin may call"),
    ),
    Rule("large headers are refused with a status", By("large_web_headers_are_refused")),
];

const HEALTH: &[Rule] = &[
    Rule("Check answers for each service and for the empty name", By("each_service_is_checked_and_watched")),
    Rule("Check of an unknown service is NOT_FOUND", By("an_unknown_service_is_not_found_or_watched")),
    Rule("Watch answers at once, and at each change", By("each_service_is_checked_and_watched")),
    Rule("Watch of an unknown service is SERVICE_UNKNOWN and stays", By("an_unknown_service_is_not_found_or_watched")),
];

const TESTS: [&str; 8] = [
    include_str!("rules/health.rs"),
    include_str!("rules/limits.rs"),
    include_str!("rules/requests.rs"),
    include_str!("rules/responses.rs"),
    include_str!("rules/web.rs"),
    include_str!("bodies.rs"),
    include_str!("connections.rs"),
    include_str!("../edge/discovery.rs"),
];

#[test]
fn every_rule_is_held_by_a_test() {
    for Rule(rule, held) in [HTTP2, WEB, HEALTH].into_iter().flatten() {
        match held {
            By(test) => {
                let test = format!("fn {test}()");
                assert!(TESTS.iter().any(|file| file.contains(&test)), "{rule}: no {test}");
            }
            Differs(why) => assert!(!why.is_empty(), "{rule}"),
        }
    }
}
