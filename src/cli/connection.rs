//! `bursar connection`: authorizations held for tenants.

use super::{
    ApiArgs,
    authorize::Authorize,
    console::Console,
    failure::Failure,
    grant::GrantCommand,
    import::Import,
    secret,
    session::Session,
    values::{LabelChanges, ListArgs, Tenants, change, labels, parse_label},
};
use crate::{
    api::{
        Connection, CreateConnectionRequest, DeleteConnectionRequest, DisableConnectionRequest,
        EnableConnectionRequest, GetConnectionRequest, ListConnectionsRequest, RefreshConnectionRequest,
        RevokeConnectionRequest, UpdateConnectionRequest, connection::ScopeNarrowing,
    },
    domain::names::{ClientName, ConnectionName},
};
use clap::{Args, Subcommand};
use prost_types::FieldMask;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum ConnectionCommand {
    /// Create a connection with a grant
    Create(Box<Create>),
    /// List connections of a tenant, or of all tenants
    List(List),
    /// Show a connection
    Show(Named),
    /// Change labels, requested scopes or scope narrowing
    Update(Update),
    /// Give the authorization back at the provider, then forget the connection
    Delete(Delete),
    /// Have a person authorize a connection, the first time or again; its name stays
    Authorize(Box<Authorize>),
    /// Take over refresh tokens from a file, each proven by one refresh
    Import(Import),
    /// Refresh now, though it is not due
    Refresh(Named),
    /// Switch off: nothing is served or refreshed
    Disable(Guarded),
    /// Switch on again
    Enable(Guarded),
    /// Give the authorization back at the provider, but keep the connection
    ///
    /// SAP Concur ends all that this company or user has authorized the app to do, at other installations too.
    Revoke(Guarded),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The connection, `tenants/{tenant}/connections/{connection}`
    name: ConnectionName,
}

#[derive(Debug, Args)]
pub(super) struct Guarded {
    /// The connection, `tenants/{tenant}/connections/{connection}`
    name: ConnectionName,
    /// Do it only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
}

#[derive(Debug, Args)]
#[command(subcommand_value_name = "GRANT", subcommand_help_heading = "Grants")]
pub(super) struct Create {
    /// The connection, `tenants/{tenant}/connections/{connection}`
    name: ConnectionName,
    /// The client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
    #[arg(long)]
    client: ClientName,
    /// A scope to ask for, repeatable; none: the provider's default
    #[arg(long = "scope", value_name = "SCOPE")]
    requested_scopes: Vec<String>,
    /// URI of a service the tokens are to be for, repeatable (RFC 8707); none: the provider decides
    #[arg(long = "resource", value_name = "URI")]
    requested_resources: Vec<String>,
    /// What GetToken does about fewer scopes where the provider cannot narrow
    #[arg(long, value_enum)]
    scope_narrowing: Option<ScopeNarrowing>,
    /// A label, repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// PEM file of a P-256 key to bind the tokens to (RFC 9449); whoever uses the tokens needs it too
    #[arg(long, value_name = "FILE")]
    dpop_key_file: Option<PathBuf>,
    /// Succeed when there is such a connection of this client, and leave it as it is
    #[arg(long)]
    allow_existing: bool,
    #[command(subcommand)]
    grant: GrantCommand,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// `tenants/{tenant}`, or `tenants/-` for all tenants
    #[arg(default_value_t = Tenants::All)]
    parent: Tenants,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
#[command(group = change(["requested_scopes", "default_scopes", "requested_resources", "default_resources", "scope_narrowing", "set_labels", "removed_labels"]))]
pub(super) struct Update {
    /// The connection, `tenants/{tenant}/connections/{connection}`
    name: ConnectionName,
    /// A scope to ask for at the next authorization, repeatable; replaces all
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with = "default_scopes")]
    requested_scopes: Vec<String>,
    /// Ask for the provider's default scopes at the next authorization
    #[arg(long)]
    default_scopes: bool,
    /// URI of a service the tokens are to be for, repeatable (RFC 8707); replaces all
    #[arg(long = "resource", value_name = "URI", conflicts_with = "default_resources")]
    requested_resources: Vec<String>,
    /// Leave it to the provider for which services the tokens are
    #[arg(long)]
    default_resources: bool,
    /// What GetToken does about fewer scopes where the provider cannot narrow
    #[arg(long, value_enum)]
    scope_narrowing: Option<ScopeNarrowing>,
    #[command(flatten)]
    labels: LabelChanges,
    /// Change it only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The connection, `tenants/{tenant}/connections/{connection}`
    name: ConnectionName,
    /// Delete it only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
    /// Succeed when there is no such connection
    #[arg(long)]
    allow_missing: bool,
    /// Forget without giving back: the authorization lives on at the provider
    #[arg(long)]
    skip_revocation: bool,
}

