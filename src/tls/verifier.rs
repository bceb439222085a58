//! Verifies the certificates of clients: who vouches for them, and that their names are understood.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::settings::{ListenerKind, SubjectNames};
use super::subject;

/// Intermediate authorities that a client may show. rustls-webpki follows each way from one to another whose name fits, up to
/// 200,000 steps: with 60 of one name that took 1.5 s of a core in a debug build, before anybody knew who the client was.
/// The ways among four are 64.
const INTERMEDIATES_MAX: usize = 4;

/// A client shows more of them.
#[derive(Debug, thiserror::Error)]
#[error("the client shows {0} intermediate authorities, and {INTERMEDIATES_MAX} are taken")]
struct TooManyIntermediates(usize);

/// Verifies as `chain` does, and refuses names that are meant for this server and that it does not understand: their
/// owner must not be taken for somebody without a name.
#[derive(Debug)]
pub(super) struct SubjectVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    names: Arc<SubjectNames>,
}

impl SubjectVerifier {
    pub(super) const fn new(chain: Arc<dyn ClientCertVerifier>, names: Arc<SubjectNames>) -> Self {
        Self { chain, names }
    }
}

impl ClientCertVerifier for SubjectVerifier {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() > INTERMEDIATES_MAX {
            let refused = TooManyIntermediates(intermediates.len());
            return Err(CertificateError::Other(OtherError(Arc::new(refused))).into());
        }
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        // The same names are understood on every listener.
        match subject::identity(end_entity, &self.names, ListenerKind::Admin) {
            Ok(_) => Ok(verified),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }

    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tokio_rustls::rustls::RootCertStore;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::server::WebPkiClientVerifier;

    use super::*;

    #[test]
    fn more_intermediates_than_needed_are_refused() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let own = KeyPair::generate().unwrap();
        let own = CertificateParams::default().signed_by(&own, &authority).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let verifier = SubjectVerifier::new(chain, Arc::default());
        let verify = |count| {
            let intermediates = vec![authority.der().clone(); count];
            verifier.verify_client_cert(own.der(), &intermediates, UnixTime::now())
        };
        assert!(verify(INTERMEDIATES_MAX).is_ok());
        let refused = verify(INTERMEDIATES_MAX + 1).unwrap_err();
        assert!(matches!(refused, Error::InvalidCertificate(CertificateError::Other(_))), "{refused}");
    }
}
