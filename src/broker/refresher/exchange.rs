//! The exchange itself, between its claim and its commit. What can fail but the exchange is loaded before the
//! claim; what comes of the exchange is sealed and stored before anybody sees it.

use super::{COMMIT_PAUSE, Outcome, Parts, RefreshError};
use crate::{
    domain::{
        attempt::{Ask, Renewal, Seen},
        client::Client,
        connection::{Connection, Principal, Token},
        failure::{Class, Evidence, Failure, Trouble, Unusable, classify},
        lifecycle::{jittered, points},
        names::ConnectionName,
        profile::{GrantKind, Profile},
        token::{PreviousRefreshToken, RefreshToken, Sealable},
    },
    provider::{Answer, ClientIdentity, Exchange, Grant, Issued},
    seal::{OwnerKeys, Place, SealError},
    store::{
        StoreError,
        claim::Claim,
        ledger::{Committed, Loaded},
    },
};
use std::{sync::Arc, time::Duration};

/// Longest pause between tries to commit an answer that is held in memory.
const COMMIT_PAUSE_MAX: Duration = Duration::from_secs(2);

/// All that an exchange needs, loaded before the claim, so that nothing but the exchange itself can fail after it.
pub(super) struct Prepared {
    pub(super) profile: Arc<Profile>,
    pub(super) client: Loaded<Client>,
    pub(super) identity: ClientIdentity,
    pub(super) keys: OwnerKeys,
}

impl Parts {
    /// A client that is gone is set aside in the record. What only this replica lacks is not: others may have it.
    pub(super) async fn prepare(&self, name: &ConnectionName, ask: Ask) -> Result<Prepared, RefreshError> {
        let prepared = self.load(name, ask).await;
        if let Err(RefreshError::NoClient(_)) = &prepared {
            self.set_aside(name).await;
        }
        prepared
    }

    async fn load(&self, name: &ConnectionName, ask: Ask) -> Result<Prepared, RefreshError> {
        let loaded = self.ledger.read::<Connection>(name).await?.ok_or(RefreshError::Gone)?;
        let connection = &loaded.record;
        let profile = self
            .catalogue
            .get(&connection.provider)
            .ok_or_else(|| RefreshError::NoProfile(connection.provider.clone()))?;
        let client = self
            .ledger
            .read::<Client>(&connection.client)
            .await?
            .ok_or_else(|| RefreshError::NoClient(connection.client.clone()))?;
        let client = match client.record.hold.clone().filter(|_| obeys_holds(ask)) {
            None => client,
            Some(hold) => {
                let now = self.ledger.now();
                if client.record.held(now.store).is_some() {
                    return Err(self.postpone(connection, &hold, now).await);
                }
                self.probe(&client.record.name).await?
            }
        };
        let keys = self.keys.keys(&connection.name.owner()).await?;
        let identity = self.identity(&client.record).await?;
        Ok(Prepared { profile, client, identity, keys })
    }

    pub(super) async fn identity(&self, client: &Client) -> Result<ClientIdentity, RefreshError> {
        let keys = self.keys.keys(&client.name.owner).await?;
        let resource = client.name.to_string();
        let mut secrets = Vec::new();
        for (family, sealed) in client.active_secrets() {
            let place = Place { resource: &resource, family, generation: 0 };
            secrets.push(keys.open(&place, sealed).map_err(SealError::from)?);
        }
        Ok(ClientIdentity { client_id: client.client_id.clone(), auth: client.auth, secrets })
    }

    pub(super) async fn exchange(
        &self,
        claim: Claim,
        prepared: Prepared,
        one_time: Option<Grant>,
    ) -> Outcome {
        let connection = claim.connection();
        let grant = match one_time.map_or_else(|| stored_grant(connection, &prepared.keys), Ok) {
            Ok(grant) => grant,
            Err(err) => {
                self.give_up(&claim, &prepared, unopened()).await?;
                return Err(err.into());
            }
        };
        let exchange = Exchange {
            profile: &prepared.profile,
            client: &prepared.identity,
            grant: &grant,
            scopes: scopes_to_ask(connection),
            granted: &connection.scopes,
            api_base_url: connection.api_base_url.as_deref(),
            principal: connection.principal.as_ref(),
            correlation_id: claim.attempt().id,
        };
        let deadline = prepared.profile.exchange_deadline();
        let answered = tokio::time::timeout(deadline, self.provider.exchange(&claim, &exchange)).await;
        let failure = match answered {
            Ok(Ok(answer)) => return self.settle(&claim, &prepared, &grant, answer).await,
            Ok(Err(failure)) => failure,
            Err(_) => classify(&prepared.profile, grant.stage(), &Evidence::Lost(Trouble::Timeout), None),
        };
        Err(RefreshError::Failed(self.give_up(&claim, &prepared, failure).await?))
    }

