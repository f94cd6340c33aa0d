//! Talks to authorization servers. Takes plain data and opened secrets, gives back an answer or a judged
//! failure; knows neither the store nor the seal, and remembers nothing between two exchanges.

pub mod authorization;
pub mod catalogue;
pub mod certificates;
pub mod dpop;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod hosts;
pub mod keys;

mod answer;
mod client_auth;
mod concur;
mod dialects;
mod discovery;
mod doctor;
mod echo;
mod identity;
mod introspection;
mod jwt;
mod line;
mod preparing;
mod request;
mod revoking;
mod rfc6749;
#[cfg(test)]
mod rig;
mod traced;

pub use dialects::Providers;
pub use discovery::metadata::Endpoint;
pub use identity::{ClientIdentity, Credential, Proof, Verdicts};
pub use traced::Traced;

use crate::{
    clock::Timestamp,
    domain::{
        asking::Known,
        connection::Principal,
        failure::{Failure, Stage},
        finding::Finding,
        profile::{GrantKind, Profile},
        rotation::Listed,
        token::{AccessToken, ClientSecret, RefreshToken, Secret},
    },
    store::claim::Claim,
};
use async_trait::async_trait;
use authorization::{Preparation, Prepared};
use dpop::DpopKey;
use std::{collections::BTreeMap, sync::Arc};
use uuid::Uuid;

