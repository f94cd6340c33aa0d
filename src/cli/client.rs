//! `bursar client`: registrations at providers. Secrets go in and never come out.

use super::{
    ApiArgs,
    client_secret::ClientSecretArgs,
    console::Console,
    failure::Failure,
    session::Session,
    values::{ClientParent, ListArgs, Tenants, change, numbers},
};
use crate::{
    api::{
        AddClientSecretRequest, Client, ClientAuthMethod, ClientSecret, CreateClientRequest,
        DeleteClientRequest, Environment, GetClientRequest, GrantType, ListClientsRequest,
        RetireClientSecretRequest, RotateClientSecretRequest, UpdateClientRequest, client_secret,
    },
    domain::names::{ClientName, ProviderName},
};
use clap::{Args, Subcommand};
use prost_types::FieldMask;

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Take in a registration that exists at a provider
    Create(Create),
    /// List clients of a tenant, of all tenants, or of the platform
    List(List),
    /// Show a client, without the values of its secrets
    Show {
        /// The client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
        name: ClientName,
    },
    /// Change authentication method, allowed grants or allowed scopes
    Update(Update),
    /// Forget a client and its secrets; the registration at the provider stays
    Delete(Delete),
    /// Print the public halves of a client's private keys, as a JSON Web Key Set to be registered at the provider
    Jwks {
        /// The client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
        name: ClientName,
    },
    /// Print a client's certificate and its chain in PEM, to be registered at the provider
    Certificate {
        /// The client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
        name: ClientName,
        /// Id of the secret, as `client show` lists it; none: the one that was added last
        #[arg(long = "secret-id", value_name = "ID")]
        secret: Option<String>,
    },
    /// Add or retire secrets
    #[command(subcommand)]
    Secret(SecretCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Add a secret; it is tried when the older one is refused
    Add(AddSecret),
    /// Erase a secret's value
    Retire(RetireSecret),
    /// Change the secret at the provider and here, where the provider lets a client do that (SAP Concur)
    Rotate {
        /// The client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
        name: ClientName,
        /// Rotate it only if this is still the client's etag
        #[arg(long)]
        etag: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
    name: ClientName,
    /// The provider it is registered at, `providers/{provider}`
    #[arg(long)]
    provider: ProviderName,
    /// The client identifier that the provider issued; not secret
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// The landscape it is registered in
    #[arg(long, value_enum)]
    environment: Environment,
    /// A grant that connections may use, repeatable
    #[arg(long = "allowed-grant", value_enum, value_name = "GRANT", required = true)]
    allowed_grants: Vec<GrantType>,
    /// A scope that connections may request, repeatable; none: any
    #[arg(long = "allowed-scope", value_name = "SCOPE")]
    allowed_scopes: Vec<String>,
    /// How it authenticates; the default is the provider's first method
    #[arg(long, value_enum, value_name = "METHOD")]
    auth_method: Option<ClientAuthMethod>,
    #[command(flatten)]
    secret: ClientSecretArgs,
    /// Succeed when there is such a client with this provider and client identifier, and leave it as it is
    #[arg(long)]
    allow_existing: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// `tenants/{tenant}`, `tenants/-` for all tenants, or `platform`
    #[arg(default_value_t = ClientParent::Tenants(Tenants::All))]
    parent: ClientParent,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
#[command(group = change(["auth_method", "allowed_grants", "allowed_scopes", "any_scope"]))]
pub(super) struct Update {
    /// The client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
    name: ClientName,
    /// How it authenticates
    #[arg(long, value_enum, value_name = "METHOD")]
    auth_method: Option<ClientAuthMethod>,
    /// A grant that connections may use, repeatable; replaces all
    #[arg(long = "allowed-grant", value_enum, value_name = "GRANT")]
    allowed_grants: Vec<GrantType>,
    /// A scope that connections may request, repeatable; replaces all
    #[arg(long = "allowed-scope", value_name = "SCOPE", conflicts_with = "any_scope")]
    allowed_scopes: Vec<String>,
    /// Connections may request any scope
    #[arg(long)]
    any_scope: bool,
    /// Change it only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
    name: ClientName,
    /// Delete it only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
    /// Succeed when there is no such client
    #[arg(long)]
    allow_missing: bool,
}

#[derive(Debug, Args)]
pub(super) struct AddSecret {
    /// The client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
    name: ClientName,
    #[command(flatten)]
    secret: ClientSecretArgs,
    /// Add it only if this is still the client's etag
    #[arg(long)]
    etag: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RetireSecret {
    /// The client, `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`
    name: ClientName,
    /// Id of the secret, as `client show` lists it; not its value
    id: String,
    /// Retire it only if this is still the client's etag
    #[arg(long)]
    etag: Option<String>,
}

impl ClientCommand {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        match self {
            Self::Create(args) => {
                let (existing, name) = (args.allow_existing.into(), args.name.to_string());
                let (provider, id) = (args.provider.to_string(), args.client_id.clone());
                let request = args.request(console)?;
                let session = Session::open(api).await?;
                let (mut creating, mut getting) = (session.clients(), session.clients());
                let get = Box::pin(getting.get_client(GetClientRequest { name }));
                let fits = |found: &Client| found.provider == provider && found.client_id == id;
                let create = Box::pin(creating.create_client(request));
                console.show(&session.created(create, existing, get, fits).await?, api.output)
            }
            Self::List(args) => args.run(api, console).await,
            Self::Show { name } => {
                let request = GetClientRequest { name: name.to_string() };
                let session = Session::open(api).await?;
                console.show(&session.wait(session.clients().get_client(request)).await?, api.output)
            }
            Self::Update(args) => {
                let session = Session::open(api).await?;
                console
                    .show(&session.wait(session.clients().update_client(args.request())).await?, api.output)
            }
            Self::Delete(args) => {
                let session = Session::open(api).await?;
                let request = args.request();
                let name = request.name.clone();
                session.wait(session.clients().delete_client(request)).await?;
                console.gone(&name, api.output)
            }
            Self::Jwks { name } => {
                let client = got(&name, api).await?;
                if client.jwks.is_empty() {
                    let why =
                        "this client has no private key: add one with `client secret add --generate-key`";
                    return Err(Failure::Usage(why.into()));
                }
                console.print(&format!("{}\n", client.jwks))
            }
            Self::Certificate { name, secret } => {
                let client = got(&name, api).await?;
                let wanted = |one: &&ClientSecret| {
                    let retired = one.state() == client_secret::State::Retired;
                    let named = secret.as_ref().is_none_or(|id| *id == one.id);
                    named && !retired && !one.certificate_chain_pem.is_empty()
                };
                match client.secrets.iter().rfind(wanted) {
                    Some(found) => console.print(&found.certificate_chain_pem),
                    None => Err(Failure::Usage("this client has no such certificate in use".into())),
                }
            }
            Self::Secret(command) => command.run(api, console).await,
        }
    }
}

async fn got(name: &ClientName, api: &ApiArgs) -> Result<Client, Failure> {
    let session = Session::open(api).await?;
    session.wait(session.clients().get_client(GetClientRequest { name: name.to_string() })).await
}

impl SecretCommand {
    async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let client = match self {
            Self::Add(args) => {
                let request = AddClientSecretRequest {
                    name: args.name.to_string(),
                    client_secret: args.secret.read(None, console)?,
                    etag: args.etag.unwrap_or_default(),
                };
                let session = Session::open(api).await?;
                session.wait(session.clients().add_client_secret(request)).await?
            }
            Self::Retire(args) => {
                let request = RetireClientSecretRequest {
                    name: args.name.to_string(),
                    secret_id: args.id,
                    etag: args.etag.unwrap_or_default(),
                };
                let session = Session::open(api).await?;
                session.wait(session.clients().retire_client_secret(request)).await?
            }
            Self::Rotate { name, etag } => {
                let request =
                    RotateClientSecretRequest { name: name.to_string(), etag: etag.unwrap_or_default() };
                let session = Session::open(api).await?;
                session.wait(session.clients().rotate_client_secret(request)).await?
            }
        };
        console.show(&client, api.output)
    }
}

impl Create {
    fn request(self, console: &mut Console) -> Result<CreateClientRequest, Failure> {
        Ok(CreateClientRequest {
            parent: self.name.owner.to_string(),
            client_id: self.name.id.to_string(),
            client_secret: self.secret.read(self.auth_method, console)?,
            client: Some(Client {
                provider: self.provider.to_string(),
                client_id: self.client_id,
                auth_method: self.auth_method.unwrap_or_default().into(),
                allowed_grants: numbers(self.allowed_grants),
                allowed_scopes: self.allowed_scopes,
                environment: self.environment.into(),
                ..Client::default()
            }),
        })
    }
}

impl List {
    async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let session = Session::open(api).await?;
        let listed = session
            .pages(self.list.limit(), |page_size, page_token| {
                let (mut clients, filter) = (session.clients(), self.list.filter());
                let request =
                    ListClientsRequest { parent: self.parent.to_string(), page_size, page_token, filter };
                async move {
                    let answer = clients.list_clients(request).await?;
                    Ok(answer.map(|page| (page.clients, page.next_page_token)))
                }
            })
            .await?;
        console.listed(&listed, api.output)
    }
}

impl Update {
    fn request(self) -> UpdateClientRequest {
        let changed = [
            ("auth_method", self.auth_method.is_some()),
            ("allowed_grants", !self.allowed_grants.is_empty()),
            ("allowed_scopes", self.any_scope || !self.allowed_scopes.is_empty()),
        ];
        let paths = changed.iter().filter(|(_, is)| *is).map(|(path, _)| (*path).to_owned()).collect();
        let client = Client {
            name: self.name.to_string(),
            etag: self.etag.unwrap_or_default(),
            auth_method: self.auth_method.unwrap_or_default().into(),
            allowed_grants: numbers(self.allowed_grants),
            allowed_scopes: self.allowed_scopes,
            ..Client::default()
        };
        UpdateClientRequest { client: Some(client), update_mask: Some(FieldMask { paths }) }
    }
}

impl Delete {
    fn request(self) -> DeleteClientRequest {
        DeleteClientRequest {
            name: self.name.to_string(),
            etag: self.etag.unwrap_or_default(),
            allow_missing: self.allow_missing,
        }
    }
}
