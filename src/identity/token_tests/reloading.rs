//! Keys change while the server runs.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Keys, NOW_MS, claims, verifier};
use crate::identity::{KeyFaults, KeyKind, KeyPair, KeySources, TokenRefused, Verifier};

fn accepts(verifier: &Verifier, key: &KeyPair, id: &str) -> Result<(), TokenRefused> {
    verifier.verify(&key.sign(Some(id), &claims()).unwrap(), NOW_MS).map(drop)
}

#[test]
fn keys_come_and_go_with_their_files() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let new = KeyPair::generate(KeyKind::Ed25519).unwrap();
    let old_token = keys.ed.sign(Some("ed"), &claims()).unwrap();
    assert!(verifier.verify(&old_token, NOW_MS).is_ok());
    assert_eq!(accepts(&verifier, &new, "new"), Err(TokenRefused::UnknownKey));

    keys.write("keys/new.jwk", &new.public_jwk("new").unwrap().to_string());
    assert_eq!(accepts(&verifier, &new, "new"), Err(TokenRefused::UnknownKey), "nobody has looked yet");
    verifier.reload().unwrap();
    assert_eq!(accepts(&verifier, &new, "new"), Ok(()));
    assert!(verifier.verify(&old_token, NOW_MS).is_ok(), "both are valid meanwhile");

    std::fs::remove_file(keys.path("keys/ed.jwk")).unwrap();
    verifier.reload().unwrap();
    assert_eq!(verifier.verify(&old_token, NOW_MS), Err(TokenRefused::UnknownKey), "also a remembered one");
    assert_eq!(accepts(&verifier, &new, "new"), Ok(()));

    // The same id, another key: what the old one signed is over.
    let replaced = KeyPair::generate(KeyKind::Ed25519).unwrap();
    keys.write("keys/new.jwk", &replaced.public_jwk("new").unwrap().to_string());
    verifier.reload().unwrap();
    assert_eq!(accepts(&verifier, &new, "new"), Err(TokenRefused::BadSignature));
    assert_eq!(accepts(&verifier, &replaced, "new"), Ok(()));
}

#[test]
fn broken_file_keeps_its_keys() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    for (file, key, id) in
        [("keys/ed.jwk", &keys.ed, "ed"), ("jwks.json", &keys.scoped, "scoped"), ("shared.key", &keys.shared, "shared")]
    {
        let good = std::fs::read_to_string(keys.path(file)).unwrap();
        keys.write(file, "broken");
        let KeyFaults(faults) = verifier.reload().unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.file.clone()).collect::<Vec<_>>(), [keys.path(file)]);
        assert_eq!(verifier.reload(), Ok(()), "told once");
        assert_eq!(accepts(&verifier, key, id), Ok(()), "{file}");
        keys.write(file, "broken in another way");
        assert!(verifier.reload().is_err(), "told of each change");
        keys.write(file, &good);
        verifier.reload().unwrap();
        assert_eq!(accepts(&verifier, key, id), Ok(()), "{file}");
    }
    std::fs::remove_file(keys.path("jwks.json")).unwrap();
    assert!(verifier.reload().is_err() && verifier.reload().is_ok());
    assert_eq!(accepts(&verifier, &keys.scoped, "scoped"), Ok(()), "a file that is named is not meant to be gone");
}

#[test]
fn directory_that_is_gone_keeps_its_keys() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    std::fs::rename(keys.path("keys"), keys.path("away")).unwrap();
    let KeyFaults(faults) = verifier.reload().unwrap_err();
    assert!(faults.iter().any(|fault| fault.file == keys.path("keys")), "{faults:?}");
    assert_eq!(verifier.reload(), Ok(()), "told once");
    assert_eq!(accepts(&verifier, &keys.ed, "ed"), Ok(()));
    std::fs::rename(keys.path("away"), keys.path("keys")).unwrap();
    verifier.reload().unwrap();
    assert_eq!(accepts(&verifier, &keys.ed, "ed"), Ok(()));
}

#[test]
fn directory_of_a_kubernetes_secret_is_followed() {
    // keys/KEY.jwk -> ..data/KEY.jwk, keys/..data -> ..1; an update moves ..data.
    let keys = Keys::new();
    let dir = keys.path("mounted");
    let new = KeyPair::generate(KeyKind::Es256).unwrap();
    for (version, key) in [("..1", &keys.ed), ("..2", &new)] {
        std::fs::create_dir_all(dir.join(version)).unwrap();
        std::fs::write(dir.join(version).join("k.jwk"), key.public_jwk("k").unwrap().to_string()).unwrap();
    }
    symlink("..1", dir.join("..data")).unwrap();
    symlink("..data/k.jwk", dir.join("k.jwk")).unwrap();
    let verifier = verifier(KeySources { keys_dir: Some(dir.clone()), ..KeySources::default() }).unwrap();
    assert_eq!(accepts(&verifier, &keys.ed, "k"), Ok(()));
    symlink("..2", dir.join("..next")).unwrap();
    std::fs::rename(dir.join("..next"), dir.join("..data")).unwrap();
    verifier.reload().unwrap();
    assert_eq!(accepts(&verifier, &new, "k"), Ok(()));
    assert_eq!(accepts(&verifier, &keys.ed, "k"), Err(TokenRefused::WrongAlgorithm));
}

#[tokio::test]
async fn keys_are_reloaded_by_themselves() {
    let keys = Keys::new();
    let verifier = Arc::new(keys.verifier());
    let reloading = Arc::clone(&verifier).keep_current(Duration::from_millis(1));
    std::fs::remove_file(keys.path("keys/ed.jwk")).unwrap();
    let gone = async {
        while accepts(&verifier, &keys.ed, "ed").is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = reloading => unreachable!("it ends never"),
        found = tokio::time::timeout(Duration::from_secs(30), gone) => found.unwrap(),
    }
    assert_eq!(accepts(&verifier, &keys.es, "es"), Ok(()));
}
