//! Certificates of clients for which no authority can be found, by as many ways as there are.

use futures_util::future::join_all;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::attacker::{Attacker, rate};
use crate::case::{Attack, Budgets, Case};
use crate::credentials::{Chain, ONLY_1_3, authority_params};
use crate::ending::Ending;
use crate::error::AbuseError;
use crate::frames::PREFACE;
use crate::wire::{secured, tls_ending};

/// Connections at the same time.
const AT_ONCE: usize = 16;
/// Authorities in a chain: as many as a handshake has room for, and more.
const FITS: usize = 60;
const TOO_MANY: usize = 200;

pub(super) struct CertificateChains;

impl Case for CertificateChains {
    fn name(&self) -> &'static str {
        "certificate-chains"
    }

    fn does(&self) -> &'static str {
        "shows a certificate with 60 or 200 authorities of one name, each of which may have signed each, 16 connections at a time"
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.connections(2 * AT_ONCE as u64)
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let connector = |authorities| {
                let made = chain(authorities).and_then(|own| attacker.credentials().client(ONLY_1_3, Some(own)));
                made.map(TlsConnector::from).map_err(|_| Ending::Closed)
            };
            let connectors = [connector(FITS)?, connector(TOO_MANY)?];
            attacker.begin();
            let began = Instant::now();
            let again = async |number: usize| {
                let mut shown = 0_u64;
                while !attacker.is_over() {
                    let ending = async {
                        let mut stream = secured(attacker.tcp().await?, &connectors[number % 2]).await?;
                        // A client of TLS 1.3 is done before its certificate is looked at.
                        stream.write_all(PREFACE).await.ok();
                        match stream.read(&mut [0; 64]).await {
                            Ok(0) => Err(Ending::Closed),
                            Ok(_) => Ok(()),
                            Err(error) => Err(tls_ending(&error)),
                        }
                    };
                    match attacker.in_time(ending).await {
                        Some(Ok(())) => attacker.note(Ending::Served),
                        Some(Err(ending)) => {
                            shown += 1;
                            attacker.note(ending);
                        }
                        None => {}
                    }
                }
                shown
            };
            let shown: u64 = join_all((0..AT_ONCE).map(again)).await.into_iter().sum();
            attacker.figure(format!("{}/s", rate(shown, began)));
            Ok(())
        })
    }
}

/// A certificate, and so many authorities, all of one name, the last of which has signed it.
fn chain(authorities: usize) -> Result<Chain, AbuseError> {
    let named = || {
        let mut params = authority_params();
        params.distinguished_name.push(DnType::CommonName, "one of many");
        Ok::<_, AbuseError>(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
    };
    let issuers = (0..authorities).map(|_| named()).collect::<Result<Vec<_>, _>>()?;
    let key = KeyPair::generate()?;
    let last = issuers.last().ok_or_else(|| AbuseError("a chain has an authority".into()))?;
    let mut chain = vec![CertificateParams::default().signed_by(&key, last)?.der().clone()];
    chain.extend(issuers.iter().map(|issuer| issuer.der().clone()));
    Ok((chain, PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}
