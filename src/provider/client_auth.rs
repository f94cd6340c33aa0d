//! Who asks: proves to the server which client a request comes from (RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705 §2). One
//! function authenticates every request, whatever is asked; what is asked is written elsewhere.

use super::{
    identity::{ClientIdentity, Credential, Proof},
    keys,
    request::Form,
};
use crate::{
    clock::Timestamp,
    domain::{
        credential::Said,
        failure::{Class, Failure},
        profile::{AssertionAudience, ClientAuth, Profile},
        token::Secret,
    },
    egress::Outgoing,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;
use std::time::Duration;
use url::{Url, form_urlencoded};
use uuid::Uuid;

/// Credentials that are tried for one request: the present one and the one before or after it.
const TRIES_MAX: usize = 2;
/// How long an assertion is good: it is made for one request, which is sent at once.
const ASSERTION_LASTS: Duration = Duration::from_secs(60);
/// RFC 7523 §2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who asks, with the one credential that is tried.
pub(super) struct Asking<'a> {
    pub(super) client_id: &'a str,
    pub(super) auth: ClientAuth,
    pub(super) credential: Option<&'a Credential>,
    /// Who an assertion is for.
    pub(super) profile: &'a Profile,
    pub(super) now: Timestamp,
}

/// Why no request was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotSpoken;

/// What is there to try, in order. A public client asks once, with nothing.
pub(super) fn tries<'a>(
    profile: &'a Profile,
    client: &'a ClientIdentity,
    now: Timestamp,
) -> impl Iterator<Item = Asking<'a>> {
    let asking = move |credential| Asking {
        client_id: &client.client_id,
        auth: client.auth,
        credential,
        profile,
        now,
    };
    let needs = client.auth.needs();
    let public = needs.is_none().then(|| asking(None));
    let fitting = client.credentials.iter().filter(move |credential| Some(credential.kind()) == needs);
    public.into_iter().chain(fitting.take(TRIES_MAX).map(move |credential| asking(Some(credential))))
}

/// Whether another credential is worth trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Settled,
    TryAnother,
}

impl ClientIdentity {
    /// Takes down what an answer says of the credential. Only a refusal of the client itself leaves what was asked
    /// untouched, and another credential worth trying.
    pub(super) fn heard<T>(&self, asking: &Asking<'_>, outcome: &Result<T, Failure>) -> Next {
        let (said, next) = match outcome {
            Ok(_) => (Some(Said::Accepted), Next::Settled),
            Err(failure) if failure.class == Class::Client => (Some(Said::Refused), Next::TryAnother),
            Err(_) => (None, Next::Settled),
        };
        if let (Some(credential), Some(said)) = (asking.credential, said) {
            self.verdicts.note(credential.id, said);
        }
        next
    }
}

