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
pub const SECRETS_MAX: usize = 2;

/// All providers behind one seam.
pub struct Providers {
    line: Line,
}

impl Providers {
    pub fn new(egress: Egress, clock: Arc<dyn Clock>) -> Self {
        Self { line: Line { egress, clock } }
    }

    /// The exchange itself; that there is a claim for it was seen to by [`Provider::exchange`].
    async fn spend(&self, exchange: &Exchange<'_>) -> Result<Answer, Failure> {
        known(exchange.profile, exchange.client)?;
        let mut outcome = Err(local(Class::Configuration, NO_SECRET));
        for asking in tries(exchange.client) {
            outcome = match exchange.profile.dialect {
                Dialect::Rfc6749 => oauth2::exchange(&self.line, exchange, &asking).await,
                Dialect::SapConcur => concur::exchange(&self.line, exchange, &asking).await,
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
        let mut outcome = Err(local(Class::Configuration, NO_SECRET));
        for asking in tries(revocation.client) {
            outcome = match revocation.profile.dialect {
                Dialect::Rfc6749 => oauth2::revoke(&self.line, revocation, &asking).await,
                // The principal's own token asks, not the client: there is nothing to try twice.
                Dialect::SapConcur => return concur::revoke(&self.line, revocation).await,
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
pub(super) mod tests {
    use super::*;

    impl Providers {
        /// Claims are made in the store only; what happens after one is tested here.
        pub(in crate::provider) async fn spend_unclaimed(
            &self,
            exchange: &Exchange<'_>,
        ) -> Result<Answer, Failure> {
            self.spend(exchange).await
        }
    }
}
