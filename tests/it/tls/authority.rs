//! Authorities, the certificates that they sign, and servers and clients that have them.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    SerialNumber, date_time_ymd,
};
use starling::config::{ClientAuth, Config};
use starling_client::{Client, ClientCertificate, ConnectOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::harness::{Server, soon};
use crate::net::connections::PREFACE;

/// One version of TLS only.
pub(crate) static ONLY_1_2: &[&SupportedProtocolVersion] = &[&TLS12];
pub(crate) static ONLY_1_3: &[&SupportedProtocolVersion] = &[&TLS13];

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// Who vouches for others.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair { cert: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A certificate of a server here, with this serial number.
    pub(crate) fn server(&self, serial: u8) -> Pair {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// A certificate of a client with this name, changed by `change`.
    pub(crate) fn client_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(name).unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = date_time_ymd(2100, 1, 1);
        change(&mut params);
        self.sign(&params)
    }

    pub(crate) fn client(&self, name: &str) -> Pair {
        self.client_with(name, |_| ())
    }
}

/// A directory with the files of a server.
#[derive(Debug)]
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new(server: &Pair) -> Self {
        let files = Self(TempDir::new().unwrap());
        files.replace(server);
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        // In one step, as a mounted secret changes.
        let (file, new) = (self.path(name), self.path("new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &file).unwrap();
        file
    }

    /// Puts another certificate in place.
    pub(crate) fn replace(&self, server: &Pair) {
        self.write("tls.key", &server.key);
        self.write("tls.crt", &server.cert);
    }

    /// The same as settings.
    pub(crate) fn configure(&self, config: &mut Config) {
        (config.tls.cert_file, config.tls.key_file) = (self.path("tls.crt"), self.path("tls.key"));
        config.tls.reload_interval = std::time::Duration::from_millis(50);
    }

    /// The same, and clients of `authority` are asked for their certificate.
    pub(crate) fn ask(&self, config: &mut Config, authority: &Authority, client_auth: ClientAuth) {
        self.configure(config);
        config.tls.client_ca_file = self.write("clients.crt", &authority.pem());
        config.tls.client_auth = client_auth;
    }

    /// How `starling-client` connects, perhaps with a certificate of its own.
    pub(crate) fn options(&self, authority: &Authority, own: Option<&Pair>) -> ConnectOptions {
        let certificate = own.map(|own| ClientCertificate {
            cert_file: self.write("own.crt", &own.cert),
            key_file: self.write("own.key", &own.key),
        });
        ConnectOptions { ca_file: Some(self.write("ca.crt", &authority.pem())), certificate }
    }
}

/// Where a server is over TLS.
pub(crate) fn url(address: SocketAddr) -> String {
    format!("https://localhost:{}", address.port())
}

/// A server over TLS, and who vouches for it.
pub(crate) async fn serve(configure: impl FnOnce(&mut Config)) -> (Server, Authority, Files) {
    let authority = Authority::new("servers");
    let files = Files::new(&authority.server(1));
    let server = Server::with(|config| {
        files.configure(config);
        configure(config);
    })
    .await;
    (server, authority, files)
}

/// A connection of its own over TLS.
pub(crate) async fn client(server: &Server, authority: &Authority, files: &Files) -> Client {
    soon(Client::connect_with(&url(server.address()), files.options(authority, None))).await.unwrap()
}

/// How a bare client of TLS speaks.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    pub(crate) protocols: &'static [&'static str],
    pub(crate) own: Option<Pair>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { versions: ALL_VERSIONS, protocols: &["h2"], own: None }
    }
}

impl Dialect {
    /// Connects to a server that `authority` vouches for.
    pub(crate) async fn connect(self, server: SocketAddr, authority: &Authority) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.own {
            Some(own) => {
                let chain = CertificateDer::pem_slice_iter(own.cert.as_bytes()).map(Result::unwrap).collect();
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap())
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(server).await?;
        soon(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket)).await
    }

    /// The same, and hears whether HTTP/2 is spoken: with TLS 1.3 a client learns only then that it is refused.
    pub(crate) async fn speak(self, server: SocketAddr, authority: &Authority) -> io::Result<TlsStream<TcpStream>> {
        let mut stream = self.connect(server, authority).await?;
        stream.write_all(PREFACE).await?;
        // The head of the SETTINGS of the server.
        let mut head = [0; 9];
        soon(stream.read_exact(&mut head)).await?;
        assert_eq!(head[3], 4);
        Ok(stream)
    }
}

/// The serial number of the certificate that a server shows to who connects now.
pub(crate) async fn serial(server: SocketAddr, authority: &Authority) -> u8 {
    let stream = Dialect::default().speak(server, authority).await.unwrap();
    let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).unwrap();
    leaf.raw_serial()[0]
}

/// The directory of a path, as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
