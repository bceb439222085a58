//! Files of TLS.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tempfile::TempDir;

use crate::tls::{CertificateRequest, ClientCa, Settings, Tls};

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a directory can be made"));

/// Reads one file as all that a listener's TLS is made of: its certificate, its key, and the authority of its clients.
/// What is meant for another use is passed over in PEM.
///
/// # Panics
///
/// When an error says nothing.
pub fn certificates(bytes: &[u8]) {
    // Each thread has its own: tests run side by side.
    let file = DIRECTORY.path().join(format!("{:?}.pem", std::thread::current().id()));
    std::fs::write(&file, bytes).expect("the directory is ours");
    let client_ca = ClientCa {
        file: file.clone(),
        calls: CertificateRequest::Required,
        admin: CertificateRequest::Optional,
        names: Arc::default(),
    };
    let settings = Settings {
        cert_file: file.clone(),
        key_file: file,
        client_ca: Some(client_ca),
        reload_interval: Duration::from_secs(60),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs nothing of the system");
    if let Err(error) = runtime.block_on(Tls::load(settings)) {
        assert!(error.to_string().starts_with("tls."), "it names the setting: {error}");
    }
}
