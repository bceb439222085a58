//! Who a client is by the alternative names of its subject (SAN). Names are compared as a whole, byte by byte; the
//! distinguished name of the subject means nothing.

use std::sync::Arc;

use starling_core::id::NodeId;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::settings::{ListenerKind, SubjectNames};
use crate::identity::{Identity, Nodes, Permissions};

/// What the URIs that name somebody to this server begin with.
const SCHEME: &str = "starling:";

/// What the URI of a node begins with; its id in decimal follows.
const NODE: &str = "starling://node/";

/// Why the names of a certificate are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// It is no certificate.
    #[error("the certificate cannot be parsed")]
    Unparsable,
    /// A URI of the scheme names nobody.
    #[error(
        "the name {0:?} of the certificate is neither starling://node/ID nor in tls.admin_sans or admin.reader_sans"
    )]
    UnknownName(String),
    /// Several nodes are named.
    #[error("the certificate names several nodes")]
    SeveralNodes,
}

/// Who the owner of a certificate is: whom the names of administrators name may administer everything and act for every
/// node, and so, for the admin listener alone, may its readers; a node may do everything that the rules of a swarm let
/// it. `None` = nobody that this listener knows.
///
/// # Errors
///
/// When a name is meant for this server, and is not understood.
pub(super) fn identity(
    certificate: &[u8],
    known: &SubjectNames,
    listener: ListenerKind,
) -> Result<Option<Identity>, SubjectError> {
    let (_, certificate) = parse_x509_certificate(certificate).map_err(|_| SubjectError::Unparsable)?;
    let ends_at = certificate.validity().not_after.timestamp();
    let names = certificate.subject_alternative_name().map_err(|_| SubjectError::Unparsable)?;
    let (mut admin, mut node) = (None, None);
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        let (name, is_uri) = match *name {
            GeneralName::URI(uri) => (uri, true),
            GeneralName::DNSName(host) => (host, false),
            GeneralName::Invalid(..) => return Err(SubjectError::Unparsable),
            _ => continue,
        };
        if is_one_of(name, &known.admins, is_uri) {
            admin = Some(name);
        } else if is_one_of(name, &known.readers, is_uri) {
            if listener == ListenerKind::Admin {
                admin = Some(name);
            }
        } else if is_uri && is_ours(name) {
            let named = node_of(name).ok_or_else(|| SubjectError::UnknownName(name.to_owned()))?;
            if node.replace(named).is_some_and(|other| other != named) {
                return Err(SubjectError::SeveralNodes);
            }
        }
    }
    let nodes = if admin.is_some() { Some(Nodes::Any) } else { node.map(Nodes::One) };
    Ok(nodes.map(|nodes| Identity {
        nodes,
        back_end: admin.map(Arc::from),
        permissions: Permissions::All,
        issued_at: None,
        // One that ended before 1970 has ended.
        expires_at: Some(u64::try_from(ends_at).unwrap_or(0).saturating_mul(1_000)),
    }))
}

/// Whether a name is one of those that are known. A URI has a colon, which a DNS name cannot have: neither stands for
/// the other, whatever an authority lets into a DNS name.
fn is_one_of(name: &str, known: &[String], is_uri: bool) -> bool {
    known.iter().any(|known| known == name && known.contains(':') == is_uri)
}

