//! The exchange itself, between its claim and its commit. What can fail but the exchange is loaded before the
//! claim; what comes of the exchange is sealed and stored before anybody sees it.

use super::{
    COMMIT_PAUSE, Outcome, Parts, RefreshError,
    consenting::{OneTime, asked_anew, device_grant, tell_principal},
    renewing::{is_sealed_by, renewal, resealed},
    told::{told_of_an_end, told_of_success},
};
use crate::{
    clock::Timestamp,
    domain::{
        asking::{ASKING_TIMEOUT, Known, Onward, after_asking, is_asked},
        attempt::{Ask, Consent, Renewal},
        client::Client,
        connection::Connection,
        failure::{Evidence, Failure, Trouble, Unusable, classify},
        lifecycle::jittered,
        names::ConnectionName,
        profile::Profile,
        token::RefreshToken,
    },
    provider::{
        Answer, ClientIdentity, Credential, Endpoint, Exchange, Grant, Question, Verdicts, dpop::DpopKey,
    },
    seal::{OwnerKeys, Place, SealBroken, SealError},
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
    /// The end of the hold that this flight gave the client, to try it while the others wait.
    pub(super) probed: Option<Timestamp>,
}

impl Parts {
    /// A client that is gone, and a server whose endpoints are not known, are set aside in the record. What only this
    /// replica lacks is not: others may have it.
    pub(super) async fn made_ready(
        &self,
        name: &ConnectionName,
        ask: Ask,
        probed: Option<Timestamp>,
    ) -> Result<Prepared, RefreshError> {
        let loaded = self.ledger.read::<Connection>(name).await?.ok_or(RefreshError::Gone)?;
        let (connection, seen) = (&loaded.record, loaded.record.seen());
        let prepared = self.load(connection, ask, probed).await;
        if let Err(RefreshError::NoClient(_)) = &prepared {
            self.set_aside(name, seen, clientless(), None).await;
        }
        let prepared = prepared?;
        // Before the claim: what fails here has spent nothing and leaves nothing open, even if this process dies.
        match self.provider.resolved(&prepared.profile, Endpoint::Token).await {
            Ok(profile) => Ok(Prepared { profile, ..prepared }),
            Err(failure) => Err(RefreshError::Failed(match ask {
                // The present grant goes on as it was.
                Ask::Authorization(_) => failure,
                Ask::Scheduler | Ask::Caller | Ask::Operator | Ask::Revocation | Ask::Bootstrap => {
                    self.set_aside(name, seen, failure, Some(&prepared.profile)).await
                }
            })),
        }
    }

    async fn load(
        &self,
        connection: &Connection,
        ask: Ask,
        mut probed: Option<Timestamp>,
    ) -> Result<Prepared, RefreshError> {
        let profile = self
            .catalogue
            .get(&connection.provider)
            .ok_or_else(|| RefreshError::NoProfile(connection.provider.clone()))?;
        let client = own(self.ledger.read::<Client>(&connection.client).await?, connection)?;
        let now = self.ledger.now_of(&client);
        let client = match client.record.hold.clone().filter(|_| obeys_holds(ask)) {
            None => client,
            // The others wait for this one.
            Some(hold) if now.store < hold.until && probed == Some(hold.until) => client,
            Some(hold) if now.store < hold.until => return Err(self.postpone(connection, &hold, now).await),
            Some(_) => {
                let client = own(Some(self.probe(&client.record.name).await?), connection)?;
                probed = client.record.hold.as_ref().map(|hold| hold.until);
                client
            }
        };
        let keys = self.keys.sealing(&connection.name.owner()).await?;
        let identity = self.identity(&client.record).await?;
        Ok(Prepared { profile, client, identity, keys, probed })
    }

    pub(super) async fn identity(&self, client: &Client) -> Result<ClientIdentity, RefreshError> {
        let keys = self.keys.keys(&client.name.owner).await?;
        let resource = client.name.to_string();
        let mut credentials = Vec::new();
        for (secret, sealed) in client.active_secrets() {
            let place = Place { resource: &resource, family: secret.id, generation: 0 };
            let opened = keys.open(&place, sealed).map_err(SealError::from)?;
            let credential = Credential::opened(secret.id, &secret.public, opened).map_err(|err| {
                StoreError::Broken { key: resource.clone(), cause: format!("private key {err}") }
            })?;
            credentials.push(credential);
        }
        let (client_id, auth) = (client.client_id.clone(), client.auth);
        Ok(ClientIdentity { client_id, auth, credentials, verdicts: Verdicts::default() })
    }

