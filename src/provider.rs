//! Talks to authorization servers. Takes plain data and opened secrets, gives back an answer or a judged
//! failure; knows neither the store nor the seal, and remembers nothing between two exchanges.

pub mod catalogue;
pub mod egress;
pub mod hosts;

mod answer;
mod client_auth;
mod concur;
mod dialects;
mod jwt;
mod line;
mod oauth2;
#[cfg(test)]
mod rig;

pub use dialects::Providers;

use crate::{
    clock::Timestamp,
    domain::{
        connection::Principal,
        failure::{Failure, Stage},
        profile::{ClientAuth, Profile},
        token::{AccessToken, ClientSecret, RefreshToken, Secret},
    },
    store::claim::Claim,
};
use async_trait::async_trait;
use uuid::Uuid;

/// One dialect of token endpoint. Which one serves is chosen by [`Profile::dialect`].
#[async_trait]
pub trait Provider: Send + Sync {
    /// Spends the grant. The claim is the right to do so. Takes at most the profile's `exchange_timeout`
    /// for each request, and never repeats a request once a byte of it was written.
    async fn exchange(&self, claim: &Claim, exchange: &Exchange<'_>) -> Result<Answer, Failure>;

    /// Asks the server to forget the grant. A server that does not know it any more counts as success.
    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<(), Failure>;
}

/// Who asks, in the eyes of the server.
#[derive(Debug)]
pub struct ClientIdentity {
    pub client_id: String,
    pub auth: ClientAuth,
    /// The active secrets, the newest first. When the server refuses the client, the next one is tried.
    pub secrets: Vec<ClientSecret>,
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
}

/// Everything that one exchange needs.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub profile: &'a Profile,
    pub client: &'a ClientIdentity,
    pub grant: &'a Grant,
    /// Sent as `scope`; empty sends none, and the server gives what was granted.
    pub scopes: &'a [String],
    /// Scopes that were granted before: an answer may not exceed them. Empty before the first answer.
    pub granted: &'a [String],
    /// Where the present token is good (SAP Concur: geolocation): the next request goes there.
    pub api_base_url: Option<&'a str>,
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
    pub correlation_id: Option<String>,
}

#[derive(Debug)]
pub struct Issued {
    pub access_token: AccessToken,
    /// When the request was sent.
    pub issued_at: Timestamp,
    /// The earlier of `issued_at` plus `expires_in` and the `exp` of a JWT.
    pub expires_at: Timestamp,
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

impl Grant {
    /// A one-time credential and a lasting grant are judged differently when they are refused.
    pub const fn stage(&self) -> Stage {
        match self {
            Self::RefreshToken(_) | Self::ClientCredentials => Stage::Steady,
            Self::CompanyRequestToken { .. } => Stage::Bootstrap,
        }
    }
}
