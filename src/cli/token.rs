//! `bursar token`: an access token for a script or a person.

use super::{
    ApiArgs,
    console::{Console, Format},
    failure::Failure,
    secret,
    session::Session,
    times::parse_span,
};
use crate::{
    api::{DegradedReason, GetTokenRequest, Token},
    clock::{Clock, SystemClock},
    domain::{names::ConnectionName, token::Secret},
    provider::dpop::DpopKey,
};
use clap::{Args, Subcommand};
use std::{path::PathBuf, time::Duration};

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
    /// PEM file of the key that the token is bound to; a proof is signed with it (RFC 9449)
    #[arg(long, value_name = "FILE")]
    dpop_key_file: Option<PathBuf>,
    /// Ask for it, and say until when it is good instead of printing it: for checks whose output is kept
    #[arg(long)]
    check: bool,
}

impl TokenCommand {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let Self::Get(get) = self;
        let session = Session::open(api).await?;
        let (name, shown) = (get.name.to_string(), get.shown());
        let mut token = session.wait(session.tokens().get_token(get.request()?)).await?;
        match (shown, api.output) {
            (Shown::Token, format) => print(&token, format, console),
            (Shown::Expiry, Format::Table) => {
                usable(&token)?;
                tell_why_old(&token, console);
                let expires =
                    token.expire_time.as_ref().map_or_else(String::new, |time| format!(" until {time}"));
                console.print(&format!("{name}: there is a token, good{expires}\n"))
            }
            (Shown::Expiry, format @ (Format::Json | Format::Yaml)) => {
                usable(&token)?;
                token.access_token = String::new();
                console.show(&token, format)
            }
        }
    }
}

/// What is printed of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Token,
    /// Everything but the token.
    Expiry,
}

impl Get {
    fn shown(&self) -> Shown {
        if self.check { Shown::Expiry } else { Shown::Token }
    }

    fn request(self) -> Result<GetTokenRequest, Failure> {
        let min_lifetime = self.min_lifetime.map(prost_types::Duration::try_from).transpose();
        let dpop_proof = match &self.dpop_key_file {
            None => String::new(),
            Some(file) => proof(&secret::read_file(file, "DPoP key")?, &self.name)?,
        };
        Ok(GetTokenRequest {
            name: self.name.to_string(),
            scopes: self.scopes,
            min_lifetime: min_lifetime.map_err(|error| Failure::Usage(error.to_string()))?,
            audience: self.audience.unwrap_or_default(),
            dpop_proof,
        })
    }
}

/// What keeps the broker from replacing the token, and what to look at.
const fn meaning(reason: DegradedReason) -> &'static str {
    match reason {
        DegradedReason::Unspecified => "all is well",
        DegradedReason::ProviderUnavailable => "the provider cannot be reached or fails, and is tried again",
        DegradedReason::ProviderThrottled => "the provider asks for fewer requests, and is tried again later",
        DegradedReason::ProviderMalformedAnswer => {
            "the provider's answers are not usable: see `last_failure`"
        }
        DegradedReason::ProviderConfiguration => {
            "the provider refuses the request: compare its profile and the client's registration"
        }
        DegradedReason::ClientRefused => "the provider refuses the client: check its id and secret",
        DegradedReason::GrantAtRisk => {
            "it is not known whether its grant still works: have somebody ready to authorize"
        }
        DegradedReason::NeedsReauthorization => {
            "there will be no other one before somebody authorizes it again"
        }
        DegradedReason::StoreUnavailable => "the store is away or full, so nothing is refreshed",
        DegradedReason::KeyUnavailable => "the key to seal a new one cannot be had, so nothing is refreshed",
        DegradedReason::RefreshSlow => "a refresh is under way and takes long",
    }
}

/// Proves to the broker that the key is at hand. The API that the token is for wants another proof, made for it.
fn proof(pem: &Secret, name: &ConnectionName) -> Result<String, Failure> {
    let unusable = |err| Failure::Usage(format!("the key of --dpop-key-file {err}"));
    let key = DpopKey::from_pem(pem).map_err(unusable)?;
    let proof = key.prove("POST", &format!("bursar:{name}"), SystemClock.now(), None).map_err(unusable)?;
    Ok(proof.expose().to_owned())
}

/// What goes into a header must not be able to end it (RFC 6749 appendix A.12).
fn usable(token: &Token) -> Result<(), Failure> {
    if token.access_token.is_empty() || !token.access_token.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(Failure::Local(anyhow::anyhow!("the server answered without a usable token")));
    }
    Ok(())
}

fn print(token: &Token, format: Format, console: &mut Console) -> Result<(), Failure> {
    if format != Format::Table {
        return console.show(token, format);
    }
    usable(token)?;
    tell_why_old(token, console);
    console.print(&format!("{}\n", token.access_token))
}

fn tell_why_old(token: &Token, console: &mut Console) {
    match token.degraded_reason() {
        DegradedReason::Unspecified => {}
        reason => {
            let word = reason.as_str_name().trim_start_matches("DEGRADED_REASON_");
            console.note(&format!("{word}: the token is good until it expires; {}", meaning(reason)));
        }
    }
}
