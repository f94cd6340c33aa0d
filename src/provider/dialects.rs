//! Chooses the dialect that a profile speaks, and tries the client's secrets in turn.

use super::{
    Answer, ClientIdentity, Exchange, Provider, Revocation, client_auth::Asking, concur, egress::Egress,
    line::Line, line::local, oauth2,
};
use crate::{
    clock::Clock,
    domain::{
        failure::{Class, Failure},
        profile::{ClientAuth, Dialect, Profile},
        token::ClientSecret,
    },
    store::claim::Claim,
};
use async_trait::async_trait;
use std::sync::Arc;

/// Secrets that are tried in one exchange: the present one and the one before or after it.
pub(super) const SECRETS_MAX: usize = 2;

/// All providers behind one seam.
pub struct Providers {
    egress: Egress,
    clock: Arc<dyn Clock>,
}

impl Providers {
    pub fn new(egress: Egress, clock: Arc<dyn Clock>) -> Self {
        Self { egress, clock }
    }

    /// The exchange itself; that there is a claim for it was seen to by [`Provider::exchange`].
    async fn spend(&self, exchange: &Exchange<'_>) -> Result<Answer, Failure> {
        known(exchange.profile, exchange.client)?;
        let line = Line::open(&self.egress, &self.clock, exchange.profile);
        let mut outcome = Err(local(Class::Configuration, NO_SECRET));
        for asking in tries(exchange.client) {
            outcome = match exchange.profile.dialect {
                Dialect::Rfc6749 => oauth2::exchange(&line, exchange, &asking).await,
                Dialect::SapConcur => concur::exchange(&line, exchange, &asking).await,
            };
            if !refuses_the_client(&outcome) {
                break;
            }
        }
        outcome
    }
}

const NO_SECRET: &str = "client has no active secret";

#[async_trait]
impl Provider for Providers {
    async fn exchange(&self, _claim: &Claim, exchange: &Exchange<'_>) -> Result<Answer, Failure> {
        self.spend(exchange).await
    }

    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<(), Failure> {
        known(revocation.profile, revocation.client)?;
        let line = Line::open(&self.egress, &self.clock, revocation.profile);
        let mut outcome = Err(local(Class::Configuration, NO_SECRET));
        for asking in tries(revocation.client) {
            outcome = match revocation.profile.dialect {
                Dialect::Rfc6749 => oauth2::revoke(&line, revocation, &asking).await,
                // The principal's own token asks, not the client: there is nothing to try twice.
                Dialect::SapConcur => return concur::revoke(&line, revocation).await,
            };
            if !refuses_the_client(&outcome) {
                break;
            }
        }
        outcome
    }
}

fn known(profile: &Profile, client: &ClientIdentity) -> Result<(), Failure> {
    if profile.client_auth.contains(&client.auth) {
        Ok(())
    } else {
        Err(local(Class::Configuration, "provider does not take this client authentication method"))
    }
}

fn tries(client: &ClientIdentity) -> impl Iterator<Item = Asking<'_>> {
    let asking = |secret| Asking { client_id: &client.client_id, auth: client.auth, secret };
    let public = (client.auth == ClientAuth::None).then(|| asking(None));
    let secrets: &[ClientSecret] = if public.is_some() { &[] } else { &client.secrets };
    public.into_iter().chain(secrets.iter().take(SECRETS_MAX).map(move |secret| asking(Some(secret))))
}

/// Only a refusal of the client leaves the grant unspent and another secret worth trying.
fn refuses_the_client<T>(outcome: &Result<T, Failure>) -> bool {
    outcome.as_ref().is_err_and(|failure| failure.class == Class::Client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::rig;

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
        let egress = Egress::new(crate::provider::egress::AddressPolicy::LoopbackOnly).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(rig::StoppedClock);
        let profile = rig::profile("generic-oauth2", "token_endpoint = \"http://127.0.0.1:9/t\"");
        let line = Line::open(&egress, &clock, &profile);
        tokio::time::advance(profile.exchange_deadline()).await;
        let secret = ClientSecret(crate::domain::token::Secret::new("s"));
        let asking = Asking { client_id: "c", auth: ClientAuth::ClientSecretPost, secret: Some(&secret) };
        let (client, grant) = (rig::client(ClientAuth::ClientSecretPost, &["s"]), rig::refresh_token("r1"));
        let late = oauth2::exchange(&line, &rig::ask(&profile, &client, &grant), &asking).await.unwrap_err();
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
