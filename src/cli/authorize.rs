//! `bursar connection authorize`: leads a person through an authorization, or hands over a grant that needs nobody.
//! Never opens a browser where nobody sits, and never lets an authorization end because somebody stopped waiting.

mod prompts;
mod qr;
mod told;
mod wait;

use super::{
    ApiArgs,
    console::{Console, Format},
    failure::Failure,
    grant::GrantCommand,
    secret::{self, SecretArgs as _, secret_args},
    session::Session,
    values::parse_label,
};
use crate::{
    api::{
        self, AuthorizationCodeGrant, AuthorizationCodeResult, AuthorizationCodeStart,
        CompleteAuthorizationRequest, Connection, CreateConnectionRequest, DeviceCodeGrant, DeviceCodeStart,
        GetConnectionRequest, OtpGrant, OtpResult, OtpStart, StartAuthorizationRequest,
        complete_authorization_request::Completion, grant::Kind, start_authorization_request::Method,
        start_authorization_response::NextStep,
    },
    domain::names::{ClientName, ConnectionName},
};
use clap::Args;
use std::path::PathBuf;

secret_args! {
    /// Where the query of the redirect is.
    RedirectQuerySource, "redirect-query", "query of the redirect"
}

secret_args! {
    /// Where the one-time password is.
    OtpPasswordSource, "otp-password", "one-time password"
}

const WAYS: &str = "\
Without GRANT a person consents: in a browser, with --device on another device, or with --otp by a one-time password.
Ctrl-C only stops waiting: the authorization stays open at the broker until its time is over.

Exit codes: 0 authorized, 1 failed, 2 usage, 3 denied by the person or out of time, 4 the caller has no right,
130 stopped waiting.";

#[derive(Debug, Args)]
#[command(subcommand_value_name = "GRANT", subcommand_help_heading = "Grants that need no person", after_help = WAYS)]
pub(super) struct Authorize {
    /// The connection, `tenants/{tenant}/connections/{connection}`
    name: ConnectionName,
    /// Let another user or company take the connection over than the one it was for
    #[arg(long, conflicts_with = "create")]
    allow_other_principal: bool,
    #[command(flatten)]
    first: First,
    #[command(flatten)]
    browser: ByBrowser,
    #[command(flatten)]
    device: ByDevice,
    #[command(flatten)]
    otp: ByOtp,
    #[command(subcommand)]
    grant: Option<GrantCommand>,
}

/// What creates the connection first.
#[derive(Debug, Args)]
#[command(next_help_heading = "A new connection")]
struct First {
    /// Create the connection first, PENDING
    #[arg(long, requires = "client")]
    create: bool,
    /// With --create: the client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
    #[arg(long, requires = "create")]
    client: Option<ClientName>,
    /// With --create: a scope to ask for, repeatable; none: the provider's default
    #[arg(long = "scope", value_name = "SCOPE", requires = "create")]
    requested_scopes: Vec<String>,
    /// With --create: URI of a service the tokens are to be for, repeatable (RFC 8707); none: the provider decides
    #[arg(long = "resource", value_name = "URI", requires = "create")]
    requested_resources: Vec<String>,
    /// With --create: PEM file of a P-256 key to bind the tokens to (RFC 9449); whoever uses the tokens needs it too
    #[arg(long, value_name = "FILE", requires = "create")]
    dpop_key_file: Option<PathBuf>,
    /// With --create: a label, repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label, requires = "create")]
    labels: Vec<(String, String)>,
}

