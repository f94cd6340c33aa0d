//! Servers that keep to RFC 6749: client credentials, refresh tokens, and revocation by RFC 7009.

use super::{
    Answer, Exchange, Grant, Revocation, answer,
    client_auth::{Ask, Asking, Forget},
    line::{Line, local},
};
use crate::domain::{
    failure::{Class, Evidence, Failure, Stage, classify},
    profile,
};

pub(super) async fn exchange(
    line: &Line,
    exchange: &Exchange<'_>,
    asking: &Asking<'_>,
) -> Result<Answer, Failure> {
    let ask = match exchange.grant {
        Grant::RefreshToken(token) => Ask::RefreshToken(token),
        Grant::ClientCredentials => Ask::ClientCredentials,
        Grant::CompanyRequestToken { .. } => {
            return Err(local(Class::Configuration, "provider does not know company request tokens"));
        }
    };
    let Some(endpoint) = &exchange.profile.token_endpoint else {
        return Err(local(Class::Configuration, "provider profile has no token endpoint"));
    };
    let request = asking.token_request(endpoint, &ask, exchange.scopes)?;
    let told = line
        .send(exchange.profile, request)
        .await
        .map_err(|evidence| answer::failure(exchange, &evidence, None))?;
    let correlation_id = told.response.correlation_id.clone();
    match told.response.granted() {
        Ok(fields) => Ok(answer::judged(exchange, fields, told.sent_at, correlation_id)),
        Err(evidence) => Err(answer::failure(exchange, &evidence, correlation_id.as_deref())),
    }
}

/// RFC 7009 §2. The refresh token goes if there is one: with it the server forgets the access tokens (§2.1).
pub(super) async fn revoke(
    line: &Line,
    revocation: &Revocation<'_>,
    asking: &Asking<'_>,
) -> Result<(), Failure> {
    let profile = revocation.profile;
    let Some(endpoint) =
        profile.revocation_endpoint.as_ref().filter(|_| profile.revocation == profile::Revocation::Rfc7009)
    else {
        return Err(local(Class::Configuration, "provider has no way to revoke"));
    };
    let forget = match (revocation.refresh_token, revocation.access_token) {
        (Some(token), _) => Forget::RefreshToken(token),
        (None, Some(token)) => Forget::AccessToken(token),
        (None, None) => return Ok(()),
    };
    let request = asking.revocation_request(endpoint, &forget)?;
    let told = line
        .send(profile, request)
        .await
        .map_err(|evidence| classify(profile, Stage::Steady, &evidence, None))?;
    let (response, refusal) = (&told.response, told.response.refusal());
    let evidence = match response.status {
        200..=299 => return Ok(()),
        300..=399 => Evidence::Redirected { status: response.status },
        // §2.2 has a server answer 200 for a token that it does not know; some say it in these words.
        400..=499 if matches!(refusal.error.as_deref(), Some("invalid_token" | "invalid_grant")) => {
            return Ok(());
        }
        _ => Evidence::Refused(refusal),
    };
    Err(classify(profile, Stage::Steady, &evidence, response.correlation_id.as_deref()))
}

#[cfg(test)]
#[path = "oauth2_tests.rs"]
mod tests;
