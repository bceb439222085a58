//! A publish stream that is given its token again and again.

use bytes::{Bytes, BytesMut};
use starling_client::pb::livestream::v1::PublishUpdatesRequest;
use starling_client::pb::livestream::v1::publish_updates_request::Message as Publish;
use starling_client::pb::swarm::v1::RenewToken;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::credentials::stranger_claim;
use crate::ending::Ending;
use crate::link::{drained, framed, send_all};
use crate::world::{livestream, livestream_method};

/// Tokens that take turns, and how often each is sent together.
const TOKENS: u64 = 64;
const TOGETHER: usize = 4;

pub(super) struct TokenRenewals;

impl Case for TokenRenewals {
    fn name(&self) -> &'static str {
        "token-renewals"
    }

    fn does(&self) -> &'static str {
        "renews a publish stream by 64 good tokens in turn, as fast as it can"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    // Each is answered before the next is taken.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link().await?;
            let stream = livestream(&link).await?;
            let issuer = &attacker.credentials().issuer;
            let message = |message| framed(&PublishUpdatesRequest { message: Some(message) });
            let mut renewals = BytesMut::new();
            for number in 0..TOKENS {
                let token = issuer.token(&format!("stranger {number}"), &stranger_claim());
                let renew = RenewToken { token: token.map_err(|_| Ending::Closed)? };
                renewals.extend_from_slice(&message(Publish::Renew(renew)));
            }
            let renewals = Bytes::from(renewals.repeat(TOGETHER));
            let (mut body, answers) = link.open(&livestream_method("PublishUpdates"), &stream.publish_open()).await?;
            let mut sent = 0;
            let renews = async {
                loop {
                    send_all(&mut body, renewals.clone()).await?;
                    sent += TOKENS * TOGETHER as u64;
                }
            };
            let ended = async {
                tokio::select! {
                    ending = drained(answers) => ending,
                    Err::<(), Ending>(ending) = renews => ending,
                }
            };
            if let Some(ending) = attacker.in_time(ended).await {
                attacker.note(ending);
            }
            attacker.figure(format!("{sent} renewals"));
            Ok(())
        })
    }
}
