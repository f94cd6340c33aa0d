//! The ways to authorize a connection that the command line offers, each with the input it needs.

use super::{
    console::Console,
    failure::Failure,
    secret::{SecretArgs as _, Source, secret_args},
    times::parse_time,
};
use crate::{api, domain::token::Secret};
use clap::{Args, Subcommand};
use prost_types::Timestamp;

secret_args! {
    /// Where the refresh token is.
    RefreshTokenSource, "refresh-token", "refresh token"
}

secret_args! {
    /// Where the company request token is.
    RequestTokenSource, "request-token", "company request token"
}

secret_args! {
    /// Where the authorization code is.
    CodeSource, "code", "authorization code"
}

secret_args! {
    /// Where the PKCE verifier is; not asked for.
    CodeVerifierSource, "code-verifier", "PKCE code verifier"
}

secret_args! {
    /// Where the password is.
    PasswordSource, "password", "password"
}

secret_args! {
    /// Where the assertion is.
    AssertionSource, "assertion", "assertion"
}

secret_args! {
    /// Where the token to exchange is.
    SubjectTokenSource, "subject-token", "token to exchange"
}

secret_args! {
    /// Where the actor's token is; not asked for.
    ActorTokenSource, "actor-token", "token of the acting party"
}

/// Credentials are used within the call and never kept.
#[derive(Debug, Subcommand)]
pub(super) enum GrantCommand {
    /// The client acts for itself (RFC 6749 section 4.4)
    ClientCredentials(ClientCredentials),
    /// Take over a refresh token obtained elsewhere; its former owner has to stop using it
    RefreshToken(RefreshToken),
    /// A request token made by an administrator of a company (SAP Concur)
    CompanyRequestToken(CompanyRequestToken),
    /// A code that reached another front end (RFC 6749 section 4.1.3)
    AuthorizationCode(AuthorizationCode),
    /// A user name and a password, used once and not kept (RFC 6749 section 4.3)
    Password(Password),
    /// A signed JWT (RFC 7523): one signed elsewhere, or one that the broker signs for a subject at every refresh
    JwtBearer(JwtBearer),
    /// A signed SAML 2.0 assertion in base64url, used once (RFC 7522)
    SamlBearer(SamlBearer),
    /// Another token, exchanged for one of this provider (RFC 8693)
    TokenExchange(TokenExchange),
}

