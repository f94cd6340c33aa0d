//! What a person's browser is sent to (RFC 6749 §4.1.1), and what has to be asked of a server before a person can
//! consent: device codes (RFC 8628), requests handed in beforehand (RFC 9126), one-time passwords (SAP Concur).

use super::ClientIdentity;
use crate::domain::{
    profile::{Dialect, Profile, RequestScopeSeparator, ResourceIndicators},
    token::Secret,
};
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, basic::BasicClient};
use std::{collections::BTreeMap, time::Duration};
use url::Url;
use uuid::Uuid;

/// The path of SAP Concur's consent page, at `authorize_at`.
const CONCUR_AUTHORIZE_PATH: &str = "/oauth2/v0/authorize";

/// A request for a person's consent.
pub struct AuthorizationRequest<'a> {
    pub profile: &'a Profile,
    pub client_id: &'a str,
    pub redirect_uri: &'a str,
    pub scopes: &'a [String],
    pub resources: &'a [String],
    pub state: &'a Secret,
    /// RFC 7636, `S256`: its challenge is sent. `None` where the profile says that the server refuses one.
    pub verifier: Option<&'a Secret>,
    pub nonce: Option<&'a str>,
    pub login_hint: Option<&'a str>,
}

/// Something to ask of the server before a person can consent.
pub struct Preparation<'a> {
    pub profile: &'a Profile,
    pub client: &'a ClientIdentity,
    pub ask: Prelude<'a>,
    /// Where the connection's tokens are good (SAP Concur).
    pub api_base_url: Option<&'a str>,
    pub correlation_id: Uuid,
}

pub enum Prelude<'a> {
    /// RFC 9126 §2.1: the parameters of the request.
    Push(&'a [(String, String)]),
    /// RFC 8628 §3.1.
    Device { scopes: &'a [String], resources: &'a [String] },
    /// SAP Concur: a mail with a one-time password.
    Otp { email: &'a str, parameters: &'a BTreeMap<String, String> },
}

/// What the server gave. With secrets: not printable.
pub enum Prepared {
    /// Stands for the request, for a short while.
    Pushed {
        request_uri: String,
    },
    Device(DeviceCode),
    OtpSent,
}

/// RFC 8628 §3.2.
pub struct DeviceCode {
    pub device_code: Secret,
    pub user_code: String,
    pub verification_uri: String,
    pub verification_uri_complete: Option<String>,
    pub expires_in: Duration,
    pub interval: Option<Duration>,
}

impl AuthorizationRequest<'_> {
    /// The parameters, each once. The profile's own never replace one that the request has.
    pub fn parameters(&self) -> Vec<(String, String)> {
        // The page is put before them where they are used; when they are handed in beforehand there is none.
        let nowhere = Url::parse("https://authorization.invalid").expect("an address that is written here");
        let client = BasicClient::new(ClientId::new(self.client_id.to_owned()))
            .set_auth_uri(AuthUrl::from_url(nowhere));
        let mut request = client.authorize_url(|| CsrfToken::new(self.state.expose().to_owned()));
        if let Some(verifier) = self.verifier {
            let verifier = PkceCodeVerifier::new(verifier.expose().to_owned());
            request = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        }
        // Byte for byte as it is registered, which a parsed address need not be.
        request = request.add_extra_param("redirect_uri", self.redirect_uri);
        let scopes = scopes(self.profile, self.scopes);
        if !scopes.is_empty() {
            request = request.add_extra_param("scope", scopes);
        }
        for (name, value) in [("nonce", self.nonce), ("login_hint", self.login_hint)] {
            if let Some(value) = value {
                request = request.add_extra_param(name, value);
            }
        }
        match self.profile.resource_indicators {
            ResourceIndicators::None => {}
            ResourceIndicators::Authorization | ResourceIndicators::Everywhere => {
                for resource in self.resources {
                    request = request.add_extra_param("resource", resource);
                }
            }
        }
        let (url, _) = request.url();
        let mut all: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        for (name, value) in &self.profile.authorization_parameters {
            if !all.iter().any(|(taken, _)| taken == name) {
                all.push((name.clone(), value.clone()));
            }
        }
        all
    }

    /// The address for the browser; `None` where the profile has none.
    pub fn url(&self) -> Option<Url> {
        let mut url = page(self.profile)?;
        url.query_pairs_mut().extend_pairs(self.parameters());
        Some(url)
    }

    /// The same after the request was handed in (RFC 9126 §4).
    pub fn url_of_pushed(&self, request_uri: &str) -> Option<Url> {
        let mut url = page(self.profile)?;
        url.query_pairs_mut()
            .append_pair("client_id", self.client_id)
            .append_pair("request_uri", request_uri);
        Some(url)
    }
}

/// What stands in `scope`: what is asked for, and what the server wants asked so that it gives a refresh token.
pub(super) fn scopes(profile: &Profile, asked: &[String]) -> String {
    let besides = profile.offline_scopes.iter().filter(|scope| !asked.contains(scope));
    let all: Vec<_> = asked.iter().chain(besides).map(String::as_str).collect();
    all.join(match profile.request_scope_separator {
        RequestScopeSeparator::Space => " ",
        RequestScopeSeparator::Comma => ",",
    })
}

fn page(profile: &Profile) -> Option<Url> {
    match profile.dialect {
        Dialect::Rfc6749 => profile.authorization_endpoint.clone(),
        Dialect::SapConcur => {
            let written = profile.authorization_endpoint.clone();
            written.or_else(|| {
                let mut url = profile.authorize_at.clone()?;
                url.set_path(CONCUR_AUTHORIZE_PATH);
                Some(url)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::rig;

    #[test]
    fn each_parameter_is_sent_once_and_as_it_is_written() {
        let mut profile = rig::profile(
            "generic-oauth2",
            "token_endpoint = \"http://127.0.0.1:9/t\"\nauthorization_endpoint = \"http://127.0.0.1:9/a?tenant=1\"",
        );
        profile.authorization_parameters =
            BTreeMap::from([("prompt".into(), "consent".into()), ("state".into(), "forged".into())]);
        profile.offline_scopes = vec!["offline_access".into()];
        profile.resource_indicators = ResourceIndicators::Authorization;
        // The verifier of RFC 7636 appendix B.
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let (scopes, resources) = (["a".to_owned()], ["urn:x".to_owned()]);
        let request = AuthorizationRequest {
            profile: &profile,
            client_id: "cli ent",
            redirect_uri: "HTTPS://b.example:443/cb",
            scopes: &scopes,
            resources: &resources,
            state: &Secret::new("s&1"),
            verifier: Some(&verifier),
            nonce: Some("n"),
            login_hint: None,
        };
        let mut parameters = request.parameters();
        parameters.sort();
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("client_id", "cli ent"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
            ("nonce", "n"),
            ("prompt", "consent"),
            ("redirect_uri", "HTTPS://b.example:443/cb"),
            ("resource", "urn:x"),
            ("response_type", "code"),
            ("scope", "a offline_access"),
            ("state", "s&1"),
        ];
        assert_eq!(parameters, expected);
        let url = request.url().unwrap();
        assert!(url.as_str().starts_with("http://127.0.0.1:9/a?tenant=1&response_type=code"), "{url}");
        let bare = AuthorizationRequest { verifier: None, ..request };
        assert!(bare.parameters().iter().all(|(name, _)| !name.starts_with("code_challenge")));
    }
}