/// One dialect of token endpoint. Which one serves is chosen by [`Profile::dialect`].
#[async_trait]
pub trait Provider: Send + Sync {
    /// Spends the grant. The claim is the right to do so. Takes at most the profile's `exchange_timeout`
    /// for each request, and never repeats a request once a byte of it was written.
    async fn exchange(&self, claim: &Claim, exchange: &Exchange<'_>) -> Result<Answer, Failure>;

    /// The profile with the endpoints that its server announces, where it says to look for them; those that are
    /// written stay. Spends nothing. Fails if the server was never heard, or if what is needed is on a host that
    /// nobody has approved: the class is `NotSent`, `Policy` or `Configuration`.
    async fn resolved(&self, profile: &Arc<Profile>, needed: Endpoint) -> Result<Arc<Profile>, Failure>;

    /// Asks the server whether a refresh token is still good (RFC 7662). Spends nothing.
    async fn introspect(&self, claim: &Claim, question: &Question<'_>) -> Known;

    /// Looks whether the provider can be worked with from here. Sends no grant.
    async fn check(&self, check: &Check<'_>) -> Vec<Finding>;

    /// Asks the server to forget the grant. A server that does not know it any more counts as success.
    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<Revoked, Failure>;

    /// Asks for what a person needs before they can consent.
    async fn prepare(&self, preparation: &Preparation<'_>) -> Result<Prepared, Failure>;

    /// One step of a client that changes its own secrets, where the server lets it.
    async fn manage_secrets(&self, managing: &ManagingSecrets<'_>) -> Result<Managed, Failure>;
}

/// A client's dealing with its own secrets.
#[derive(Debug)]
pub struct ManagingSecrets<'a> {
    pub profile: &'a Profile,
    /// With the credentials that may ask.
    pub client: &'a ClientIdentity,
    pub step: SecretStep<'a>,
    pub correlation_id: Uuid,
}

/// Ids are the server's.
#[derive(Debug, Clone, Copy)]
pub enum SecretStep<'a> {
    List,
    Create,
    Activate(&'a str),
    /// A token request, and nothing else.
    Prove,
    Deactivate(&'a str),
    /// One that is gone already counts as success.
    Delete(&'a str),
}

/// What came of a step.
#[derive(Debug)]
pub enum Managed {
    Done,
    Listed(Vec<Listed>),
    Created { id: String, value: ClientSecret },
}

/// What is spent.
#[derive(Debug)]
pub enum Grant {
    /// RFC 6749 §6.
    RefreshToken(RefreshToken),
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// SAP Concur: `password` with `credtype=authtoken`. Good for 24 hours and a few uses; never stored.
    CompanyRequestToken { company_uuid: String, request_token: Secret },
    /// RFC 6749 §4.1.3. `redirect_uri` as it was in the request for the code, and the verifier where there was a
    /// challenge (RFC 7636).
    AuthorizationCode { code: Secret, redirect_uri: Option<String>, code_verifier: Option<Secret> },
    /// RFC 8628 §3.4. Asked again while the person has not decided: one exchange is one poll.
    DeviceCode { device_code: Secret },
    /// RFC 6749 §4.3; SAP Concur: `credtype=password`.
    Password { username: String, password: Secret },
    /// SAP Concur: what came by mail. The parameters are those that were sent when it was asked for.
    Otp { otp: Secret, email: String, parameters: BTreeMap<String, String> },
    /// RFC 7523 §2.1: a JWT that somebody else has signed.
    JwtBearer { assertion: Secret },
    /// RFC 7522 §2.1: a SAML assertion that somebody else has signed, in base64url.
    SamlBearer { assertion: Secret },
    /// RFC 7523 §2.1: the broker signs for this subject with the client's private key, at every exchange.
    JwtSubject { subject: String },
    /// RFC 8693.
    TokenExchange(TokenExchange),
}

/// RFC 8693 §2.1.
#[derive(Debug)]
pub struct TokenExchange {
    pub subject_token: Secret,
    /// A token type URI of §3.
    pub subject_token_type: String,
    /// The token of who acts for the subject, and its type URI.
    pub actor: Option<(Secret, String)>,
    pub requested_token_type: Option<String>,
    /// Logical names of the services that the token is for.
    pub audiences: Vec<String>,
    /// RFC 8707: URIs of the services that the token is for.
    pub resources: Vec<String>,
}

/// Everything that one exchange needs.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub profile: &'a Profile,
    pub client: &'a ClientIdentity,
    pub grant: &'a Grant,
    /// Sent as `scope`; empty sends none, and the server gives what was granted.
    pub scopes: &'a [String],
    /// Sent as `resource`, once for each (RFC 8707 §2.2).
    pub resources: &'a [String],
    /// Scopes that were granted before: an answer may not exceed them. Empty before the first answer.
    pub granted: &'a [String],
    /// Where the present token is good (SAP Concur: geolocation): the next request goes there.
    pub api_base_url: Option<&'a str>,
    /// What the tokens are bound to (RFC 9449), and what proves it; `None`: they are not.
    pub dpop: Option<&'a DpopKey>,
    /// For whom the answer must be; `None` before the first answer.
    pub principal: Option<&'a Principal>,
    /// Goes to the server where it takes one, and into our logs.
    pub correlation_id: Uuid,
}

/// What a server answered with 2xx. Secrets first: whatever else is wrong with an answer, the refresh token in it is kept.
#[derive(Debug)]
pub struct Answer {
    /// A changed or repeated refresh token, if there was one.
    pub refresh_token: Option<RefreshToken>,
    pub refresh_expires_at: Option<Timestamp>,
    /// The access token, or why there is none that can be used.
    pub access: Result<Issued, Failure>,
    /// As the server gave them; `None` where it said nothing.
    pub scopes: Option<Vec<String>>,
    /// Where the token is good from now on, normalised and on the list of allowed hosts.
    pub api_base_url: Option<String>,
    pub principal: Option<Principal>,
    /// What an `id_token` beside the tokens says; nobody's right.
    pub identity: Option<Identity>,
    pub correlation_id: Option<String>,
}

/// Claims of an `id_token` (OpenID Connect Core §2), unverified.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub issuer: Option<String>,
    pub subject: Option<String>,
    pub audience: Vec<String>,
    pub nonce: Option<String>,
}

impl std::fmt::Debug for Identity {
    /// They speak of people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[identity]")
    }
}

#[derive(Debug)]
pub struct Issued {
    pub access_token: AccessToken,
    /// When the request was sent.
    pub issued_at: Timestamp,
    /// The earlier of `issued_at` plus `expires_in` and the `exp` of a JWT.
    pub expires_at: Timestamp,
    /// Whether it is good without a proof.
    pub binding: Binding,
}

/// Whether a token is good for whoever has it (RFC 6750), or only together with its key (RFC 9449).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    Bearer,
    Bound,
}

/// What is to be revoked.
#[derive(Debug)]
pub struct Revocation<'a> {
    pub profile: &'a Profile,
    pub client: &'a ClientIdentity,
    pub refresh_token: Option<&'a RefreshToken>,
    pub access_token: Option<&'a AccessToken>,
    pub api_base_url: Option<&'a str>,
    pub correlation_id: Uuid,
}

/// What is to be looked at.
#[derive(Debug)]
pub struct Check<'a> {
    pub profile: &'a Arc<Profile>,
    /// Whose authentication is tried too.
    pub client: Option<&'a ClientIdentity>,
    /// Grants that the client may use.
    pub grants: &'a [GrantKind],
}

/// What is to be known of a refresh token.
#[derive(Debug)]
pub struct Question<'a> {
    pub profile: &'a Profile,
    pub client: &'a ClientIdentity,
    pub refresh_token: &'a RefreshToken,
}

/// How far a revocation went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    Whole,
    /// The grant is gone, and the access token lives until it expires: the server does not revoke access tokens, or
    /// failed to revoke this one.
    AccessTokenLives(Option<Failure>),
}

impl Grant {
    /// A one-time credential and a lasting grant are judged differently when they are refused.
    pub const fn stage(&self) -> Stage {
        match self {
            Self::RefreshToken(_) | Self::ClientCredentials | Self::JwtSubject { .. } => Stage::Steady,
            Self::CompanyRequestToken { .. }
            | Self::AuthorizationCode { .. }
            | Self::DeviceCode { .. }
            | Self::Password { .. }
            | Self::Otp { .. }
            | Self::JwtBearer { .. }
            | Self::SamlBearer { .. }
            | Self::TokenExchange(_) => Stage::Bootstrap,
        }
    }
}