#[derive(Debug, Args)]
pub(super) struct ClientCredentials {
    /// Data center of the provider to ask for tokens, for example eu2
    #[arg(long, value_name = "ID", conflicts_with = "token_host")]
    data_center: Option<String>,
    /// Host to ask for tokens, one of the provider's allowed hosts
    #[arg(long, value_name = "HOST")]
    token_host: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RefreshToken {
    #[command(flatten)]
    token: RefreshTokenSource,
    /// Base URL at which the token was good (SAP Concur: the geolocation)
    #[arg(long, value_name = "URL")]
    api_base_url: Option<String>,
    /// When the refresh token expires, in RFC 3339
    #[arg(long = "refresh-token-expire-time", value_name = "TIME", value_parser = parse_time)]
    expire_time: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(super) struct CompanyRequestToken {
    /// UUID of the company
    #[arg(long, value_name = "UUID")]
    company_uuid: String,
    #[command(flatten)]
    token: RequestTokenSource,
    /// Base URL to start at; the default is the provider's global entry point
    #[arg(long, value_name = "URL")]
    api_base_url: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct AuthorizationCode {
    #[command(flatten)]
    code: CodeSource,
    /// Redirect URI that the code was issued to
    #[arg(long, value_name = "URI")]
    redirect_uri: Option<String>,
    #[command(flatten)]
    code_verifier: CodeVerifierSource,
    /// Base URL that came with the code (SAP Concur: the geolocation)
    #[arg(long, value_name = "URL")]
    api_base_url: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Password {
    /// The user name
    #[arg(long, value_name = "NAME")]
    username: String,
    #[command(flatten)]
    password: PasswordSource,
}

#[derive(Debug, Args)]
pub(super) struct JwtBearer {
    /// Subject for which the broker signs with the client's private key, instead of an assertion
    #[arg(long, value_name = "SUBJECT", conflicts_with_all = ["assertion-file", "assertion-env"])]
    subject: Option<String>,
    #[command(flatten)]
    assertion: AssertionSource,
}

#[derive(Debug, Args)]
pub(super) struct SamlBearer {
    #[command(flatten)]
    assertion: AssertionSource,
}

/// What most tokens to exchange are (RFC 8693 section 3).
const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

#[derive(Debug, Args)]
pub(super) struct TokenExchange {
    #[command(flatten)]
    subject_token: SubjectTokenSource,
    /// What the token to exchange is: a token type URI of RFC 8693 section 3
    #[arg(long, value_name = "URI", default_value = ACCESS_TOKEN_TYPE)]
    subject_token_type: String,
    #[command(flatten)]
    actor_token: ActorTokenSource,
    /// What the actor's token is
    #[arg(long, value_name = "URI")]
    actor_token_type: Option<String>,
    /// Token type URI to ask for
    #[arg(long, value_name = "URI")]
    requested_token_type: Option<String>,
    /// Name of a service the token is for, repeatable
    #[arg(long = "for-audience", value_name = "NAME")]
    audiences: Vec<String>,
    /// URI of a service the token is for, repeatable
    #[arg(long = "for-resource", value_name = "URI")]
    resources: Vec<String>,
}

/// A secret that may be left out: a prompt would ask for what there is not.
fn given(source: &Source, read: impl FnOnce() -> Result<Secret, Failure>) -> Result<String, Failure> {
    match source {
        Source::Prompt => Ok(String::new()),
        Source::File(_) | Source::Variable(_) | Source::Stdin => Ok(read()?.expose().to_owned()),
    }
}

impl AuthorizationCode {
    fn read(self, console: &mut Console) -> Result<api::AuthorizationCodeGrant, Failure> {
        Ok(api::AuthorizationCodeGrant {
            code: self.code.read(console)?.expose().to_owned(),
            redirect_uri: self.redirect_uri.unwrap_or_default(),
            code_verifier: given(&self.code_verifier.source(), || self.code_verifier.read(console))?,
            api_base_url: self.api_base_url.unwrap_or_default(),
        })
    }
}

impl TokenExchange {
    fn read(self, console: &mut Console) -> Result<api::TokenExchangeGrant, Failure> {
        let actor_token = given(&self.actor_token.source(), || self.actor_token.read(console))?;
        Ok(api::TokenExchangeGrant {
            subject_token: self.subject_token.read(console)?.expose().to_owned(),
            subject_token_type: self.subject_token_type,
            actor_token,
            actor_token_type: self.actor_token_type.unwrap_or_default(),
            requested_token_type: self.requested_token_type.unwrap_or_default(),
            audiences: self.audiences,
            resources: self.resources,
        })
    }
}

impl JwtBearer {
    fn read(self, console: &mut Console) -> Result<api::JwtBearerGrant, Failure> {
        use api::jwt_bearer_grant::Source;
        let source = match self.subject {
            Some(subject) => Source::Subject(subject),
            None => Source::Assertion(self.assertion.read(console)?.expose().to_owned()),
        };
        Ok(api::JwtBearerGrant { source: Some(source) })
    }
}

impl GrantCommand {
    /// The grant for the wire; asks for its secret where it has one.
    pub(super) fn read(self, console: &mut Console) -> Result<api::Grant, Failure> {
        use api::{client_credentials_grant::Location, grant::Kind};
        let kind = match self {
            Self::ClientCredentials(ClientCredentials { data_center, token_host }) => {
                let location = data_center.map(Location::DataCenter).or(token_host.map(Location::TokenHost));
                Kind::ClientCredentials(api::ClientCredentialsGrant { location })
            }
            Self::RefreshToken(args) => Kind::RefreshToken(api::RefreshTokenGrant {
                refresh_token: args.token.read(console)?.expose().to_owned(),
                api_base_url: args.api_base_url.unwrap_or_default(),
                refresh_token_expire_time: args.expire_time,
            }),
            Self::CompanyRequestToken(args) => Kind::CompanyRequestToken(api::CompanyRequestTokenGrant {
                company_uuid: args.company_uuid,
                request_token: args.token.read(console)?.expose().to_owned(),
                api_base_url: args.api_base_url.unwrap_or_default(),
            }),
            Self::AuthorizationCode(args) => Kind::AuthorizationCode(args.read(console)?),
            Self::Password(args) => Kind::Password(api::PasswordGrant {
                username: args.username,
                password: args.password.read(console)?.expose().to_owned(),
            }),
            Self::JwtBearer(args) => Kind::JwtBearer(args.read(console)?),
            Self::SamlBearer(args) => {
                let assertion = args.assertion.read(console)?.expose().to_owned();
                Kind::SamlBearer(api::SamlBearerGrant { assertion })
            }
            Self::TokenExchange(args) => Kind::TokenExchange(args.read(console)?),
        };
        Ok(api::Grant { kind: Some(kind) })
    }
}
