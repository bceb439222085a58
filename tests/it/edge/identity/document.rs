//! docs/identity-attacks.md lists every attack of the tests, and no other.

use std::fmt::Write as _;
use std::path::Path;

use super::refusal::Row;
use super::{attacks, evasion, forged_tokens, headers, nodes, renewal, strangers};
use crate::edge::{forgeries, signatures};
use crate::tls::{identities, tokens};

/// Attacks that one test makes: its file, its name, and them.
type Group = (&'static str, &'static str, Vec<Row>);

/// All of them, by their headings.
fn sections() -> Vec<(&'static str, Vec<Group>)> {
    const IDENTITY: &str = "tests/it/edge/identity";
    let tokens_made_up = vec![("forged_tokens.rs", "forged_tokens_are_refused_alike", forged_tokens::rows())];
    let headers = vec![
        ("headers.rs", "token_counts_in_its_header_only", headers::rows()),
        ("headers.rs", "token_in_a_query_is_no_token", headers::query_rows()),
    ];
    let strangers = vec![
        ("strangers.rs", "every_rpc_looks_alike_to_strangers", vec![strangers::stranger_row()]),
        ("strangers.rs", "viewer_of_one_swarm_finds_no_others", vec![strangers::guesser_row()]),
        ("strangers.rs", "nobody_is_served_without_a_token", vec![strangers::nobody_row()]),
        ("nodes.rs", "every_rpc_refuses_another_node", vec![nodes::another_node_row()]),
        ("nodes.rs", "a_repeat_is_the_callers_own", vec![nodes::repeat_row()]),
    ];
    let known = vec![("attacks.rs", "attacks_are_refused_and_leave_no_trace", attacks::rows())];
    let renewals = vec![
        ("renewal.rs", "renewal_keeps_node_and_channels", renewal::rows()),
        ("renewal.rs", "renewal_does_not_open_a_stream", renewal::first_row()),
    ];
    let evasion = vec![
        ("evasion.rs", "banned_node_finds_no_way_back", evasion::return_rows()),
        ("evasion.rs", "ban_ends_streams_whatever_renews_them", vec![evasion::during_row()]),
        ("evasion.rs", "revoked_token_finds_no_way_back", {
            [evasion::revoked_rows(), vec![evasion::stream_row()]].concat()
        }),
    ];
    let within = |folder: &'static str, groups: Vec<Group>| {
        let full = |(file, test, rows)| (&*format!("{folder}/{file}").leak(), test, rows);
        groups.into_iter().map(full).collect::<Vec<Group>>()
    };
    vec![
        ("Tokens that somebody made up", within(IDENTITY, tokens_made_up)),
        ("Tokens in other places", within(IDENTITY, headers)),
        ("Strangers, and other nodes' names", within(IDENTITY, strangers)),
        ("Callers who are known and not granted", within(IDENTITY, known)),
        ("Renewals of a publish stream", within(IDENTITY, renewals)),
        ("Bans and revocations", within(IDENTITY, evasion)),
        (
            "Certificates of clients",
            within(
                "tests/it/tls",
                vec![
                    ("identities.rs", "certificates_that_are_not_valid_are_refused", identities::rows()),
                    ("tokens.rs", "a_token_counts_before_the_certificate", tokens::rows()),
                    ("tokens.rs", "certificate_that_expires_ends_its_calls", tokens::over_rows()),
                    ("tokens.rs", "a_stream_does_not_outlive_its_certificate", tokens::prolonged_rows()),
                ],
            ),
        ),
        (
            "Signed updates, at the server",
            within(
                "tests/it/edge",
                vec![
                    ("signatures.rs", "forged_updates_by_themselves_leave_no_trace", signatures::alone_rows()),
                    ("signatures.rs", "forged_updates_on_a_stream_leave_no_trace", signatures::stream_rows()),
                ],
            ),
        ),
        (
            "Signed updates, at the subscriber",
            within(
                "tests/it/edge",
                vec![
                    ("forgeries.rs", "forging_relay_is_found_out", forgeries::relay_rows()),
                    ("forgeries.rs", "replay_after_a_cut_is_found_out", forgeries::replay_rows()),
                    ("forgeries.rs", "pinned_key_is_stronger_than_the_server", forgeries::pinned_rows()),
                ],
            ),
        ),
    ]
}

/// The tables, as the document has them.
fn tables() -> String {
    let sections = sections();
    let count: usize = sections.iter().flat_map(|(_, groups)| groups).map(|(.., rows)| rows.len()).sum();
    let mut text = format!("There are {count} of them.\n");
    for (heading, groups) in sections {
        write!(text, "\n## {heading}\n").unwrap();
        for (file, test, rows) in groups {
            write!(text, "\n`{test}` in [`{file}`](../{file}):\n\n").unwrap();
            text.push_str("| attack | code | reason |\n| --- | --- | --- |\n");
            for Row { attack, refusal } in rows {
                writeln!(text, "| {attack} | {refusal} |").unwrap();
            }
        }
    }
    text
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

#[test]
fn document_lists_every_attack() {
    let (document, tables) = (read("docs/identity-attacks.md"), tables());
    assert!(document.ends_with(&tables), "docs/identity-attacks.md must end with:\n{tables}");
}

#[test]
fn every_attack_has_a_name_of_its_own() {
    for (heading, groups) in sections() {
        for (file, test, rows) in groups {
            assert!(read(file).contains(&format!("fn {test}(")), "{file} has no test {test}");
            let mut names: Vec<_> = rows.iter().map(|row| row.attack).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), rows.len(), "two attacks of one name below {heading:?}: {names:?}");
        }
    }
}
