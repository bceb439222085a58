//! The program over TLS: flags, variables, and settings that are of no use.

use starling::config::ClientAuth;

use crate::harness::Server;
use crate::process::{run, starling, text};
use crate::tls::authority::{self, Authority, Files, url};

#[tokio::test]
async fn commands_connect_over_tls() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(1));
    let server = Server::with(|config| files.ask(config, &clients, ClientAuth::Required)).await;
    let url = url(server.address());
    let [ca, cert, key] = {
        let own = clients.client("starling://node/7");
        [("ca.crt", servers.pem()), ("own.crt", own.cert), ("own.key", own.key)]
            .map(|(name, pem)| authority::text(&files.write(name, &pem)))
    };
    let flags = ["--server", &url, "--ca", &ca, "--cert", &cert, "--key", &key];
    for command in [&["healthcheck"][..], &["list"], &["create", "--livestream", "7", "--node", "7"]] {
        let outcome = run(starling(&[command, &flags[..]].concat())).await;
        assert!(outcome.status.success(), "{command:?}: {}", text(&outcome.stderr));
    }
    let mut by_variables = starling(&["get", "--livestream", "7"]);
    by_variables.env("STARLING_SERVER", &url).env("STARLING_CA", &ca);
    by_variables.env("STARLING_CERT", &cert).env("STARLING_KEY", &key);
    let outcome = run(by_variables).await;
    assert!(outcome.status.success(), "{}", text(&outcome.stderr));

    for (flags, code, said) in [
        // Whether it hears why, or the end of the connection first, is chance.
        (&flags[..4], 1, "the call failed: "),
        (&["--server", &server.address().to_string()], 1, "the call failed: "),
        (&flags[..6], 2, "--key"),
        (&[&flags[..2], &flags[4..]].concat(), 1, "certificate"),
        (&["--server", &url, "--ca", "no-such-file"], 1, "no-such-file cannot be read"),
        (&["--server", "127.0.0.1:1", "--ca", &ca], 1, "https://HOST:PORT"),
    ] {
        let outcome = run(starling(&[&["list"], flags].concat())).await;
        let stderr = text(&outcome.stderr);
        assert_eq!(outcome.status.code(), Some(code), "{flags:?}: {stderr}");
        assert!(stderr.contains(said), "{flags:?}: {stderr}");
    }
}

#[tokio::test]
async fn files_of_no_use_are_told_at_start() {
    let servers = Authority::new("servers");
    let (own, other) = (servers.server(1), servers.server(2));
    let files = Files::new(&own);
    for (name, content, said) in [
        ("tls.crt", None, "tls.cert_file: "),
        ("tls.crt", None, "there is no such file"),
        ("tls.crt", Some(own.key.as_str()), "holds no certificate"),
        ("tls.crt", Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "cannot be parsed"),
        ("tls.key", None, "tls.key_file: "),
        ("tls.key", Some(own.cert.as_str()), "holds no private key"),
        ("tls.key", Some(other.key.as_str()), "is not the key of the certificate in"),
        ("clients.crt", None, "tls.client_ca_file: "),
        ("clients.crt", Some("nobody"), "holds no certificate"),
    ] {
        files.replace(&own);
        files.write("clients.crt", &servers.pem());
        match content {
            Some(content) => drop(files.write(name, content)),
            None => std::fs::remove_file(files.path(name)).unwrap(),
        }
        let mut command = starling(&["serve", "--listen", "127.0.0.1:0", "--log-format", "human"]);
        command.env("STARLING__TLS__CERT_FILE", files.path("tls.crt"));
        command.env("STARLING__TLS__KEY_FILE", files.path("tls.key"));
        command.env("STARLING__TLS__CLIENT_CA_FILE", files.path("clients.crt"));
        command.env("STARLING__TLS__CLIENT_AUTH", "optional");
        let refused = run(command).await;
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{name}: {told}");
        assert!(told.starts_with("starling: tls.") && told.contains(said), "{said}: {told}");
        assert!(told.contains(name), "{told}");
    }
}