    pub(super) async fn exchange(
        &self,
        claim: Claim,
        prepared: Prepared,
        ask: Ask,
        one_time: Option<OneTime>,
    ) -> Outcome {
        let connection = claim.connection();
        // The record may have been sealed by a newer version since the keys were loaded; whoever found it authentic a
        // moment ago has that in memory.
        let keys = self.keys.keys(&connection.name.owner()).await.unwrap_or(prepared.keys);
        let prepared = Prepared { keys, ..prepared };
        let consent = claim.attempt().authorization.map(|authorization| {
            let family = self.ledger.now().here.uuid();
            Consent { authorization, family }
        });
        let anew = one_time.is_some() || connection.mints();
        let (grant, nonce) = match (one_time, consent) {
            (Some(brought), _) => (Ok(brought.grant), brought.nonce),
            (None, Some(_)) => (device_grant(connection, &prepared.keys), None),
            (None, None) => (stored_grant(connection, &prepared.keys), None),
        };
        let grant = match grant {
            Ok(grant) => grant,
            Err(err) => {
                self.give_up(&claim, &prepared, unopened()).await?;
                return Err(err.into());
            }
        };
        if let (Grant::RefreshToken(token), true) = (&grant, is_asked(connection, ask, &prepared.profile))
            && let Onward::Fail(failure) = self.asked(&claim, &prepared, token).await
        {
            return Err(RefreshError::Failed(self.give_up(&claim, &prepared, failure).await?));
        }
        let dpop = match bound_key(connection, &prepared.keys) {
            Ok(key) => key,
            Err(err) => {
                self.give_up(&claim, &prepared, Failure::of_ours("stored DPoP key does not open")).await?;
                return Err(err.into());
            }
        };
        let exchange = Exchange {
            profile: &prepared.profile,
            client: &prepared.identity,
            grant: &grant,
            scopes: scopes_to_ask(connection, &grant),
            resources: &connection.requested_resources,
            granted: if anew { &[] } else { &connection.scopes },
            api_base_url: connection.api_base_url.as_deref(),
            dpop: dpop.as_ref(),
            principal: connection.principal.as_ref(),
            correlation_id: claim.attempt().id,
        };
        let exchange = match consent {
            Some(_) => asked_anew(exchange, connection),
            None => exchange,
        };
        let deadline = prepared.profile.exchange_deadline();
        let answered = tokio::time::timeout(deadline, self.provider.exchange(&claim, &exchange)).await;
        let failure = match answered {
            Ok(Ok(answer)) => {
                return match consent {
                    None => self.settle(&claim, &prepared, &grant, answer).await,
                    Some(consent) => {
                        let nonce = nonce.as_deref();
                        self.settle_consent(&claim, &prepared, &grant, answer, consent, nonce).await
                    }
                };
            }
            Ok(Err(failure)) => failure,
            Err(_) => classify(&prepared.profile, grant.stage(), &Evidence::Lost(Trouble::Timeout), None),
        };
        Err(RefreshError::Failed(self.give_up(&claim, &prepared, failure).await?))
    }

    /// Asks the server about a refresh token that it may have used up already.
    async fn asked(&self, claim: &Claim, prepared: &Prepared, token: &RefreshToken) -> Onward {
        let question =
            Question { profile: &prepared.profile, client: &prepared.identity, refresh_token: token };
        let asking = self.provider.introspect(claim, &question);
        let known = tokio::time::timeout(ASKING_TIMEOUT, asking).await.unwrap_or(Known::Nothing);
        tracing::info!(connection = %claim.connection().name, says = ?known,
            "server was asked about a refresh token that it may have used up");
        after_asking(claim.connection(), known, &prepared.profile, self.ledger.now())
    }