/// Consent in a browser, on this machine or any other.
#[derive(Debug, Args)]
#[command(next_help_heading = "In a browser")]
struct ByBrowser {
    /// Print the URL, open nothing
    #[arg(long, conflicts_with_all = ["device", "otp"])]
    no_browser: bool,
    /// Whom the provider should suggest to log in
    #[arg(long, value_name = "HINT", conflicts_with_all = ["device", "otp"])]
    login_hint: Option<String>,
    /// Where the broker's callback sends the browser in the end
    #[arg(long, value_name = "URL", conflicts_with_all = ["device", "otp"])]
    return_uri: Option<String>,
    /// Redirect URI of a front end: print the URL, then ask for the query that the redirect brought there
    #[arg(long, value_name = "URL", conflicts_with_all = ["device", "otp", "return_uri"])]
    redirect_uri: Option<String>,
    #[command(flatten)]
    redirect_query: RedirectQuerySource,
}

/// Consent on another device.
#[derive(Debug, Args)]
#[command(next_help_heading = "On another device")]
struct ByDevice {
    /// Show a URL and a code to type there (RFC 8628)
    #[arg(long, conflicts_with = "otp")]
    device: bool,
    /// Show no QR code
    #[arg(long, requires = "device")]
    no_qr: bool,
}

/// A one-time password.
#[derive(Debug, Args)]
#[command(next_help_heading = "By a one-time password (SAP Concur)")]
struct ByOtp {
    /// Have a password sent to --email, then ask for it
    #[arg(long, requires = "email")]
    otp: bool,
    /// Mail address that the provider knows the person by
    #[arg(long, value_name = "ADDRESS", requires = "otp")]
    email: Option<String>,
    /// A parameter of the mail that the provider sends, such as `company=Acme`; repeatable
    #[arg(long = "mail-parameter", value_name = "KEY=VALUE", value_parser = parse_label, requires = "otp")]
    parameters: Vec<(String, String)>,
    #[command(flatten)]
    password: OtpPasswordSource,
}

impl Authorize {
    pub(super) async fn run(mut self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        if let Some(grant) = self.grant.take() {
            return self.hand_over(grant, api, console).await;
        }
        let session = Session::open(api).await?;
        if let Some(request) = self.creation()? {
            session.wait(session.connections().create_connection(request)).await?;
            console.note(&format!("{} is created and waits for its authorization", self.name));
        }
        let request = StartAuthorizationRequest {
            name: self.name.to_string(),
            method: Some(self.method()),
            allow_principal_change: self.allow_other_principal,
        };
        let started = session.wait(session.connections().start_authorization(request)).await?;
        let begun = self.look(&session).await?;
        if api.output != Format::Table {
            console.announce(&started, api.output);
        }
        let authorized = match &started.next_step {
            Some(NextStep::AuthorizationCode(prompt)) if self.browser.redirect_uri.is_some() => {
                prompts::front_end(prompt, console)?;
                self.complete_with_query(&session, console).await?
            }
            Some(NextStep::AuthorizationCode(prompt)) => {
                prompts::browser(prompt, self.browser.no_browser, console)?;
                wait::for_person(&session, &begun, started.expire_time, console).await?
            }
            Some(NextStep::DeviceCode(prompt)) => {
                prompts::device(prompt, self.device.no_qr, console)?;
                wait::for_person(&session, &begun, started.expire_time, console).await?
            }
            Some(NextStep::Otp(prompt)) => {
                prompts::password_sent(prompt, started.expire_time.as_ref(), console);
                self.complete_with_password(&session, console).await?
            }
            None => {
                return Err(Failure::Local(anyhow::anyhow!(
                    "the server began an authorization that this version of bursar does not know"
                )));
            }
        };
        match api.output {
            Format::Table => console.print(&told::granted(&authorized, &(console.now)())),
            Format::Json | Format::Yaml => console.show(&authorized, api.output),
        }
    }