    /// Seals the answer and makes it the present. Holds it in memory until the store takes it.
    async fn settle(&self, claim: &Claim, prepared: &Prepared, spent: &Grant, answer: Answer) -> Outcome {
        if let Some(failure) = of_another(claim.connection(), &answer, &prepared.profile) {
            return Err(RefreshError::Failed(self.give_up(claim, prepared, failure).await?));
        }
        let correlation_id = answer.correlation_id.clone();
        let unusable = answer.access.as_ref().err().cloned();
        let renewal = renewal(claim, prepared, spent, answer)?;
        let name = &claim.connection().name;
        let watch = self.warm.watch(name);
        let committed = self.commit(claim, &renewal).await;
        match committed {
            Committed::Done(loaded) => {
                self.release_client(&prepared.client).await;
                if let Some(failure) = unusable {
                    tracing::error!(
                        connection = %name, generation = loaded.record.generation,
                        correlation_id, detail = failure.detail,
                        "provider answered with success but without a usable token; its refresh token is kept"
                    );
                    self.kept(watch, *loaded);
                    return Err(RefreshError::Failed(failure));
                }
                told_of_success(&loaded.record, correlation_id.as_deref());
                Ok(self.kept(watch, *loaded))
            }
            // The place for siblings: another answer of the same consent came first, and this one is good too.
            Committed::Superseded(loaded) => {
                tracing::warn!(connection = %name, generation = loaded.record.generation, correlation_id,
                    "another answer was committed first; this one is dropped");
                Ok(self.kept(watch, *loaded))
            }
            // The place for orphans: what cannot be kept is to be revoked at the provider.
            Committed::Orphaned => {
                tracing::warn!(connection = %name, correlation_id,
                    "connection ended while its answer was on the way; revoke it at the provider if it should not live on");
                Err(RefreshError::Orphaned)
            }
        }
    }

    /// Tries until the store takes the answer: giving up would lose a refresh token. The place for escrow.
    async fn commit(&self, claim: &Claim, renewal: &Renewal) -> Committed {
        let mut pause = COMMIT_PAUSE;
        for turn in 0.. {
            match self.ledger.commit(claim, renewal).await {
                Ok(committed) => return committed,
                Err(
                    err @ (StoreError::TooNew { .. } | StoreError::Forged { .. } | StoreError::NoKeys { .. }),
                ) => {
                    // The place for escrow: trying again would only hold the slot.
                    tracing::error!(connection = %claim.connection().name, cause = %err,
                        "a new token can never be stored by this replica and is lost; authorize the connection again if it is refused");
                    return Committed::Orphaned;
                }
                Err(err) => {
                    if turn == 2 {
                        tracing::error!(connection = %claim.connection().name, cause = %err,
                            "a new token could not be stored yet; it is held in memory and tried again, do not stop this process");
                    }
                }
            }
            tokio::time::sleep(jittered(pause, renewal.attempt, renewal.seen.generation, turn)).await;
            pause = (pause * 2).min(COMMIT_PAUSE_MAX);
        }
        unreachable!("the loop has no end but its return")
    }
}

/// A person may try what the schedule must not.
const fn obeys_holds(ask: Ask) -> bool {
    match ask {
        Ask::Scheduler | Ask::Caller => true,
        Ask::Operator | Ask::Revocation | Ask::Bootstrap => false,
    }
}

/// What was granted needs no asking; before that, what the connection was created for.
fn scopes_to_ask(connection: &Connection) -> &[String] {
    match connection.grant {
        GrantKind::ClientCredentials => &connection.requested_scopes,
        GrantKind::RefreshToken
        | GrantKind::AuthorizationCode
        | GrantKind::DeviceCode
        | GrantKind::Password
        | GrantKind::Otp
        | GrantKind::CompanyRequestToken
        | GrantKind::JwtBearer
        | GrantKind::TokenExchange => {
            if connection.scopes.is_empty() {
                &connection.requested_scopes
            } else {
                &[]
            }
        }
    }
}

