//! Connections of TLS that are made for one call each.

use futures_util::future::join_all;
use starling_client::pb::livestream::v1::GetLivestreamRequest;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use crate::attacker::{Attacker, rate};
use crate::case::{Attack, Budgets, Case, Limit};
use crate::credentials::{ONLY_1_2, ONLY_1_3};
use crate::ending::Ending;
use crate::link::{DEFAULT_WINDOW, Link, bearer};
use crate::wire::secured;
use crate::world::{livestream, livestream_method};

/// Connections at the same time.
const AT_ONCE: usize = 32;

pub(super) struct HandshakeChurn;

impl Case for HandshakeChurn {
    fn name(&self) -> &'static str {
        "handshake-churn"
    }

    fn does(&self) -> &'static str {
        "connects with TLS 1.2 or 1.3, makes one call and goes, as fast as it can, 32 at a time"
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.connections(2 * AT_ONCE as u64)
    }

    // It is what clients do, only often.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let livestream_id = livestream(&attacker.link().await?).await?.id;
            let connector = |versions| {
                let config = attacker.credentials().client(versions, None);
                config.map(TlsConnector::from).map_err(|_| Ending::Closed)
            };
            let connectors = [connector(ONLY_1_2)?, connector(ONLY_1_3)?];
            let (method, request) =
                (livestream_method("GetLivestream"), GetLivestreamRequest { livestream_id, ..Default::default() });
            let began = Instant::now();
            let again = async |number: usize| {
                let mut calls = 0_u64;
                while !attacker.is_over() {
                    let called = async {
                        let wire = Either::Right(secured(attacker.tcp().await?, &connectors[number % 2]).await?);
                        let link = Link::over(wire, DEFAULT_WINDOW, DEFAULT_WINDOW, None).await?;
                        Ok::<_, Ending>(link.ending_as(&method, attacker.token().map(bearer), &request).await)
                    };
                    match attacker.in_time(called).await {
                        Some(Ok(Ending::Served)) => calls += 1,
                        Some(Ok(ending) | Err(ending)) => attacker.note(ending),
                        None => {}
                    }
                }
                calls
            };
            let calls: u64 = join_all((0..AT_ONCE).map(again)).await.into_iter().sum();
            attacker.figure(format!("{}/s", rate(calls, began)));
            Ok(())
        })
    }
}
