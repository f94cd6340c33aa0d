//! Gives tokens back by RFC 7009: the refresh token, then the access token, each in a request of its own. The grant is
//! gone with the refresh token; what becomes of an access token after that ends by itself.

use super::{
    Revocation, Revoked,
    client_auth::Asking,
    line::{Line, local},
    request::{Forget, Form},
};
use crate::domain::{
    failure::{Class, Evidence, Failure, Stage, classify},
    profile::{self, Profile},
};
use url::Url;

/// RFC 7009 §2.2.1: the server does not revoke tokens of this kind.
const UNSUPPORTED: &str = "unsupported_token_type";

/// What one request came to.
enum Forgot {
    Done,
    /// The server never forgets a token of this kind.
    Never,
}

/// RFC 7009 §2.1: a server that forgets a refresh token should forget its access tokens too, and need not. So both
/// are named. What was said of the refresh token decides; the access token counts only where it is all there is.
pub(super) async fn revoke(
    line: &Line,
    revocation: &Revocation<'_>,
    asking: &Asking<'_>,
) -> Result<Revoked, Failure> {
    let profile = revocation.profile;
    let alias = profile.mtls_endpoint_aliases.revocation_endpoint.as_ref();
    let endpoint = asking.endpoint(profile.revocation_endpoint.as_ref(), alias);
    let Some(endpoint) = endpoint.filter(|_| profile.revocation == profile::Revocation::Rfc7009) else {
        return Err(local(Class::Configuration, "provider has no way to revoke"));
    };
    let forget = async |token: &Forget<'_>| forget(line, profile, endpoint, asking, token).await;
    if let Some(token) = revocation.refresh_token {
        match forget(&Forget::RefreshToken(token)).await? {
            Forgot::Done => {}
            Forgot::Never => {
                return Err(local(Class::Configuration, "server does not revoke refresh tokens"));
            }
        }
    }
    let Some(token) = revocation.access_token else { return Ok(Revoked::Whole) };
    match forget(&Forget::AccessToken(token)).await {
        Ok(Forgot::Done) => Ok(Revoked::Whole),
        Ok(Forgot::Never) => Ok(Revoked::AccessTokenLives(None)),
        Err(failure) if revocation.refresh_token.is_some() => Ok(Revoked::AccessTokenLives(Some(failure))),
        Err(failure) => Err(failure),
    }
}

async fn forget(
    line: &Line,
    profile: &Profile,
    endpoint: &Url,
    asking: &Asking<'_>,
    forget: &Forget<'_>,
) -> Result<Forgot, Failure> {
    let request = asking.request(endpoint, Form::revocation(forget))?;
    let told = line
        .send(profile, request)
        .await
        .map_err(|evidence| classify(profile, Stage::Steady, &evidence, None))?;
    let (response, refusal) = (&told.response, told.response.refusal());
    let evidence = match (response.status, refusal.error.as_deref()) {
        // §2.2 has a server answer 200 for a token that it does not know; some say it in these words.
        (200..=299, None) | (200..=299 | 400..=499, Some("invalid_token" | "invalid_grant")) => {
            return Ok(Forgot::Done);
        }
        (300..=399, _) => Evidence::Redirected { status: response.status },
        (200..=299 | 400..=499, Some(UNSUPPORTED)) => return Ok(Forgot::Never),
        // Also a success that says that it is none: the token is not forgotten here until it is there.
        _ => Evidence::Refused(refusal),
    };
    Err(classify(profile, Stage::Steady, &evidence, response.correlation_id.as_deref()))
}

#[cfg(test)]
#[path = "revoking_tests.rs"]
mod tests;
