//! Settings that need each other.

use super::{env, keys, load_env};
use crate::config::ClientAuth;

#[test]
fn settings_of_tls_fit_together() {
    let files = [("STARLING__TLS__CERT_FILE", "tls.crt"), ("STARLING__TLS__KEY_FILE", "tls.key")];
    let authority = ("STARLING__TLS__CLIENT_CA_FILE", "ca.crt");
    let load = |more: &[(&str, &str)]| load_env(env(&[&files, more].concat()));
    assert!(load(&[]).unwrap().tls.is_on());
    for asks in ["optional", "required"] {
        let asks = ("STARLING__TLS__CLIENT_AUTH", asks);
        assert!(load(&[asks, authority]).is_ok());
        assert_eq!(keys(&load(&[asks]).unwrap_err()), ["tls.client_ca_file"]);
        assert_eq!(keys(&load_env(env(&[asks, authority])).unwrap_err()), ["tls.client_auth"], "without TLS");
    }
    assert_eq!(keys(&load(&[authority]).unwrap_err()), ["tls.client_ca_file"], "nobody is asked");
    assert_eq!(keys(&load_env(env(&files[..1])).unwrap_err()), ["tls.key_file"], "half a pair");
    let config = load(&[("STARLING__TLS__ADMIN_SANS", "a://b, c")]).unwrap();
    assert_eq!(config.tls.admin_sans().collect::<Vec<_>>(), ["a://b", "c"]);
}

#[test]
fn several_servers_need_all_that_they_share() {
    let urls = ("STARLING__CLUSTER__NATS_URLS", "nats://127.0.0.1:4222, nats://127.0.0.2:4222");
    let error = load_env(env(&[urls])).unwrap_err().to_string();
    assert!(error.contains("they need cluster.name, cluster.peer_listen, cluster.peer_secret_file"), "{error}");
    let all = [
        urls,
        ("STARLING__CLUSTER__NAME", "live"),
        ("STARLING__CLUSTER__PEER_LISTEN", "0.0.0.0:50061"),
        ("STARLING__CLUSTER__PEER_SECRET_FILE", "secret"),
    ];
    let error = load_env(env(&all)).unwrap_err().to_string();
    assert!(error.contains("they need cluster.peer_address"), "{error}");
    let with = |more: &[(&str, &str)]| {
        load_env(env(&[&all[..], &[("STARLING__CLUSTER__PEER_ADDRESS", "a:1")], more].concat()))
    };
    let config = with(&[]).unwrap().cluster;
    assert_eq!(config.nats_urls().collect::<Vec<_>>(), ["nats://127.0.0.1:4222", "nats://127.0.0.2:4222"]);
    assert_eq!(keys(&with(&[("STARLING__STORE__SHARDS", "32")]).unwrap_err()), ["store.shards"]);
    let both = [("STARLING__CLUSTER__NATS_NKEY_FILE", "a"), ("STARLING__CLUSTER__NATS_CREDENTIALS_FILE", "b")];
    assert_eq!(keys(&with(&both).unwrap_err()), ["cluster.nats_nkey_file"]);
}

#[test]
fn admin_settings_fit_those_of_tls() {
    let files = [("STARLING__TLS__CERT_FILE", "tls.crt"), ("STARLING__TLS__KEY_FILE", "tls.key")];
    let (tls, asks) = (("STARLING__ADMIN__TLS", "true"), ("STARLING__ADMIN__CLIENT_AUTH", "required"));
    let authority = ("STARLING__TLS__CLIENT_CA_FILE", "ca.crt");
    let load = |more: &[(&str, &str)]| load_env(env(&[&files, more].concat()));
    assert!(load(&[tls]).unwrap().admin.tls);
    let config = load(&[tls, asks, authority]).unwrap();
    assert_eq!(config.tls.client_auth, ClientAuth::None, "calls need none");
    assert_eq!(config.admin.reader_sans().collect::<Vec<_>>(), ["starling://reader"]);
    assert_eq!(keys(&load(&[tls, asks]).unwrap_err()), ["tls.client_ca_file"]);
    assert_eq!(keys(&load(&[asks, authority]).unwrap_err()), ["admin.client_auth"]);
    assert_eq!(keys(&load_env(env(&[tls])).unwrap_err()), ["admin.tls"]);
}