    /// Seals the answer and makes it the present. Holds it in memory until the store takes it.
    async fn settle(&self, claim: &Claim, prepared: &Prepared, spent: &Grant, mut answer: Answer) -> Outcome {
        tell_principal(&mut answer, prepared);
        if let Some(failure) = of_another(claim.connection(), &answer, &prepared.profile) {
            // The first answer of a family: a grant of somebody else is not taken.
            if claim.connection().token.is_none() {
                return Err(RefreshError::Failed(self.give_up(claim, prepared, failure).await?));
            }
            answer.access = Err(failure);
        }
        let correlation_id = answer.correlation_id.clone();
        let unusable = answer.access.as_ref().err().cloned();
        let renewal = renewal(claim.connection(), claim.attempt().id, prepared, spent, &answer, None)?;
        let name = &claim.connection().name;
        let watch = self.warm.watch(name);
        let committed = self.commit(claim, prepared, renewal).await;
        match committed {
            Committed::Done(loaded) => {
                self.release_client(prepared).await;
                self.entered(claim.connection().state, &loaded.record).await;
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
                told_of_an_end(claim.connection(), &loaded.record);
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
    pub(super) async fn made_present(
        &self,
        claim: &Claim,
        prepared: &Prepared,
        mut renewal: Renewal,
    ) -> Committed {
        let mut pause = COMMIT_PAUSE;
        for turn in 0.. {
            let sealed = self.sealed_for_now(claim, prepared, &renewal).await;
            let written = match sealed {
                Ok(sealed) => {
                    renewal = sealed.unwrap_or(renewal);
                    self.ledger.commit(claim, &renewal).await
                }
                Err(err) => Err(err),
            };
            match written {
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

    /// The answer sealed anew, where the key was rotated since the exchange began: the version that it was sealed by may
    /// be destroyed by the time that it is written. `None`: it is as it should be.
    async fn sealed_for_now(
        &self,
        claim: &Claim,
        prepared: &Prepared,
        renewal: &Renewal,
    ) -> Result<Option<Renewal>, StoreError> {
        let connection = claim.connection();
        let keys = self.keys.sealing(&connection.name.owner()).await?;
        if is_sealed_by(renewal, keys.active_version()) {
            return Ok(None);
        }
        tracing::info!(connection = %connection.name, version = keys.active_version(),
            "key was rotated during an exchange: its answer is sealed by the new version");
        let resealed = resealed(connection, renewal, &prepared.keys, &keys);
        resealed.map(Some).map_err(|_| StoreError::Forged { key: connection.name.to_string() })
    }
}

/// A person may try what the schedule must not.
const fn obeys_holds(ask: Ask) -> bool {
    match ask {
        Ask::Scheduler | Ask::Caller => true,
        Ask::Operator | Ask::Revocation | Ask::Bootstrap | Ask::Authorization(_) => false,
    }
}

/// A refresh that asks for nothing gets what was granted (RFC 6749 §6); a new grant, what the connection is made for.
fn scopes_to_ask<'a>(connection: &'a Connection, grant: &Grant) -> &'a [String] {
    if matches!(grant, Grant::RefreshToken(_)) { &[] } else { &connection.requested_scopes }
}

fn stored_grant(connection: &Connection, keys: &OwnerKeys) -> Result<Grant, SealError> {
    match (&connection.refresh_token, &connection.subject) {
        (None, None) => Ok(Grant::ClientCredentials),
        (None, Some(subject)) => Ok(Grant::JwtSubject { subject: subject.clone() }),
        (Some(sealed), _) => {
            let resource = connection.name.to_string();
            Ok(Grant::RefreshToken(keys.open(&place(&resource, connection, connection.generation), sealed)?))
        }
    }
}

/// The key that the connection's tokens are bound to. It is not of one consent, so its place is the connection's own.
fn bound_key(connection: &Connection, keys: &OwnerKeys) -> Result<Option<DpopKey>, SealError> {
    let Some(bound) = &connection.dpop else { return Ok(None) };
    let resource = connection.name.to_string();
    let place = Place { resource: &resource, family: connection.uid, generation: 0 };
    let pem = keys.open(&place, &bound.sealed)?;
    DpopKey::from_pem(&pem.0).map(Some).map_err(|_| SealBroken.into())
}

fn place<'a>(resource: &'a str, connection: &Connection, generation: u64) -> Place<'a> {
    Place { resource, family: connection.family, generation }
}

/// Nothing of an answer for somebody else is served. Its refresh token is kept all the same where ours was spent for it:
/// what was spent is refused from then on, and whose the next answer is, is for that one to say.
fn of_another(connection: &Connection, answer: &Answer, profile: &Profile) -> Option<Failure> {
    match (&connection.principal, &answer.principal) {
        (Some(ours), Some(theirs)) if !ours.is(theirs) => {
            let evidence = Evidence::Unusable(Unusable::OtherPrincipal);
            let correlation_id = answer.correlation_id.as_deref();
            Some(classify(profile, crate::domain::failure::Stage::Steady, &evidence, correlation_id))
        }
        _ => None,
    }
}

/// Another provider's client of the same name is none.
fn own(found: Option<Loaded<Client>>, connection: &Connection) -> Result<Loaded<Client>, RefreshError> {
    let own = found.filter(|found| found.record.serves(connection));
    own.ok_or_else(|| RefreshError::NoClient(connection.client.clone()))
}

fn clientless() -> Failure {
    Failure::of_ours("connection cannot be refreshed: its client does not exist")
}

/// The stored grant did not open: nothing was sent, and a person has to look at the store.
pub(super) fn unopened() -> Failure {
    Failure::of_ours("stored refresh token does not open")
}