fn is_ours(uri: &str) -> bool {
    // Schemes have no case.
    uri.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

fn node_of(uri: &str) -> Option<NodeId> {
    let text = uri.strip_prefix(NODE)?;
    let id: u64 = text.parse().ok()?;
    // One way only to write an id: not 07, and not +7.
    (id.to_string() == text).then(|| NodeId::new(id)).flatten()
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;
    use crate::tls::Protocols;

    fn certificate(names: &[SanType]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.not_after = date_time_ymd(2100, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn uri(uri: &str) -> SanType {
        SanType::URI(Ia5String::try_from(uri).unwrap())
    }

    fn dns(host: &str) -> SanType {
        SanType::DnsName(Ia5String::try_from(host).unwrap())
    }

    const CALLS: ListenerKind = ListenerKind::Calls(Protocols::Http2);

    fn known() -> SubjectNames {
        SubjectNames {
            admins: ["starling://admin", "spiffe://here/ops", "ops.example"].map(str::to_owned).into(),
            readers: ["starling://reader", "prometheus.example"].map(str::to_owned).into(),
        }
    }

    fn who(names: &[SanType]) -> Result<Option<Identity>, SubjectError> {
        identity(&certificate(names), &known(), CALLS)
    }

    fn nodes(names: &[SanType]) -> Option<Nodes> {
        who(names).unwrap().map(|identity| identity.nodes)
    }

    fn node(id: u64) -> Option<Nodes> {
        NodeId::new(id).map(Nodes::One)
    }

    #[test]
    fn node_certificate_is_that_node_until_it_ends() {
        let names = [dns("node-7.example"), uri("https://elsewhere/"), uri("starling://node/7")];
        let identity = who(&names).unwrap().unwrap();
        assert_eq!(Some(identity.nodes.clone()), node(7));
        assert_eq!((identity.permissions, identity.issued_at), (Permissions::All, None));
        assert_eq!(identity.expires_at, Some(4_102_444_800_000));
        assert_eq!(nodes(&[uri("starling://node/18446744073709551615")]), node(u64::MAX));
        assert_eq!(nodes(&[uri("starling://node/7"), uri("starling://node/7")]), node(7));
    }

    #[test]
    fn configured_name_administers_everything() {
        for name in [uri("starling://admin"), uri("spiffe://here/ops"), dns("ops.example")] {
            assert_eq!(nodes(&[uri("starling://node/7"), name]), Some(Nodes::Any));
        }
    }

    #[test]
    fn readers_are_somebody_on_the_admin_listener_only() {
        for reader in [uri("starling://reader"), dns("prometheus.example")] {
            let certificate = certificate(&[uri("starling://node/7"), reader.clone()]);
            let who = |listener| identity(&certificate, &known(), listener).unwrap().map(|identity| identity.nodes);
            assert_eq!((who(CALLS), who(ListenerKind::Admin)), (node(7), Some(Nodes::Any)));
            assert_eq!(nodes(&[reader]), None);
        }
    }

    #[test]
    fn names_are_compared_as_a_whole() {
        for name in [
            uri("spiffe://here/ops2"),
            uri("spiffe://here"),
            uri("SPIFFE://here/ops"),
            dns("ops.example.org"),
            dns("dev.ops.example"),
            // Each in the place of the other.
            uri("ops.example"),
            dns("starling://admin"),
            dns("starling://node/7"),
        ] {
            assert_eq!(nodes(&[name]), None);
        }
        assert_eq!(nodes(&[]), None);
    }

    #[test]
    fn name_that_is_not_understood_is_refused() {
        for name in [
            "starling://node/0",
            "starling://node/",
            "starling://node/07",
            "starling://node/+7",
            "starling://node/7/",
            "starling://node/7?",
            "starling://node/18446744073709551616",
            "starling://nodes/7",
            "starling://node/seven",
            "starling://administrator",
            "starling://admin/",
            "STARLING://node/7",
            "starling:7",
        ] {
            assert_eq!(who(&[uri(name)]), Err(SubjectError::UnknownName(name.to_owned())));
            // Beside one that is.
            assert!(who(&[uri("starling://node/7"), uri(name)]).is_err(), "{name}");
        }
        assert_eq!(who(&[uri("starling://node/7"), uri("starling://node/8")]), Err(SubjectError::SeveralNodes));
        assert_eq!(identity(b"no certificate", &known(), CALLS), Err(SubjectError::Unparsable));
    }

    #[test]
    fn subject_of_the_certificate_means_nothing() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "starling://admin");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(identity(certificate.der(), &known(), CALLS), Ok(None));
    }
}
