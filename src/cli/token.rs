//! `bursar token`: an access token for a script or a person.

use super::{
    ApiArgs,
    console::{Console, Format},
    failure::Failure,
    session::Session,
    times::parse_span,
};
use crate::{
    api::{DegradedReason, GetTokenRequest, Token},
    domain::names::ConnectionName,
};
use clap::{Args, Subcommand};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Print an access token of a connection: the token alone, or with --output json all about it
    Get(Get),
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The connection, `tenants/{tenant}/connections/{connection}`
    name: ConnectionName,
    /// A scope the token is to have, repeatable; none: all that were granted
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// For how long the token has to live at least, for example 5m; the server's default is 30s
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    min_lifetime: Option<Duration>,
    /// The service the token is for, where the provider has such a thing
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
}

impl TokenCommand {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let Self::Get(get) = self;
        let session = Session::open(api).await?;
        let token = session.wait(session.tokens().get_token(get.request()?)).await?;
        print(&token, api.output, console)
    }
}

impl Get {
    fn request(self) -> Result<GetTokenRequest, Failure> {
        let min_lifetime = self.min_lifetime.map(prost_types::Duration::try_from).transpose();
        Ok(GetTokenRequest {
            name: self.name.to_string(),
            scopes: self.scopes,
            min_lifetime: min_lifetime.map_err(|error| Failure::Usage(error.to_string()))?,
            audience: self.audience.unwrap_or_default(),
        })
    }
}

fn print(token: &Token, format: Format, console: &mut Console) -> Result<(), Failure> {
    if format != Format::Table {
        return console.show(token, format);
    }
    // What goes into a header must not be able to end it (RFC 6749 appendix A.12).
    if token.access_token.is_empty() || !token.access_token.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(Failure::Local(anyhow::anyhow!("the server answered without a usable token")));
    }
    match token.degraded_reason() {
        DegradedReason::Unspecified => {}
        reason => {
            let reason = reason.as_str_name().trim_start_matches("DEGRADED_REASON_");
            console.note(&format!("the token is good but overdue for replacement: {reason}"));
        }
    }
    console.print(&format!("{}\n", token.access_token))
}
