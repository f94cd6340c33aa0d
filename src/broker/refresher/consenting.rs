//! The first answer of a new consent: who it is for is checked before it takes the place of what was there, and what
//! cannot take it is given back. The old consent is not touched by anything that goes wrong here.

use super::{
    Found, Outcome, Parts, RefreshError, Refresher, Trip, exchange::Prepared, renewing::renewal,
    told::told_of_success,
};
use crate::{
    broker::kept::Kept,
    domain::{
        attempt::{Ask, Consent, Seen},
        authorization::{Authorization, Principals, Way},
        connection::{Connection, Principal, PrincipalKind},
        failure::{Class, Evidence, Failure, Stage, Unusable, classify},
        names::ConnectionName,
        profile::{Dialect, Issuer, Revocation as RevocationKind},
    },
    provider::{Answer, Endpoint, Exchange, Grant, Identity, Revocation},
    seal::{OwnerKeys, SealBroken, SealError},
    store::{claim::Claim, ledger::Committed},
};
use uuid::Uuid;

/// How often an answer is put on a newer record, after an older exchange of the old consent came in between.
const REBASES_MAX: u32 = 8;

/// What a person's consent brought, for one exchange. Not printable.
pub struct OneTime {
    pub grant: Grant,
    /// What an `id_token` beside the tokens has to repeat.
    pub nonce: Option<String>,
}

impl OneTime {
    pub fn plain(grant: Grant) -> Self {
        Self { grant, nonce: None }
    }
}

/// What is asked again and again until the person has consented.
pub(super) fn device_grant(connection: &Connection, keys: &OwnerKeys) -> Result<Grant, SealError> {
    let authorization = connection.authorization.as_deref().ok_or(SealError::Broken(SealBroken))?;
    let kept = Kept::open(keys, &connection.name, authorization)?;
    kept.device_grant().ok_or(SealError::Broken(SealBroken))
}

/// The request of a new consent asks as if there were nothing yet: what a person granted is what counts.
pub(super) fn asked_anew<'a>(exchange: Exchange<'a>, connection: &'a Connection) -> Exchange<'a> {
    let Some(authorization) = &connection.authorization else { return exchange };
    let principal = match authorization.principals {
        Principals::Same => exchange.principal,
        Principals::Any => None,
    };
    let asked = Exchange { scopes: &[], granted: &[], api_base_url: None, principal, ..exchange };
    match authorization.way {
        Way::Browser(_) | Way::Device(_) => asked,
        // SAP Concur takes them with the password, at the data centre that sent it.
        Way::Otp { .. } => Exchange {
            scopes: &authorization.scopes,
            api_base_url: connection.api_base_url.as_deref(),
            ..asked
        },
    }
}

impl Refresher {
    /// Spends what a person's consent brought, or, without anything, asks the server once whether a device code was
    /// confirmed. Joins nobody, and waits for whoever is at the connection.
    pub async fn authorize(&self, name: &ConnectionName, id: Uuid, mut brought: Option<OneTime>) -> Outcome {
        // What the connection has come to does not matter: the consent is for a family of its own.
        let seen = Seen { family: Uuid::nil(), generation: 0 };
        loop {
            let other = {
                let mut board = self.parts.board.lock();
                if let Some(other) = board.get(name) {
                    other.clone()
                } else {
                    let trip = Trip::of(seen, Ask::Authorization(id));
                    break self.take_off(&mut board, name, Trip { brought: brought.take(), ..trip });
                }
            };
            drop(other.outcome.await);
        }
        .outcome
        .await
    }

    /// Asks for a device code in the background, unless somebody is at the connection already.
    pub fn poll(&self, name: &ConnectionName, id: Uuid, found: &Found) {
        let seen = Seen { family: Uuid::nil(), generation: 0 };
        let found = Some(self.in_line(found));
        drop(self.flight(name, Trip { found, ..Trip::of(seen, Ask::Authorization(id)) }));
    }
}