impl Asking<'_> {
    /// Where a request of this client goes: clients with a certificate may have addresses of their own (RFC 8705 §5).
    pub(super) fn endpoint<'u>(&self, usual: Option<&'u Url>, alias: Option<&'u Url>) -> Option<&'u Url> {
        match self.auth {
            ClientAuth::TlsClientAuth | ClientAuth::SelfSignedTlsClientAuth => alias.or(usual),
            ClientAuth::ClientSecretBasic
            | ClientAuth::ClientSecretPost
            | ClientAuth::ClientSecretJwt
            | ClientAuth::PrivateKeyJwt
            | ClientAuth::None => usual,
        }
    }

    /// A POST of the form to `endpoint`, made this client's.
    pub(super) fn request(&self, endpoint: &Url, form: Form) -> Result<Outgoing, NotSpoken> {
        // No charset: SAP Concur refuses one.
        let headers = HeaderMap::from_iter([
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
        ]);
        let (method, url, body) = (Method::POST, endpoint.clone(), form.into_body());
        let mut outgoing = Outgoing { method, url, headers, body, presenting: None };
        self.authenticate(&mut outgoing)?;
        Ok(outgoing)
    }

    /// Makes the request this client's: a header, parameters of the form, or a certificate for the connection. Whatever
    /// named the client in the form before is replaced. Each call signs anew: an assertion is good once.
    pub(super) fn authenticate(&self, outgoing: &mut Outgoing) -> Result<(), NotSpoken> {
        // What is asked may have to name the client too (RFC 9126 §2.1); beside HTTP Basic nobody else does.
        let named = |name: &str, value: &str| {
            self.auth == ClientAuth::ClientSecretBasic && name == "client_id" && value == self.client_id
        };
        let mut form: Vec<(String, String)> = form_urlencoded::parse(&outgoing.body)
            .filter(|(name, value)| !is_ours(name) || named(name, value))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let mut add = |name: &str, value: &str| form.push((name.to_owned(), value.to_owned()));
        let proof = self.credential.map(|credential| &credential.proof);
        match (self.auth, proof) {
            (ClientAuth::ClientSecretBasic, Some(Proof::Shared(secret))) => {
                outgoing.headers.insert(header::AUTHORIZATION, basic(self.client_id, &secret.0)?);
            }
            (ClientAuth::ClientSecretPost, Some(Proof::Shared(secret))) => {
                add("client_id", self.client_id);
                add("client_secret", secret.0.expose());
            }
            (ClientAuth::ClientSecretJwt, Some(Proof::Shared(secret))) => {
                add("client_id", self.client_id);
                add("client_assertion_type", ASSERTION_TYPE);
                add("client_assertion", keys::hs256(secret, &self.claims(&outgoing.url)).expose());
            }
            (ClientAuth::PrivateKeyJwt, Some(Proof::Key(key))) => {
                let assertion = key.jwt("JWT", &self.claims(&outgoing.url)).map_err(|_| NotSpoken)?;
                add("client_id", self.client_id);
                add("client_assertion_type", ASSERTION_TYPE);
                add("client_assertion", assertion.expose());
            }
            // §2: the server learns from the form whose certificate it sees.
            (
                ClientAuth::TlsClientAuth | ClientAuth::SelfSignedTlsClientAuth,
                Some(Proof::Certificate(certificate)),
            ) => {
                add("client_id", self.client_id);
                outgoing.presenting = Some(certificate.clone());
            }
            (ClientAuth::None, None) => add("client_id", self.client_id),
            (
                ClientAuth::ClientSecretBasic
                | ClientAuth::ClientSecretPost
                | ClientAuth::ClientSecretJwt
                | ClientAuth::PrivateKeyJwt
                | ClientAuth::TlsClientAuth
                | ClientAuth::SelfSignedTlsClientAuth
                | ClientAuth::None,
                Some(Proof::Shared(_) | Proof::Key(_) | Proof::Certificate(_)) | None,
            ) => return Err(NotSpoken),
        }
        outgoing.body =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into_bytes();
        Ok(())
    }

    /// RFC 7523 §2.1: an assertion that the client makes for somebody else, signed anew at each call.
    pub(super) fn assertion(
        &self,
        client: &ClientIdentity,
        subject: &str,
        endpoint: &Url,
    ) -> Result<Secret, NotSpoken> {
        let keys = self.credential.into_iter().chain(&client.credentials);
        let key = keys.map(|credential| &credential.proof).find_map(|proof| match proof {
            Proof::Key(key) => Some(key),
            Proof::Shared(_) | Proof::Certificate(_) => None,
        });
        let mut claims = self.claims(endpoint);
        claims["sub"] = json!(subject);
        key.ok_or(NotSpoken)?.jwt("JWT", &claims).map_err(|_| NotSpoken)
    }

    /// RFC 7523 §3. The audience is the issuer, as the server calls itself; without one, where the request goes.
    fn claims(&self, endpoint: &Url) -> serde_json::Value {
        let (from, to) = (self.now.as_secs(), self.now.plus(ASSERTION_LASTS).as_secs());
        json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience(endpoint),
            "jti": Uuid::new_v4().to_string(),
            "iat": from,
            "exp": to,
        })
    }

    fn audience(&self, endpoint: &Url) -> String {
        let issuer = match self.profile.assertion_audience {
            AssertionAudience::Issuer => {
                self.profile.issuer.as_ref().map(|issuer| issuer.as_str().to_owned())
            }
            AssertionAudience::TokenEndpoint => None,
        };
        let token_endpoint = || self.profile.token_endpoint.as_ref().map(ToString::to_string);
        issuer.or_else(token_endpoint).unwrap_or_else(|| endpoint.to_string())
    }
}

/// Parameters that say who asks. Nothing else may put them into a form.
fn is_ours(name: &str) -> bool {
    matches!(name, "client_id" | "client_secret" | "client_assertion" | "client_assertion_type")
}

/// RFC 6749 §2.3.1: both halves are form-encoded before they are joined.
fn basic(client_id: &str, secret: &Secret) -> Result<HeaderValue, NotSpoken> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let joined = Secret::new(format!("{}:{}", encoded(client_id), encoded(secret.expose())));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(joined.expose())))
        .map_err(|_| NotSpoken)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
#[path = "client_auth_tests.rs"]
mod tests;
