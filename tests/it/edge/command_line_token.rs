//! `starling token`, and servers with keys, through the real program.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Running, Serving, run, starling, text};

/// A directory in which keys and tokens are made.
struct Workshop(TempDir);

impl Workshop {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    async fn token(&self, arguments: &[&str]) -> Output {
        let mut command = starling(&[&["token"][..], arguments].concat());
        command.current_dir(self.0.path());
        run(command).await
    }

    /// What a command that succeeds prints.
    async fn says(&self, arguments: &[&str]) -> String {
        let output = self.token(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Why a command fails.
    async fn fails(&self, arguments: &[&str]) -> String {
        let output = self.token(arguments).await;
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        text(&output.stderr)
    }

    async fn mint(&self, key: &str, more: &[&str]) -> String {
        let claims = ["mint", "--key", key, "--sub", "5", "--iss", "me", "--aud", "starling"];
        self.says(&[&claims, more].concat()).await.trim().to_owned()
    }

    /// What a server with the keys of this directory thinks of a token: the exit status, and what is printed.
    async fn verdict(&self, token: &str) -> (Option<i32>, Value) {
        let mut command = starling(&["token", "inspect", "--json", "-"]);
        command.stdin(std::process::Stdio::piped()).current_dir(self.0.path()).envs(self.settings());
        let mut process = Running::spawn(command);
        process.write(token.as_bytes());
        process.close();
        let output = process.output().await;
        assert!(!text(&output.stderr).contains(token), "no message tells a token");
        (output.status.code(), serde_json::from_slice(&output.stdout).expect("an object"))
    }

    fn settings(&self) -> Vec<(String, String)> {
        let set = |key: &str, value: &str| (format!("STARLING__IDENTITY__{key}"), value.to_owned());
        vec![set("MODE", "jwt"), set("ISSUER", "me"), set("AUDIENCE", "starling"), set("KEYS_DIR", &self.path("keys"))]
    }
}

#[tokio::test]
async fn minted_token_is_accepted_for_its_key() {
    let workshop = Workshop::new();
    for alg in ["ed25519", "es256"] {
        let made = workshop.says(&["keygen", "--alg", alg, "--kid", alg]).await;
        assert!(
            made.contains(&format!("private key: {alg}.key")) && made.contains(&format!("keys/{alg}.jwk")),
            "{made}"
        );
        let mode = std::fs::metadata(workshop.path(&format!("{alg}.key"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "others may not read it");
        let kept = workshop.fails(&["keygen", "--alg", alg, "--kid", alg]).await;
        assert!(kept.contains("is there already"), "{kept}");

        let token = workshop.mint(&format!("{alg}.key"), &["--grant", "livestream:7:join,publish=CHAT"]).await;
        let (code, found) = workshop.verdict(&token).await;
        assert_eq!((code, &found["accepted"], &found["kid"]), (Some(0), &json!(true), &json!(alg)));
        let grants = json!([{ "livestreams": ["7"], "may": ["join"], "publish": ["CHAT"] }]);
        assert_eq!(found["claims"]["starling"]["grants"], grants);
    }
    let token = workshop.mint("ed25519.key", &["--kid", "es256"]).await;
    assert_eq!(workshop.verdict(&token).await.1["cause"], json!("its key is for another algorithm"));
    let token = workshop.mint("ed25519.key", &["--ttl", "25h"]).await;
    let (code, found) = workshop.verdict(&token).await;
    assert_eq!((code, &found["cause"]), (Some(1), &json!("it lives longer than is allowed")));
    let (code, found) = workshop.verdict("no.token.at-all").await;
    assert_eq!((code, &found["cause"]), (Some(1), &json!("it is not a JSON Web Token")));
}

#[tokio::test]
async fn inspection_says_who_and_what() {
    let workshop = Workshop::new();
    workshop.says(&["keygen"]).await;
    let mint = ["mint", "--key", "dev.key", "--sub", "gateway", "--iss", "me", "--aud", "starling", "--act-for", "*"];
    let token = workshop.says(&[&mint[..], &["--grant", "any:7+10-20:join"]].concat()).await;
    let said = workshop.says(&["inspect", token.trim()]).await;
    for line in [
        "who:      back-end \"gateway\", which acts for every node\n",
        "may:      join, in livestreams 7 10-20\n",
        "may:      join, in groups 7 10-20\n",
        "accepted: not known;",
    ] {
        assert!(said.contains(line), "{line} is not in:\n{said}");
    }
}

#[tokio::test]
async fn token_that_would_be_refused_is_not_minted() {
    let workshop = Workshop::new();
    workshop.says(&["keygen", "--alg", "hs256", "--kid", "shared"]).await;
    let mint = ["mint", "--key", "shared.key", "--iss", "me", "--aud", "starling"];
    for (more, said) in [
        (&["--sub", "alice"][..], "unless --act-for makes a back-end"),
        (&["--sub", "0"], "its claim \"sub\" is malformed"),
        (&["--sub", "5", "--ttl", "0s"], "its claim \"exp\" is malformed"),
        (&["--sub", "5", "--act-for", "0"], "an id or a range"),
        (&["--sub", "5", "--grant", "livestream:7:watch"], "a right is"),
    ] {
        let told = workshop.fails(&[&mint[..], more].concat()).await;
        assert!(told.contains(said), "{told}");
    }
}

#[tokio::test]
async fn server_without_usable_keys_does_not_start() {
    let workshop = Workshop::new();
    std::fs::create_dir(workshop.path("keys")).unwrap();
    std::fs::write(workshop.path("keys/bad.jwk"), "{}").unwrap();
    let mut command = starling(&["--listen", "127.0.0.1:0"]);
    command.envs(workshop.settings());
    let refused = run(command).await;
    let told = text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && told.contains("keys/bad.jwk: is no JSON Web Key"), "{told}");

    let refused = run(starling(&["--listen", "0.0.0.0:0"])).await;
    let told = text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && told.contains("--insecure"), "{told}");
}

#[tokio::test]
async fn open_server_is_warned_of() {
    let serving = Serving::spawn(starling(&["--listen", "0.0.0.0:0", "--insecure"])).await;
    serving.process.signal("TERM");
    let log = text(&serving.process.output().await.stderr);
    assert!(log.contains("everybody who reaches this address may do everything"), "{log}");
}