impl Parts {
    /// Puts the answer in the place of what was there. It was claimed beside the old consent, not from it: where an
    /// older exchange of that came in between, the answer is sealed and compared anew with what is there then.
    pub(super) async fn settle_consent(
        &self,
        claim: &Claim,
        prepared: &Prepared,
        spent: &Grant,
        mut answer: Answer,
        consent: Consent,
        nonce: Option<&str>,
    ) -> Outcome {
        let connection = claim.connection();
        let authorization = connection.authorization.as_deref();
        if let Err(failure) = accepted(&mut answer, prepared, connection, authorization, nonce) {
            return self.refuse_consent(claim, prepared, answer, failure).await;
        }
        let mut base = connection.clone();
        for _ in 0..REBASES_MAX {
            let sealed = renewal(&base, claim.attempt().id, prepared, spent, &answer, Some(consent));
            let renewal = match sealed {
                Ok(renewal) => renewal,
                Err(err) => {
                    let failure = Failure::of_ours("answer could not be sealed");
                    drop(self.refuse_consent(claim, prepared, answer, failure).await);
                    return Err(err.into());
                }
            };
            if let Err(failure) = renewal.token.clone() {
                return self.refuse_consent(claim, prepared, answer, failure).await;
            }
            let watch = self.warm.watch(&connection.name);
            match self.commit(claim, prepared, renewal).await {
                Committed::Done(loaded) => {
                    self.release_client(prepared).await;
                    self.entered(connection.state, &loaded.record).await;
                    told_of_success(&loaded.record, answer.correlation_id.as_deref());
                    tracing::info!(connection = %connection.name, grant = %loaded.record.grant, "connection authorized");
                    return Ok(self.kept(watch, *loaded));
                }
                Committed::Superseded(loaded) if loaded.record.family == connection.family => {
                    base = loaded.record;
                }
                Committed::Superseded(_) | Committed::Orphaned => break,
            }
        }
        tracing::warn!(connection = %connection.name, correlation_id = answer.correlation_id,
            "authorization was replaced, or its connection ended, while the answer was on its way");
        self.give_back(prepared, connection, &answer).await;
        Err(RefreshError::Replaced)
    }

    async fn refuse_consent(
        &self,
        claim: &Claim,
        prepared: &Prepared,
        answer: Answer,
        failure: Failure,
    ) -> Outcome {
        let failure = self.give_up(claim, prepared, failure).await?;
        self.give_back(prepared, claim.connection(), &answer).await;
        Err(RefreshError::Failed(failure))
    }

    /// A grant that is not kept is revoked, so that it does not live on where nobody knows of it; but only where nothing
    /// else can hang on it. A server may take all that this client has of the principal with it (RFC 7009 §2.1, and as
    /// SAP Concur does): the grant that serves here now, or what another principal has under another name.
    async fn give_back(&self, prepared: &Prepared, connection: &Connection, answer: &Answer) {
        let access_token = answer.access.as_ref().ok().map(|issued| &issued.access_token);
        let resolved = self.provider.resolved(&prepared.profile, Endpoint::Revocation).await;
        let profile = resolved.unwrap_or_else(|_| prepared.profile.clone());
        let offered = match profile.revocation {
            RevocationKind::Rfc7009 => answer.refresh_token.is_some() || access_token.is_some(),
            RevocationKind::None | RevocationKind::ConcurDelete => false,
        };
        let name = &connection.name;
        if !offered || !self.stands_alone(connection, answer).await {
            tracing::warn!(connection = %name, correlation_id = answer.correlation_id,
                "a new grant is not kept and is not given back from here: revoke it at the provider if nothing else hangs on it");
            return;
        }
        let revocation = Revocation {
            profile: &profile,
            client: &prepared.identity,
            refresh_token: answer.refresh_token.as_ref(),
            access_token,
            api_base_url: answer.api_base_url.as_deref(),
            correlation_id: Uuid::new_v4(),
        };
        match self.provider.revoke(&revocation).await {
            Ok(_) => tracing::info!(connection = %name, "a new grant that is not kept was given back"),
            Err(failure) => {
                tracing::warn!(connection = %name, detail = failure.detail, code = failure.code,
                    "a new grant that is not kept was not taken back: revoke it at the provider");
            }
        }
    }
}