impl ConnectionCommand {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        match self {
            Self::List(args) => args.run(api, console).await,
            Self::Delete(args) => args.run(api, console).await,
            Self::Authorize(args) => Box::pin(args.run(api, console)).await,
            Self::Import(args) => args.run(api, console).await,
            Self::Create(args) => {
                let (existing, name) = (args.allow_existing.into(), args.name.to_string());
                let client = args.client.to_string();
                let request = args.request(console)?;
                let session = Session::open(api).await?;
                let (mut creating, mut getting) = (session.connections(), session.connections());
                let get = Box::pin(getting.get_connection(GetConnectionRequest { name }));
                let create = Box::pin(creating.create_connection(request));
                let fits = |found: &Connection| found.client == client;
                console.show(&session.created(create, existing, get, fits).await?, api.output)
            }
            Self::Show(args) => {
                let session = Session::open(api).await?;
                let request = GetConnectionRequest { name: args.name.to_string() };
                console.show(&session.wait(session.connections().get_connection(request)).await?, api.output)
            }
            Self::Update(args) => {
                let session = Session::open(api).await?;
                let updated = session.wait(session.connections().update_connection(args.request())).await?;
                console.show(&updated, api.output)
            }
            Self::Refresh(args) => {
                let session = Session::open(api).await?;
                let request = RefreshConnectionRequest { name: args.name.to_string() };
                let refreshed = session.wait(session.connections().refresh_connection(request)).await?;
                console.show(&refreshed, api.output)
            }
            Self::Disable(args) => {
                let session = Session::open(api).await?;
                let (name, etag) = args.parts();
                let request = DisableConnectionRequest { name, etag };
                console
                    .show(&session.wait(session.connections().disable_connection(request)).await?, api.output)
            }
            Self::Enable(args) => {
                let session = Session::open(api).await?;
                let (name, etag) = args.parts();
                let request = EnableConnectionRequest { name, etag };
                console
                    .show(&session.wait(session.connections().enable_connection(request)).await?, api.output)
            }
            Self::Revoke(args) => {
                let session = Session::open(api).await?;
                let (name, etag) = args.parts();
                let request = RevokeConnectionRequest { name, etag };
                console
                    .show(&session.wait(session.connections().revoke_connection(request)).await?, api.output)
            }
        }
    }
}

impl Guarded {
    fn parts(self) -> (String, String) {
        (self.name.to_string(), self.etag.unwrap_or_default())
    }
}

impl Create {
    fn request(self, console: &mut Console) -> Result<CreateConnectionRequest, Failure> {
        let dpop_key_pem = secret::dpop_key(self.dpop_key_file.as_deref())?;
        Ok(CreateConnectionRequest {
            parent: self.name.tenant.to_string(),
            connection_id: self.name.id.to_string(),
            connection: Some(Connection {
                client: self.client.to_string(),
                requested_scopes: self.requested_scopes,
                requested_resources: self.requested_resources,
                scope_narrowing: self.scope_narrowing.unwrap_or_default().into(),
                labels: labels(self.labels),
                ..Connection::default()
            }),
            grant: Some(self.grant.read(console)?),
            dpop_key_pem,
        })
    }
}

impl List {
    async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let session = Session::open(api).await?;
        let listed = session
            .pages(self.list.limit(), |page_size, page_token| {
                let (mut connections, filter) = (session.connections(), self.list.filter());
                let request =
                    ListConnectionsRequest { parent: self.parent.to_string(), page_size, page_token, filter };
                async move {
                    let answer = connections.list_connections(request).await?;
                    Ok(answer.map(|page| (page.connections, page.next_page_token)))
                }
            })
            .await?;
        console.listed(&listed, api.output)
    }
}

impl Update {
    fn request(self) -> UpdateConnectionRequest {
        let mut paths = self.labels.paths();
        if self.default_scopes || !self.requested_scopes.is_empty() {
            paths.push("requested_scopes".into());
        }
        if self.default_resources || !self.requested_resources.is_empty() {
            paths.push("requested_resources".into());
        }
        if self.scope_narrowing.is_some() {
            paths.push("scope_narrowing".into());
        }
        let connection = Connection {
            name: self.name.to_string(),
            etag: self.etag.unwrap_or_default(),
            requested_scopes: self.requested_scopes,
            requested_resources: self.requested_resources,
            scope_narrowing: self.scope_narrowing.unwrap_or_default().into(),
            labels: labels(self.labels.set_labels),
            ..Connection::default()
        };
        UpdateConnectionRequest { connection: Some(connection), update_mask: Some(FieldMask { paths }) }
    }
}

impl Delete {
    async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let name = self.name.to_string();
        let request = DeleteConnectionRequest {
            name: name.clone(),
            etag: self.etag.unwrap_or_default(),
            allow_missing: self.allow_missing,
            skip_revocation: self.skip_revocation,
        };
        let session = Session::open(api).await?;
        session.wait(session.connections().delete_connection(request)).await?;
        console.gone(&name, api.output)
    }
}
