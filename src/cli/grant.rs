//! The ways to authorize a connection that the command line offers, each with the input it needs.

use super::{console::Console, failure::Failure, secret::secret_args, times::parse_time};
use crate::api;
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

/// Credentials are used within the call and never kept.
#[derive(Debug, Subcommand)]
pub(super) enum GrantCommand {
    /// The client acts for itself (RFC 6749 section 4.4)
    ClientCredentials(ClientCredentials),
    /// Take over a refresh token obtained elsewhere; its former owner has to stop using it
    RefreshToken(RefreshToken),
    /// A request token made by an administrator of a company (SAP Concur)
    CompanyRequestToken(CompanyRequestToken),
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
        };
        Ok(api::Grant { kind: Some(kind) })
    }
}