impl Parts {
    /// Whether nothing that is to live on can be of the same principal as the answer.
    async fn stands_alone(&self, connection: &Connection, answer: &Answer) -> bool {
        let stranger = match (&connection.principal, &answer.principal) {
            (Some(ours), Some(theirs)) => !ours.is(theirs),
            (Some(_) | None, _) => false,
        };
        // As it is now: another consent may have been quicker.
        match self.ledger.read::<Connection>(&connection.name).await {
            Ok(Some(present)) => !stranger && !present.record.lasts(),
            Ok(None) => !stranger,
            Err(_) => false,
        }
    }
}

/// Whether the answer is usable, for this request, and for whom it may be.
fn accepted(
    answer: &mut Answer,
    prepared: &Prepared,
    connection: &Connection,
    authorization: Option<&Authorization>,
    nonce: Option<&str>,
) -> Result<(), Failure> {
    let correlation_id = answer.correlation_id.clone();
    if let (Dialect::Rfc6749, Some(identity)) = (prepared.profile.dialect, &answer.identity)
        && !is_ours(identity, prepared, nonce)
    {
        let detail = "identity beside the tokens is of another issuer, client or request";
        return Err(Failure { class: Class::Malformed, correlation_id, ..Failure::of_ours(detail) });
    }
    tell_principal(answer, prepared);
    let any = authorization.is_some_and(|ours| ours.principals == Principals::Any);
    match (&connection.principal, &answer.principal) {
        (Some(ours), Some(theirs)) if !any && !ours.is(theirs) => {
            let evidence = Evidence::Unusable(Unusable::OtherPrincipal);
            return Err(classify(&prepared.profile, Stage::Steady, &evidence, correlation_id.as_deref()));
        }
        (Some(_) | None, Some(_) | None) => {}
    }
    match &answer.access {
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.clone()),
    }
}

/// Whose a grant is, by the identity beside its tokens, where nothing else of the answer says so: also beside those of a
/// refresh (OpenID Connect Core §12.2). One that is of another issuer or client says nothing of this grant.
pub(super) fn tell_principal(answer: &mut Answer, prepared: &Prepared) {
    match (prepared.profile.dialect, &answer.identity) {
        (Dialect::Rfc6749, Some(identity)) if is_ours(identity, prepared, None) => {
            let subject = identity.subject.clone();
            answer.principal = subject.map(|id| Principal { kind: PrincipalKind::User, id });
        }
        (Dialect::Rfc6749 | Dialect::SapConcur, _) => {}
    }
}

fn is_ours(identity: &Identity, prepared: &Prepared, nonce: Option<&str>) -> bool {
    let issuer = prepared.profile.issuer.as_ref().map(Issuer::as_str);
    is_for(identity, issuer, &prepared.identity.client_id, nonce)
}

/// OpenID Connect Core §3.1.3.7 (2, 3, 11). Its signature is not looked at: it came over TLS from the token endpoint
/// itself (6), and no right is derived from it.
fn is_for(identity: &Identity, issuer: Option<&str>, client_id: &str, nonce: Option<&str>) -> bool {
    let issued_by = |issuer: &str| identity.issuer.as_deref().is_none_or(|theirs| theirs == issuer);
    let audience = identity.audience.is_empty() || identity.audience.iter().any(|one| one == client_id);
    let repeated = nonce.is_none_or(|nonce| identity.nonce.as_deref() == Some(nonce));
    issuer.is_none_or(issued_by) && audience && repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_for_one_issuer_client_and_request() {
        let identity = |issuer: &str, audience: &[&str], nonce: Option<&str>| Identity {
            issuer: Some(issuer.to_owned()),
            subject: Some("s".into()),
            audience: audience.iter().map(ToString::to_string).collect(),
            nonce: nonce.map(str::to_owned),
        };
        let ours = "https://idp.example";
        for (identity, nonce, want) in [
            (identity(ours, &["client"], Some("n")), Some("n"), true),
            (identity(ours, &["other", "client"], None), None, true),
            (identity(ours, &["client"], None), Some("n"), false),
            (identity(ours, &["client"], Some("m")), Some("n"), false),
            (identity(ours, &["other"], Some("n")), Some("n"), false),
            (identity("https://idp.example/", &["client"], Some("n")), Some("n"), false),
        ] {
            assert_eq!(is_for(&identity, Some(ours), "client", nonce), want, "{identity:?} {nonce:?}");
        }
        assert!(is_for(&identity("https://any.example", &["client"], None), None, "client", None));
    }
}
