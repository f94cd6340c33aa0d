//! Chooses the dialect that a profile speaks, and tries the client's secrets in turn.

use super::{
    Answer, Check, ClientIdentity, Endpoint, Exchange, Managed, ManagingSecrets, Provider, Question,
    Revocation, Revoked,
    authorization::{Preparation, Prepared},
    client_auth::{Next, tries},
    concur,
    discovery::Directory,
    dpop::Nonces,
    introspection,
    line::Line,
    line::local,
    preparing, revoking, rfc6749,
};
use crate::{
    clock::Clock,
    domain::{
        asking::{ASKING_TIMEOUT, Known},
        failure::{Class, Failure},
        finding::Finding,
        profile::{Dialect, Profile},
    },
    egress::Egress,
    store::claim::Claim,
};
use async_trait::async_trait;
use std::sync::Arc;

/// All providers behind one seam.
pub struct Providers {
    pub(super) egress: Egress,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) directory: Directory,
    nonces: Nonces,
}

impl Providers {
    pub fn new(egress: Egress, clock: Arc<dyn Clock>) -> Self {
        Self { egress, clock, directory: Directory::default(), nonces: Nonces::default() }
    }

    /// The exchange itself; that there is a claim for it was seen to by [`Provider::exchange`].
    pub(super) async fn spend(&self, exchange: &Exchange<'_>) -> Result<Answer, Failure> {
        known(exchange.profile, exchange.client)?;
        let line = Line::open(&self.egress, &self.clock, exchange.profile);
        let mut outcome = Err(local(Class::Configuration, NO_SECRET));
        for asking in tries(exchange.profile, exchange.client, self.clock.now()) {
            outcome = match exchange.profile.dialect {
                Dialect::Rfc6749 => rfc6749::exchange(&line, &self.nonces, exchange, &asking).await,
                Dialect::SapConcur => concur::exchange(&line, exchange, &asking).await,
            };
            if exchange.client.heard(&asking, &outcome) == Next::Settled {
                break;
            }
        }
        outcome
    }
}

impl Providers {
    /// The question itself; that there is a claim was seen to by [`Provider::introspect`].
    pub(super) async fn ask(&self, question: &Question<'_>) -> Known {
        if known(question.profile, question.client).is_err() {
            return Known::Nothing;
        }
        let line = Line::within(&self.egress, &self.clock, ASKING_TIMEOUT);
        for asking in tries(question.profile, question.client, self.clock.now()) {
            match introspection::ask(&line, question, &asking).await {
                introspection::Told::Known(known) => return known,
                introspection::Told::ClientRefused => {}
            }
        }
        Known::Nothing
    }
}

const NO_SECRET: &str = "client has no active secret";

#[async_trait]
impl Provider for Providers {
    async fn exchange(&self, _claim: &Claim, exchange: &Exchange<'_>) -> Result<Answer, Failure> {
        self.spend(exchange).await
    }

    async fn resolved(&self, profile: &Arc<Profile>, needed: Endpoint) -> Result<Arc<Profile>, Failure> {
        self.directory.resolved(&self.egress, profile, needed).await
    }

    async fn check(&self, check: &Check<'_>) -> Vec<Finding> {
        self.examined(check).await
    }

    async fn introspect(&self, _claim: &Claim, question: &Question<'_>) -> Known {
        self.ask(question).await
    }

    async fn manage_secrets(&self, managing: &ManagingSecrets<'_>) -> Result<Managed, Failure> {
        known(managing.profile, managing.client)?;
        // Two requests: one for a token, one with it.
        let mut line = Line::open(&self.egress, &self.clock, managing.profile);
        line.deadline += managing.profile.exchange_timeout;
        manage(&line, managing, self.clock.now()).await
    }

    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<Revoked, Failure> {
        known(revocation.profile, revocation.client)?;
        let line = Line::open(&self.egress, &self.clock, revocation.profile);
        let mut outcome = Err(local(Class::Configuration, NO_SECRET));
        for asking in tries(revocation.profile, revocation.client, self.clock.now()) {
            outcome = match revocation.profile.dialect {
                Dialect::Rfc6749 => revoking::revoke(&line, revocation, &asking).await,
                // The principal's own token asks, not the client: there is nothing to try twice.
                Dialect::SapConcur => return concur::revoke(&line, revocation).await,
            };
            if revocation.client.heard(&asking, &outcome) == Next::Settled {
                break;
            }
        }
        outcome
    }