    /// A grant that needs no person: one call.
    async fn hand_over(
        &self,
        grant: GrantCommand,
        api: &ApiArgs,
        console: &mut Console,
    ) -> Result<(), Failure> {
        if self.asks_for_a_person() {
            return Err(Failure::Usage(
                "GRANT needs no person: leave out the flags before it, or leave out GRANT; \
                 `bursar connection create` makes a connection with a grant"
                    .into(),
            ));
        }
        let request = CompleteAuthorizationRequest {
            name: self.name.to_string(),
            completion: Some(Completion::Grant(grant.read(console)?)),
        };
        let session = Session::open(api).await?;
        let authorized = session.wait(session.connections().complete_authorization(request)).await?;
        console.show(&authorized, api.output)
    }

    fn asks_for_a_person(&self) -> bool {
        let ByBrowser { no_browser, login_hint, return_uri, redirect_uri, redirect_query: _ } = &self.browser;
        let addressed = login_hint.is_some() || return_uri.is_some() || redirect_uri.is_some();
        self.first.create
            || self.allow_other_principal
            || *no_browser
            || addressed
            || self.device.device
            || self.otp.otp
    }

    fn creation(&self) -> Result<Option<CreateConnectionRequest>, Failure> {
        // clap sees to it that --create comes with a client.
        let Some(client) = self.first.client.as_ref().filter(|_| self.first.create) else { return Ok(None) };
        let kind = match (self.device.device, self.otp.otp) {
            (true, _) => Kind::DeviceCode(DeviceCodeGrant {}),
            (false, true) => Kind::Otp(OtpGrant {}),
            (false, false) => Kind::AuthorizationCode(AuthorizationCodeGrant::default()),
        };
        Ok(Some(CreateConnectionRequest {
            parent: self.name.tenant.to_string(),
            connection_id: self.name.id.to_string(),
            connection: Some(Connection {
                client: client.to_string(),
                requested_scopes: self.first.requested_scopes.clone(),
                requested_resources: self.first.requested_resources.clone(),
                labels: super::values::labels(self.first.labels.clone()),
                ..Connection::default()
            }),
            grant: Some(api::Grant { kind: Some(kind) }),
            dpop_key_pem: secret::dpop_key(self.first.dpop_key_file.as_deref())?,
        }))
    }

    fn method(&self) -> Method {
        match (&self.otp.email, self.device.device) {
            (Some(email), _) => Method::Otp(OtpStart {
                email: email.clone(),
                parameters: self.otp.parameters.iter().cloned().collect(),
            }),
            (None, true) => Method::DeviceCode(DeviceCodeStart {}),
            (None, false) => Method::AuthorizationCode(AuthorizationCodeStart {
                return_uri: self.browser.return_uri.clone().unwrap_or_default(),
                redirect_uri: self.browser.redirect_uri.clone().unwrap_or_default(),
                login_hint: self.browser.login_hint.clone().unwrap_or_default(),
            }),
        }
    }

    async fn look(&self, session: &Session) -> Result<Connection, Failure> {
        let request = GetConnectionRequest { name: self.name.to_string() };
        session.wait(session.connections().get_connection(request)).await
    }

    async fn complete_with_query(
        &self,
        session: &Session,
        console: &mut Console,
    ) -> Result<Connection, Failure> {
        let given = self.browser.redirect_query.read_or_stdin(console)?;
        let redirect_query = prompts::query_of(given.expose()).to_owned();
        self.complete(session, Completion::AuthorizationCode(AuthorizationCodeResult { redirect_query }))
            .await
    }

    async fn complete_with_password(
        &self,
        session: &Session,
        console: &mut Console,
    ) -> Result<Connection, Failure> {
        let otp = self.otp.password.read_or_stdin(console)?;
        let otp = otp.expose().trim().to_owned();
        self.complete(session, Completion::Otp(OtpResult { otp })).await
    }

    /// Whatever the person took their time for is over: the call has the whole time again.
    async fn complete(&self, session: &Session, completion: Completion) -> Result<Connection, Failure> {
        let session = session.renewed();
        let request =
            CompleteAuthorizationRequest { name: self.name.to_string(), completion: Some(completion) };
        session.wait(session.connections().complete_authorization(request)).await
    }
}
