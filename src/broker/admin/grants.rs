//! What a connection is started with: which grants may be, where they are exchanged, and what of them is kept.

use super::{Admin, AdminError, tenant_missing};
use crate::{
    clock::Timestamp,
    domain::{
        client::Client,
        connection::{Connection, Principal, PrincipalKind},
        profile::{ClientAuth, GrantKind, Profile},
        token::{RefreshToken, Secret},
    },
    provider::{Grant, TokenExchange, hosts},
    seal::Place,
};

/// What a connection is started with.
#[derive(Debug)]
pub enum NewGrant {
    ClientCredentials {
        at: Option<Location>,
    },
    RefreshToken {
        token: RefreshToken,
        api_base_url: Option<String>,
        expires_at: Option<Timestamp>,
    },
    CompanyRequestToken {
        company_uuid: String,
        request_token: Secret,
        api_base_url: Option<String>,
    },
    /// A code that reached another front end.
    AuthorizationCode {
        code: Secret,
        redirect_uri: Option<String>,
        code_verifier: Option<Secret>,
        api_base_url: Option<String>,
    },
    Password {
        username: String,
        password: Secret,
    },
    /// An assertion signed elsewhere: a JWT.
    JwtBearer {
        assertion: Secret,
    },
    /// The broker signs for this subject, at every exchange.
    JwtSubject {
        subject: String,
    },
    /// An assertion signed elsewhere: SAML, in base64url.
    SamlBearer {
        assertion: Secret,
    },
    TokenExchange(TokenExchange),
    /// What a person has to consent to first.
    Person(GrantKind),
}

/// Where an app's token is asked for, with providers that have more than one place.
#[derive(Debug)]
pub enum Location {
    DataCenter(String),
    BaseUrl(String),
}

impl NewGrant {
    pub const fn kind(&self) -> GrantKind {
        match self {
            Self::ClientCredentials { .. } => GrantKind::ClientCredentials,
            Self::RefreshToken { .. } => GrantKind::RefreshToken,
            Self::CompanyRequestToken { .. } => GrantKind::CompanyRequestToken,
            Self::AuthorizationCode { .. } => GrantKind::AuthorizationCode,
            Self::Password { .. } => GrantKind::Password,
            Self::JwtBearer { .. } | Self::JwtSubject { .. } => GrantKind::JwtBearer,
            Self::SamlBearer { .. } => GrantKind::SamlBearer,
            Self::TokenExchange(_) => GrantKind::TokenExchange,
            Self::Person(kind) => *kind,
        }
    }

    /// Where the first request goes, checked against the provider's hosts before anything is sent.
    pub(super) fn base_url(&self, profile: &Profile) -> Result<Option<String>, AdminError> {
        let (field, given) = match self {
            Self::ClientCredentials { at: None }
            | Self::Password { .. }
            | Self::JwtBearer { .. }
            | Self::JwtSubject { .. }
            | Self::SamlBearer { .. }
            | Self::TokenExchange(_)
            | Self::Person(_) => return Ok(None),
            Self::ClientCredentials { at: Some(Location::DataCenter(id)) } => {
                let known = || profile.data_centers.keys().cloned().collect::<Vec<_>>().join(", ");
                let url = profile.data_centers.get(id).ok_or_else(|| AdminError::Invalid {
                    field: "grant.client_credentials.data_center",
                    problem: format!("is not one of {}'s: {}", profile.name, known()),
                })?;
                ("grant.client_credentials.data_center", Some(url.as_str()))
            }
            Self::ClientCredentials { at: Some(Location::BaseUrl(url)) } => {
                ("grant.client_credentials.token_host", Some(url.as_str()))
            }
            Self::RefreshToken { api_base_url, .. } => {
                ("grant.refresh_token.api_base_url", api_base_url.as_deref())
            }
            Self::CompanyRequestToken { api_base_url, .. } => {
                ("grant.company_request_token.api_base_url", api_base_url.as_deref())
            }
            Self::AuthorizationCode { api_base_url, .. } => {
                ("grant.authorization_code.api_base_url", api_base_url.as_deref())
            }
        };
        given
            .map(|url| hosts::base_url(profile, url))
            .transpose()
            .map_err(|problem| AdminError::Invalid { field, problem: problem.clone() })
    }
}

/// Whether provider and client let a connection be started with this grant and these scopes.
pub(super) fn allowed(
    given: &NewGrant,
    scopes: &[String],
    client: &Client,
    profile: &Profile,
) -> Result<(), AdminError> {
    let grant = given.kind();
    if !profile.grants.contains(&grant) {
        return Err(AdminError::GrantNotOffered { grant, provider: profile.name.to_string() });
    }
    if !client.allows_grant(grant) {
        return Err(AdminError::GrantNotAllowed { grant });
    }
    if matches!(given, NewGrant::JwtSubject { .. }) && !client.can_use(ClientAuth::PrivateKeyJwt) {
        return Err(AdminError::Invalid {
            field: "grant.jwt_bearer.subject",
            problem: "needs a client with a private key to sign with: give the client one, or send an assertion that \
                      was signed elsewhere"
                .to_owned(),
        });
    }
    match client.forbidden_scope(scopes) {
        Some(scope) => Err(AdminError::ScopeNotAllowed { scope: scope.clone() }),
        None => Ok(()),
    }
}

impl Admin {
    /// Puts the grant into the record, sealed; or gives it back, if it is never stored.
    pub(super) async fn start_with(
        &self,
        connection: &mut Connection,
        grant: NewGrant,
    ) -> Result<Option<Grant>, AdminError> {
        connection.grant = grant.kind();
        match grant {
            NewGrant::ClientCredentials { .. } | NewGrant::Person(_) => Ok(None),
            NewGrant::RefreshToken { token, expires_at, .. } => {
                let owner = connection.name.owner();
                let keys = self.keys.sealing(&owner).await.map_err(|err| tenant_missing(err, &owner))?;
                let resource = connection.name.to_string();
                let (family, generation) = (connection.family, connection.generation);
                let place = Place { resource: &resource, family, generation };
                connection.refresh_token = Some(keys.seal(&place, &token)?);
                connection.refresh_expires_at = expires_at;
                Ok(None)
            }
            NewGrant::JwtSubject { subject } => {
                connection.subject = Some(subject);
                Ok(None)
            }
            NewGrant::AuthorizationCode { code, redirect_uri, code_verifier, .. } => {
                Ok(Some(Grant::AuthorizationCode { code, redirect_uri, code_verifier }))
            }
            NewGrant::Password { username, password } => Ok(Some(Grant::Password { username, password })),
            NewGrant::JwtBearer { assertion } => Ok(Some(Grant::JwtBearer { assertion })),
            NewGrant::SamlBearer { assertion } => Ok(Some(Grant::SamlBearer { assertion })),
            NewGrant::TokenExchange(given) => Ok(Some(Grant::TokenExchange(given))),
            NewGrant::CompanyRequestToken { company_uuid, request_token, .. } => {
                connection.principal =
                    Some(Principal { kind: PrincipalKind::Company, id: company_uuid.clone() });
                Ok(Some(Grant::CompanyRequestToken { company_uuid, request_token }))
            }
        }
    }
}