    async fn prepare(&self, preparation: &Preparation<'_>) -> Result<Prepared, Failure> {
        known(preparation.profile, preparation.client)?;
        let line = Line::open(&self.egress, &self.clock, preparation.profile);
        let mut outcome = Err(local(Class::Configuration, NO_SECRET));
        for asking in tries(preparation.profile, preparation.client, self.clock.now()) {
            outcome = preparing::prepare(&line, preparation, &asking).await;
            if preparation.client.heard(&asking, &outcome) == Next::Settled {
                break;
            }
        }
        outcome
    }
}

async fn manage(
    line: &Line,
    managing: &ManagingSecrets<'_>,
    now: crate::clock::Timestamp,
) -> Result<Managed, Failure> {
    let mut outcome = Err(local(Class::Configuration, NO_SECRET));
    for asking in tries(managing.profile, managing.client, now) {
        outcome = match managing.profile.dialect {
            Dialect::SapConcur => concur::manage(line, managing, &asking).await,
            Dialect::Rfc6749 => {
                return Err(local(
                    Class::Configuration,
                    "provider does not let clients change their secrets",
                ));
            }
        };
        if !outcome.as_ref().is_err_and(|failure| failure.class == Class::Client) {
            break;
        }
    }
    outcome
}

fn known(profile: &Profile, client: &ClientIdentity) -> Result<(), Failure> {
    if profile.client_auth.contains(&client.auth) {
        Ok(())
    } else {
        Err(local(Class::Configuration, "provider does not take this client authentication method"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::profile::ClientAuth, provider::rig};

    impl Providers {
        /// Claims are made in the store only; what happens after one is tested here.
        pub(in crate::provider) async fn spend_unclaimed(
            &self,
            exchange: &Exchange<'_>,
        ) -> Result<Answer, Failure> {
            self.spend(exchange).await
        }
    }

    /// Who holds a lease lets it last as long as `exchange_deadline`.
    #[tokio::test(start_paused = true)]
    async fn all_requests_of_an_exchange_share_one_deadline() {
        let egress = Egress::new(crate::egress::AddressPolicy::LoopbackOnly).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(rig::StoppedClock);
        let profile = rig::profile("generic-oauth2", "token_endpoint = \"http://127.0.0.1:9/t\"");
        let line = Line::open(&egress, &clock, &profile);
        tokio::time::advance(profile.exchange_deadline()).await;
        let (client, grant) = (rig::client(ClientAuth::ClientSecretPost, &["s"]), rig::refresh_token("r1"));
        let asking = tries(&profile, &client, rig::NOW).next().unwrap();
        let late =
            rfc6749::exchange(&line, &Nonces::default(), &rig::ask(&profile, &client, &grant), &asking)
                .await
                .unwrap_err();
        assert_eq!((late.class, late.detail), (Class::NotSent, "no answer came in time"));
    }

    #[tokio::test]
    async fn a_public_client_asks_without_a_secret_and_once() {
        let server = rig::FakeServer::start().await;
        let profile = rig::plain(&server, "client_auth = [\"none\"]");
        server.then(401, r#"{"error":"invalid_client"}"#);
        let (client, grant) = (rig::client(ClientAuth::None, &["s1", "s2"]), rig::refresh_token("r1"));
        let failure = rig::providers().spend(&rig::ask(&profile, &client, &grant)).await.unwrap_err();
        assert_eq!((failure.class, server.seen().len()), (Class::Client, 1));
        assert_eq!(server.seen()[0].body, "grant_type=refresh_token&refresh_token=r1&client_id=client-1");
    }
}
