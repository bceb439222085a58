use std::collections::BTreeSet;
use std::path::PathBuf;

use tempfile::TempDir;

mod together;

use super::*;

#[test]
fn default_configuration_equals_the_compiled_in_one() {
    let loaded = Config::load(None, HashMap::new(), Overrides::default()).unwrap();
    assert_eq!(loaded, Config::default());
    assert_eq!(loaded.server.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(loaded.drain.timeout, Duration::from_secs(15));
    assert_eq!(loaded.streams.max_age, Duration::from_secs(3_600));
    assert_eq!(loaded.feed.ring_bytes, 8 * 1024 * 1024);
    assert_eq!(loaded.log.format, LogFormat::Auto);
}

#[test]
fn precedence_is_flags_variables_file_default() {
    let file = TestFile::new(
        "starling.toml",
        "[server]\nlisten = '127.0.0.1:1'\ngrpc_web = false\n[log]\nfilter = 'warn'\nformat = 'human'\n",
    );
    let env = env(&[
        ("STARLING__SERVER__LISTEN", "127.0.0.1:2"),
        ("STARLING__LOG__FILTER", "debug"),
        ("STARLING__STORE__SHARDS", "128"),
        ("STARLING__SERVER__REFLECTION", "false"),
    ]);
    let overrides = Overrides {
        listen: Some("[::1]:3".parse().unwrap()),
        log_format: Some(LogFormat::Json),
        ..Overrides::default()
    };

    let mut expected = Config::default();
    expected.server.listen = "[::1]:3".parse().unwrap();
    expected.server.grpc_web = false;
    expected.server.reflection = false;
    expected.store.shards = 128;
    expected.log.filter = "debug".to_owned();
    expected.log.format = LogFormat::Json;
    assert_eq!(Config::load(Some(&file.path), env, overrides).unwrap(), expected);
}

#[test]
fn yaml_works_with_both_of_its_extensions() {
    let text = "drain:\n  spread: 1s\nstore:\n  shards: 8\nserver:\n  # nothing set here\n";
    for name in ["starling.yaml", "starling.yml"] {
        let config = load_file(&TestFile::new(name, text)).unwrap();
        assert_eq!(config.drain.spread, Duration::from_secs(1));
        assert_eq!(config.store.shards, 8);
        assert_eq!(config.server, Config::default().server);
    }
}

#[test]
fn empty_file_and_empty_variable_change_nothing() {
    for name in ["starling.toml", "starling.yaml"] {
        assert_eq!(load_file(&TestFile::new(name, "# nothing\n")).unwrap(), Config::default());
    }
    let env = env(&[("STARLING__SERVER__LISTEN", "")]);
    assert_eq!(load_env(env).unwrap(), Config::default());
}

#[test]
fn unknown_key_is_refused_naming_the_known_ones() {
    let file = TestFile::new("starling.toml", "[drain]\nspred = '1s'\n[drian]\nspread = '1s'\n");
    let error = load_file(&file).unwrap_err();
    let name = file.path.display();
    assert_eq!(
        error.to_string(),
        format!(
            "drain.spred: unknown key (from {name}); [drain] has spread, timeout\n\
             drian: unknown section (from {name}); there are {}",
            "admin, cluster, drain, feed, identity, limits, log, memory, retention, server, store, streams, tls"
        )
    );
}

#[test]
fn key_that_looks_like_a_path_is_refused() {
    let text = "\"drain[-99999999999]\" = 1\n\"drain.spread\" = \"1s\"\n[store]\n\"shards[0]\" = 1\n";
    let error = load_file(&TestFile::new("starling.toml", text)).unwrap_err();
    assert_eq!(keys(&error), ["drain.spread", "drain[-99999999999]", "store.shards[0]"]);
}

#[test]
fn unknown_variable_is_refused_and_foreign_ones_ignored() {
    let env = env(&[
        ("STARLING__SERVER__LISTENS", "127.0.0.1:1"),
        ("starling__server__listen", "127.0.0.1:2"),
        ("STARLING__LISTEN[0]", "x"),
        ("STARLING_SEVER", "http://10.0.0.1:50051"),
        ("STARLING_PORT", "50051"),
        ("STARLING_LISTEN", ""),
        ("STARLING_SERVER", "10.0.0.1:50051"),
        ("STARLING_TOKEN", "x"),
        ("STARLING_TOKEN_FILE", "x"),
        ("STARLINGS_NEST", "x"),
        ("PATH", "/bin"),
    ]);
    let expected = [
        "STARLING_LISTEN",
        "STARLING_PORT",
        "STARLING_SEVER",
        "STARLING__LISTEN[0]",
        "STARLING__SERVER__LISTENS",
        "starling__server__listen",
    ];
    assert_eq!(keys(&Config::check_variables(&env).unwrap_err()), expected);
    assert_eq!(keys(&load_env(env).unwrap_err()), expected);
}

#[test]
fn service_variables_of_kubernetes_are_ignored() {
    let env = env(&[
        ("STARLING_SERVICE_HOST", "10.0.0.1"),
        ("STARLING_SERVICE_PORT", "50051"),
        ("STARLING_SERVICE_PORT_GRPC", "50051"),
        ("STARLING_PORT", "tcp://10.0.0.1:50051"),
        ("STARLING_PORT_50051_TCP", "tcp://10.0.0.1:50051"),
        ("STARLING_PORT_50051_TCP_PROTO", "tcp"),
        ("STARLING_PORT_50051_TCP_PORT", "50051"),
        ("STARLING_LIVE_PORT_50051_TCP_ADDR", "10.0.0.1"),
    ]);
    Config::check_variables(&env).unwrap();
    assert_eq!(load_env(env).unwrap(), Config::default());
}

#[test]
fn all_faults_are_reported_with_their_origin() {
    let file = TestFile::new(
        "starling.toml",
        "[server]\nlisten = 'here'\ncolour = 1\n[store]\nlist_page = true\n[streams]\nheartbeat_interval = 15\n",
    );
    let env = env(&[
        ("STARLING__STORE__SHARDS", "63"),
        ("STARLING__STORE__MAX_SWARMS", "many"),
        ("STARLING__STORE__EVENT_LOG_REVISIONS", "-1"),
        ("STARLING__DRAIN__SPREAD", "20s"),
        ("STARLING__DRAIN__SPRAED", "20s"),
        ("STARLING__RETENTION__ENDED", "soon"),
    ]);
    let overrides = Overrides { log: Some("starling=loud".to_owned()), ..Overrides::default() };

    let error = Config::load(Some(&file.path), env, overrides).unwrap_err();
    let name = file.path.display();
    let text = error.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), error.faults().len(), "{text}");
    let expected = [
        format!("server.colour: unknown key (from {name}); "),
        "STARLING__DRAIN__SPRAED: unknown variable".to_owned(),
        "retention.ended: \"soon\": not a duration: ".to_owned(),
        format!("server.listen: \"here\": invalid socket address syntax (from {name})"),
        "store.event_log_revisions: -1 is out of range (from STARLING__STORE__EVENT_LOG_REVISIONS)".to_owned(),
        format!("store.list_page: expects an integer, found the boolean true (from {name})"),
        "store.max_swarms: expects an integer, found \"many\" (from STARLING__STORE__MAX_SWARMS)".to_owned(),
        format!("streams.heartbeat_interval: expects text such as \"15s\", found the integer 15 (from {name})"),
        "drain.timeout: 15s is not longer than drain.spread, 20s".to_owned(),
        "store.shards: 63 is not a power of two (from STARLING__STORE__SHARDS)".to_owned(),
        "log.filter: \"starling=loud\": ".to_owned(),
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, start) in lines.iter().zip(&expected) {
        assert!(line.starts_with(start), "expected {start:?}, found {line:?}");
    }
    assert!(text.ends_with("(from --log)"), "{text}");
}