fn stored_grant(connection: &Connection, keys: &OwnerKeys) -> Result<Grant, SealError> {
    match &connection.refresh_token {
        None => Ok(Grant::ClientCredentials),
        Some(sealed) => {
            let resource = connection.name.to_string();
            Ok(Grant::RefreshToken(keys.open(&place(&resource, connection, connection.generation), sealed)?))
        }
    }
}

fn place<'a>(resource: &'a str, connection: &Connection, generation: u64) -> Place<'a> {
    Place { resource, family: connection.family, generation }
}

/// An answer for somebody else is not kept at all: its refresh token is not ours, and ours stays.
fn of_another(connection: &Connection, answer: &Answer, profile: &Profile) -> Option<Failure> {
    let same = |a: &Principal, b: &Principal| a.kind == b.kind && a.id.eq_ignore_ascii_case(&b.id);
    match (&connection.principal, &answer.principal) {
        (Some(ours), Some(theirs)) if !same(ours, theirs) => {
            let evidence = Evidence::Unusable(Unusable::OtherPrincipal);
            let correlation_id = answer.correlation_id.as_deref();
            Some(classify(profile, crate::domain::failure::Stage::Steady, &evidence, correlation_id))
        }
        _ => None,
    }
}

fn too_large() -> Failure {
    Failure {
        class: Class::Malformed,
        detail: "answer has an access token too large to be kept",
        ..unopened()
    }
}

/// The stored grant did not open: nothing was sent, and a person has to look at the store.
fn unopened() -> Failure {
    Failure::of_ours("stored refresh token does not open")
}

fn renewal(claim: &Claim, prepared: &Prepared, spent: &Grant, answer: Answer) -> Result<Renewal, SealError> {
    let connection = claim.connection();
    let generation = connection.generation + 1;
    let resource = connection.name.to_string();
    let place = place(&resource, connection, generation);
    let keys = &prepared.keys;
    let (present, previous) = successor(spent, answer.refresh_token);
    Ok(Renewal {
        attempt: claim.attempt().id,
        seen: Seen { family: connection.family, generation: connection.generation },
        refresh_token: present.map(|token| keys.seal(&place, &token)).transpose()?,
        previous: previous.map(|token| keys.seal(&place, &token)).transpose()?,
        refresh_expires_at: answer.refresh_expires_at,
        // Whatever is wrong with the access token, the refresh token beside it is kept.
        token: answer.access.and_then(|issued| {
            token(connection, &prepared.profile, generation, &issued, keys, &place).map_err(|_| too_large())
        }),
        scopes: answer.scopes,
        api_base_url: answer.api_base_url,
        principal: answer.principal,
    })
}

/// The refresh token from now on, and the one that it replaced.
fn successor(
    spent: &Grant,
    answered: Option<RefreshToken>,
) -> (Option<RefreshToken>, Option<PreviousRefreshToken>) {
    match (spent, answered) {
        (Grant::RefreshToken(old), Some(new)) if new.0.expose() != old.0.expose() => {
            (Some(new), Some(PreviousRefreshToken::from_secret(old.0.clone())))
        }
        (Grant::RefreshToken(old), _) => (Some(old.clone()), None),
        // RFC 6749 §4.4.3: there is none with client credentials; one that comes all the same is not needed.
        (Grant::ClientCredentials, _) => (None, None),
        (Grant::CompanyRequestToken { .. }, answered) => (answered, None),
    }
}

fn token(
    connection: &Connection,
    profile: &Profile,
    generation: u64,
    issued: &Issued,
    keys: &OwnerKeys,
    place: &Place<'_>,
) -> Result<Token, SealError> {
    let (from, to) = (issued.issued_at, issued.expires_at);
    let points = points(connection.uid, generation, from, to, profile.overlap);
    Ok(Token {
        sealed: keys.seal(place, &issued.access_token)?,
        generation,
        issued_at: from,
        expires_at: to,
        soft_at: points.soft_at,
        hard_at: points.hard_at,
        overlap: profile.overlap,
    })
}

fn told_of_success(connection: &Connection, correlation_id: Option<&str>) {
    let lifetime = connection.token.as_ref().map_or(Duration::ZERO, Token::lifetime);
    tracing::info!(
        connection = %connection.name,
        generation = connection.generation,
        lifetime_s = lifetime.as_secs(),
        next_refresh = connection.token.as_ref().map(|token| token.soft_at.to_string()),
        api_base_url = connection.api_base_url,
        correlation_id,
        "token refreshed"
    );
}
