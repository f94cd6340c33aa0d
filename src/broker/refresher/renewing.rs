//! What an answer becomes: sealed for the next generation, ready to be committed.

use super::exchange::{Prepared, unopened};
use crate::{
    domain::{
        attempt::{Consent, Renewal},
        connection::{Connection, Token},
        failure::{Class, Failure},
        lifecycle::points,
        profile::Profile,
        token::{PreviousRefreshToken, RefreshToken, Sealable},
    },
    provider::{Answer, Binding, Grant, Issued},
    seal::{self, OwnerKeys, Place, SealError},
};
use uuid::Uuid;

/// The answer, sealed for the generation after the connection's present one; in a family of its own, if it is a new
/// consent.
pub(super) fn renewal(
    connection: &Connection,
    attempt: Uuid,
    prepared: &Prepared,
    spent: &Grant,
    answer: &Answer,
    consent: Option<Consent>,
) -> Result<Renewal, SealError> {
    let generation = connection.generation + 1;
    let resource = connection.name.to_string();
    let family = consent.map_or(connection.family, |consent| consent.family);
    let place = Place { resource: &resource, family, generation };
    let keys = &prepared.keys;
    let (present, previous) = successor(spent, answer.refresh_token.clone());
    Ok(Renewal {
        attempt,
        seen: connection.seen(),
        refresh_token: present.map(|token| keys.seal(&place, &token)).transpose()?,
        previous: previous.map(|token| keys.seal(&place, &token)).transpose()?,
        refresh_expires_at: answer.refresh_expires_at,
        // Whatever is wrong with the access token, the refresh token beside it is kept.
        token: match &answer.access {
            Ok(issued) => token(connection, &prepared.profile, generation, issued, keys, &place)
                .map_err(|_| too_large()),
            Err(failure) => Err(failure.clone()),
        },
        scopes: answer.scopes.clone(),
        api_base_url: answer.api_base_url.clone(),
        principal: answer.principal.clone(),
        consent,
    })
}

/// Whether nothing in an answer was sealed by another version.
pub(super) fn is_sealed_by(renewal: &Renewal, version: u32) -> bool {
    let Renewal { refresh_token, previous, token, .. } = renewal;
    let versions = [
        refresh_token.as_ref().map(seal::claimed_key_version),
        previous.as_ref().map(seal::claimed_key_version),
        token.as_ref().ok().map(|token| seal::claimed_key_version(&token.sealed)),
    ];
    versions.into_iter().flatten().all(|sealed_by| sealed_by == Some(version))
}

/// The same answer, sealed by other keys of the same owner.
pub(super) fn resealed(
    connection: &Connection,
    renewal: &Renewal,
    old: &OwnerKeys,
    new: &OwnerKeys,
) -> Result<Renewal, SealError> {
    let resource = connection.name.to_string();
    let family = renewal.consent.map_or(renewal.seen.family, |consent| consent.family);
    let place = Place { resource: &resource, family, generation: renewal.seen.generation + 1 };
    let mut next = renewal.clone();
    if let Some(sealed) = &renewal.refresh_token {
        next.refresh_token = Some(new.seal(&place, &old.open(&place, sealed)?)?);
    }
    if let Some(sealed) = &renewal.previous {
        next.previous = Some(new.seal(&place, &old.open(&place, sealed)?)?);
    }
    if let (Ok(token), Ok(next)) = (&renewal.token, &mut next.token) {
        next.sealed = new.seal(&place, &old.open(&place, &token.sealed)?)?;
    }
    Ok(next)
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
        (Grant::ClientCredentials | Grant::JwtSubject { .. }, _) => (None, None),
        (
            Grant::CompanyRequestToken { .. }
            | Grant::AuthorizationCode { .. }
            | Grant::DeviceCode { .. }
            | Grant::Password { .. }
            | Grant::Otp { .. }
            | Grant::JwtBearer { .. }
            | Grant::SamlBearer { .. }
            | Grant::TokenExchange(_),
            answered,
        ) => (answered, None),
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
        bound_to: match issued.binding {
            Binding::Bearer => None,
            Binding::Bound => connection.dpop.as_ref().map(|key| key.thumbprint.clone()),
        },
    })
}

fn too_large() -> Failure {
    Failure {
        class: Class::Malformed,
        detail: "answer has an access token too large to be kept",
        ..unopened()
    }
}