#[test]
fn unreadable_file_is_one_fault_among_others() {
    let broken_toml = TestFile::new("starling.toml", "[server]\nlisten = \n");
    let broken_yaml = TestFile::new("starling.yaml", "server: [\n");
    let other = TestFile::new("starling.json", "{}");
    let missing = TestFile { path: broken_toml.path.with_file_name("missing.toml"), dir: TempDir::new().unwrap() };
    for file in [broken_toml, broken_yaml, other, missing] {
        let env = env(&[("STARLING__STORE__SHARDS", "3")]);
        let error = Config::load(Some(&file.path), env, Overrides::default()).unwrap_err();
        assert_eq!(keys(&error), [&*file.path.display().to_string(), "store.shards"]);
        assert_eq!(error.to_string().lines().count(), 2, "{error}");
    }
}

#[test]
fn scalar_in_place_of_a_section_is_refused() {
    let file = TestFile::new("starling.toml", "drain = 5\n");
    let env = env(&[("STARLING__DRAIN__SPREAD", "1s")]);
    let error = Config::load(Some(&file.path), env, Overrides::default()).unwrap_err();
    assert_eq!(keys(&error), ["drain"]);
}

#[test]
fn every_range_accepts_exactly_its_ends() {
    let ranges: &[(&str, &[&str], &[&str])] = &[
        ("server.max_connections", &["1", "1000000"], &["0", "1000001"]),
        ("server.max_connections_per_address", &["0", "1", "1000000"], &["-1", "1000001"]),
        ("server.health_listen", &["", "0.0.0.0:0", "[::1]:50052"], &["50052", "localhost:50052", "none"]),
        ("server.proxy_protocol", &["off"], &["v2", "v1", "V2", "on"]),
        (
            "server.trusted_proxies",
            &["", "10.0.0.1", "10.0.0.0/8, 192.0.2.7/32,::1 , fd00::/8"],
            &[
                ",",
                "10.0.0.1,",
                "localhost",
                "10.0.0.1/8",
                "10.0.0.0/33",
                "0.0.0.0/0",
                "::/0",
                "::ffff:10.0.0.1",
                "::ffff:0:0/96",
            ],
        ),
        ("server.client_address_header", &[""], &["x-forwarded-for", "forwarded", "Forwarded", "a b", "a:"]),
        ("admin.tls", &["false"], &["true", "on"]),
        ("admin.client_auth", &["none"], &["required", "optional"]),
        (
            "admin.reader_sans",
            &["", "a", "starling://reader, spiffe://here/scraper"],
            &[",", "a,,b", "starling://node/7"],
        ),
        ("admin.listen", &["off", "127.0.0.1:0", "[::]:50053"], &["50053", "on", "localhost:50053"]),
        ("server.max_connection_age", &["0s", "1s", "30d"], &["1ms", "999ms", "31d"]),
        ("server.max_concurrent_streams", &["1", "65535"], &["0", "65536", "4294967296"]),
        ("server.http2_keepalive_interval", &["1s", "1h"], &["999ms", "3601s"]),
        ("server.http2_keepalive_timeout", &["1s", "5m"], &["999ms", "301s"]),
        ("server.max_local_error_reset_streams", &["1", "65535"], &["0", "65536"]),
        ("server.max_header_list_bytes", &["1024", "1048576"], &["1023", "1048577"]),
        ("identity.mode", &["off"], &["none", "JWT"]),
        ("identity.reload_interval", &["1s", "1h"], &["999ms", "3601s"]),
        ("identity.leeway", &["0s", "5m"], &["301s"]),
        ("identity.max_token_age", &["1m", "365d"], &["59s", "366d"]),
        ("identity.insecure", &["true", "false"], &["yes"]),
        ("tls.cert_file", &[""], &["tls.crt"]),
        ("tls.key_file", &[""], &["tls.key"]),
        ("tls.client_ca_file", &[""], &["ca.crt"]),
        ("tls.client_auth", &["none"], &["optional", "required", "None", "true"]),
        ("tls.admin_sans", &["", "a", "starling://admin, spiffe://here/ops"], &[",", "a,,b", "starling://node/7"]),
        ("tls.reload_interval", &["1s", "1h"], &["999ms", "3601s"]),
        ("drain.spread", &["0s", "14999ms"], &["15s", "601s"]),
        ("drain.timeout", &["5001ms", "1h"], &["5s", "999ms", "3601s"]),
        ("streams.heartbeat_interval", &["100ms", "10m"], &["99ms", "601s", "0s"]),
        ("streams.max_age", &["0s", "1s", "30d"], &["1ms", "999ms", "31d"]),
        ("streams.stall_timeout", &["1s", "10m"], &["999ms", "601s"]),
        ("store.shards", &["1", "4096"], &["0", "3", "8192"]),
        ("store.event_log_revisions", &["16", "1048576"], &["15", "1048577"]),
        ("store.event_log_bytes", &["16384", "134217728"], &["16383", "1073741825"]),
        ("store.max_swarms", &["1", "4294967296"], &["0", "-1"]),
        ("store.list_page", &["1", "1000"], &["0", "1001"]),
        ("retention.ended", &["0s", "24h"], &["86401s"]),
        ("retention.empty_group", &["0s", "24h"], &["86401s"]),
        ("feed.ring_bytes", &["4194304", "536870912"], &["4194303", "65535", "536870913", "1073741825"]),
        ("feed.payload_bytes", &["1", "2096128"], &["0", "2096129", "2097153", "16777217"]),
        ("feed.chat_payload_bytes", &["1", "1048576"], &["0", "1048577"]),
        ("feed.memory_bytes", &["8388608", "1099511627776"], &["8388607", "65535", "1099511627777"]),
        ("limits.receive_bytes", &["1024", "16777216"], &["1023", "16777217"]),
        ("limits.publish_receive_bytes", &["1049600", "33554432"], &["1049599", "33554433"]),
        (
            "limits.max_id",
            &["9007199254740991", "18446744073709551615"],
            &["9007199254740990", "18446744073709551616", "x"],
        ),
        ("limits.identity_connections", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.identity_streams", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.identity_swarms", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.identity_joins_per_second", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.identity_publishes_per_second", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.identity_published_bytes_per_second", &["0", "10000000000"], &["-1", "10000000001"]),
        ("limits.identity_renewals_per_second", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.address_streams", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.address_swarms", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.address_joins_per_second", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.address_publishes_per_second", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.address_published_bytes_per_second", &["0", "10000000000"], &["-1", "10000000001"]),
        ("limits.address_failed_authentications_per_second", &["0", "1000000"], &["-1", "1000001"]),
        ("limits.address_handshakes_per_second", &["0", "1000000"], &["-1", "1000001"]),
        ("memory.receiving_bytes", &["33554432", "1099511627776"], &["33554431", "1048575", "1099511627777"]),
        ("memory.receiving_connection_bytes", &["2097152", "134217728"], &["2097151", "1048575", "134217729"]),
        ("memory.sending_bytes", &["16777216", "1099511627776"], &["16777215", "1048575", "1099511627777"]),
        ("memory.sending_connection_bytes", &["1048576", "134217728"], &["1048575", "134217729"]),
        ("memory.streams_bytes", &["1048576", "1099511627776"], &["1048575", "1099511627777"]),
        ("memory.state_bytes", &["268435456", "1099511627776"], &["268435455", "1048575", "1099511627777"]),
        ("memory.state_address_bytes", &["1048576", "536870912"], &["1048575", "536870913"]),
        ("memory.state_identity_bytes", &["1048576", "536870912"], &["1048575", "536870913"]),
        ("memory.event_logs_bytes", &["4194304", "1099511627776"], &["1048575", "1099511627777"]),
        ("cluster.nats_urls", &[""], &["nats://127.0.0.1:4222"]),
        ("cluster.nats_tls_cert_file", &[""], &["tls.crt"]),
        ("cluster.nats_tls_key_file", &[""], &["tls.key"]),
        (
            "cluster.name",
            &["", "a_B-9", "12345678901234567890123456789012"],
            &["a b", "a.b", "123456789012345678901234567890123"],
        ),
        ("cluster.replicas", &["1", "5"], &["0", "6"]),
        ("cluster.max_log_bytes", &["16777216", "1125899906842624"], &["16777215", "1125899906842625"]),
        ("cluster.max_store_bytes", &["67108864", "1125899906842624"], &["67108863", "1125899906842625"]),
        ("cluster.start_timeout", &["1s", "10m"], &["999ms", "601s"]),
        ("cluster.peer_listen", &["", "0.0.0.0:0", "[::1]:50061"], &["50061", "localhost:50061", "none"]),
        ("cluster.max_staleness", &["20s", "10m"], &["19s", "601s"]),
        ("cluster.activate", &["auto", "manual"], &["Auto", "never"]),
        ("log.filter", &["off", "warn,starling=debug"], &["starling=loud"]),
        ("log.format", &["auto", "human", "json"], &["JSON", "yaml"]),
    ];
    for (key, accepted, refused) in ranges {
        let variable = reference::variable(key);
        for value in *accepted {
            let loaded = load_env(env(&[(&variable, value)]));
            assert!(loaded.is_ok(), "{key} = {value}: {loaded:?}");
        }
        for value in *refused {
            let error = load_env(env(&[(&variable, value)])).unwrap_err();
            assert_eq!(error.faults().len(), 1, "{key} = {value}: {error}");
        }
    }
}

#[test]
fn proxies_are_trusted_for_something() {
    let proxies = ("STARLING__SERVER__TRUSTED_PROXIES", "10.0.0.0/8,::1");
    let protocol = ("STARLING__SERVER__PROXY_PROTOCOL", "v2");
    let header = ("STARLING__SERVER__CLIENT_ADDRESS_HEADER", "X-Forwarded-For");
    for way in [&[protocol][..], &[header], &[protocol, header]] {
        let config = load_env(env(&[way, &[proxies]].concat())).unwrap();
        assert_eq!(config.server.trusted_proxies().unwrap().len(), 2);
        assert_eq!(config.remarks(), [""; 0], "{way:?}");
    }
    let config = load_env(env(&[header, proxies])).unwrap();
    assert_eq!(config.server.client_address_header().unwrap().unwrap(), "x-forwarded-for");
    let both = load_env(env(&[protocol, header])).unwrap_err();
    assert_eq!(keys(&both), ["server.client_address_header", "server.proxy_protocol"]);
    assert_eq!(load_env(env(&[proxies])).unwrap().remarks().len(), 1, "nothing is taken from them");
    let many = vec!["10.0.0.1"; 257].join(",");
    let error = load_env(env(&[("STARLING__SERVER__TRUSTED_PROXIES", &many)])).unwrap_err();
    assert!(error.to_string().contains("257 entries are more than 256"), "{error}");
}

#[test]
fn multiline_value_makes_a_fault_of_one_line() {
    let error = load_env(env(&[("STARLING__SERVER__LISTEN", "one\ntwo\nthree")])).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
}

#[test]
fn rule_between_keys_is_skipped_for_faulty_keys() {
    let env = env(&[("STARLING__FEED__RING_BYTES", "1"), ("STARLING__FEED__PAYLOAD_BYTES", "lots")]);
    let error = load_env(env).unwrap_err();
    assert_eq!(keys(&error), ["feed.payload_bytes", "feed.ring_bytes"]);
}

#[test]
fn the_printed_configuration_loads_as_the_same_one() {
    let mut config = Config::default();
    config.server.listen = "[::]:50051".parse().unwrap();
    config.identity.insecure = true;
    config.identity.keys_dir = "keys".into();
    config.server.grpc_web = false;
    config.streams.max_age = Duration::ZERO;
    config.streams.heartbeat_interval = Duration::from_millis(1_500);
    config.log.filter = "warn,starling=debug".to_owned();
    config.log.format = LogFormat::Json;
    for config in [config, Config::default()] {
        let file = TestFile::new("printed.toml", &config.to_toml());
        assert_eq!(load_file(&file).unwrap(), config);
    }
}

#[test]
fn every_key_is_documented_with_its_default() {
    let references = Config::reference();
    let documented: BTreeSet<_> = references.iter().map(|it| it.key.clone()).collect();
    let existing: BTreeSet<_> = toml::Table::try_from(Config::default())
        .unwrap()
        .iter()
        .flat_map(|(section, keys)| {
            let keys = keys.as_table().unwrap().keys();
            keys.map(move |key| format!("{section}.{key}"))
        })
        .collect();
    assert_eq!(documented, existing);

    for Reference { key, env: variable, default, meaning } in references {
        assert!(meaning.ends_with('.') && !meaning.contains('|'), "{key}: {meaning:?}");
        let loaded = load_env(env(&[(&variable, &default)])).unwrap();
        assert_eq!(loaded, Config::default(), "{key}");
    }
}

#[test]
fn reference_table_has_a_row_per_key() {
    let table = Config::reference_table();
    assert_eq!(table.lines().count(), 2 + Config::reference().len());
    let row = "| `server.listen` | `STARLING__SERVER__LISTEN` | `127.0.0.1:50051` | Address and port";
    assert!(table.lines().nth(2).unwrap().starts_with(row), "{table}");
}

#[test]
fn the_flags_parse_on_a_command_line() {
    #[derive(Debug, clap::Parser)]
    struct Flags {
        #[command(flatten)]
        overrides: Overrides,
    }
    let line = ["starling", "--listen", "[::]:7", "--insecure", "--log", "debug", "--log-format", "json"];
    let Flags { overrides } = clap::Parser::try_parse_from(line).unwrap();
    let config = Config::load(None, HashMap::new(), overrides).unwrap();
    assert_eq!(config.server.listen.to_string(), "[::]:7");
    assert_eq!(config.log, LogConfig { filter: "debug".to_owned(), format: LogFormat::Json });
}

#[test]
fn public_address_without_identities_is_refused() {
    for address in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
        let variables = env(&[("STARLING__SERVER__LISTEN", address)]);
        let error = load_env(variables.clone()).unwrap_err();
        assert_eq!(keys(&error), ["server.listen"], "{address}");
        assert!(error.to_string().ends_with("(from STARLING__SERVER__LISTEN)"), "{error}");
        let overrides = Overrides { insecure: true, ..Overrides::default() };
        let config = Config::load(None, variables, overrides).unwrap();
        assert!(config.is_open_to_all() && config.identity.insecure, "{address}");
    }
    for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(!load_env(env(&[("STARLING__SERVER__LISTEN", address)])).unwrap().is_open_to_all(), "{address}");
    }
}

#[test]
fn mode_jwt_asks_for_issuer_audience_and_keys() {
    let mode = ("STARLING__IDENTITY__MODE", "jwt");
    let error = load_env(env(&[mode])).unwrap_err();
    assert_eq!(keys(&error), ["identity.issuer", "identity.audience", "identity.mode"]);
    let named = [mode, ("STARLING__IDENTITY__ISSUER", "us"), ("STARLING__IDENTITY__AUDIENCE", "starling")];
    for source in ["JWKS_FILE", "KEYS_DIR", "HS256_SECRET_FILE"] {
        let source = format!("STARLING__IDENTITY__{source}");
        let everywhere = ("STARLING__SERVER__LISTEN", "0.0.0.0:1");
        let config = load_env(env(&[&named[..], &[(&source, "keys"), everywhere]].concat())).unwrap();
        assert!(!config.is_open_to_all());
        assert!(!load_env(env(&[(&source, "keys")])).unwrap().remarks().is_empty(), "keys, and mode off");
    }
}

struct TestFile {
    path: PathBuf,
    #[expect(dead_code, reason = "removes the directory when dropped")]
    dir: TempDir,
}

impl TestFile {
    fn new(name: &str, text: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Self { path, dir }
    }
}

fn load_file(file: &TestFile) -> Result<Config, ConfigError> {
    Config::load(Some(&file.path), HashMap::new(), Overrides::default())
}

fn load_env(env: HashMap<String, String>) -> Result<Config, ConfigError> {
    Config::load(None, env, Overrides::default())
}

fn env(variables: &[(&str, &str)]) -> HashMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn keys(error: &ConfigError) -> Vec<&str> {
    error.faults().iter().map(|fault| fault.key.as_str()).collect()
}
