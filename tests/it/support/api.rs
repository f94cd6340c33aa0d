//! The broker's API as a client has it: the generated clients, with the few calls that tests make.

use super::AT_MOST;
use bursar::api::{
    self, ClientSecretInput, CompanyRequestTokenGrant, CompleteAuthorizationRequest, CreateClientRequest,
    CreateConnectionRequest, CreateTenantRequest, Environment, GetClientRequest, GetConnectionRequest,
    GetTokenRequest, Grant, GrantType, ListConnectionsRequest, OtpResult, RefreshConnectionRequest,
    RefreshTokenGrant, StartAuthorizationRequest, client_secret_input::Value,
    client_service_client::ClientServiceClient, complete_authorization_request::Completion,
    connection_service_client::ConnectionServiceClient, grant::Kind, key_service_client::KeyServiceClient,
    start_authorization_request, tenant_service_client::TenantServiceClient,
    token_service_client::TokenServiceClient,
};
use std::{net::SocketAddr, time::Duration};
use tonic::{Request, Status, transport::Channel};
use tonic_types::StatusExt;

pub(crate) const TENANT: &str = "tenants/acme";
pub(crate) const CLIENT: &str = "tenants/acme/clients/concur";

#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) tokens: TokenServiceClient<Channel>,
    pub(crate) connections: ConnectionServiceClient<Channel>,
    pub(crate) clients: ClientServiceClient<Channel>,
    pub(crate) tenants: TenantServiceClient<Channel>,
    pub(crate) keys: KeyServiceClient<Channel>,
}

impl Api {
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self::patient(address, AT_MOST)
    }

    /// One that waits so long for a call, its turn on the connection included.
    pub(crate) fn patient(address: SocketAddr, most: Duration) -> Self {
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap().timeout(most);
        let channel = endpoint.connect_lazy();
        Self {
            tokens: TokenServiceClient::new(channel.clone()),
            connections: ConnectionServiceClient::new(channel.clone()),
            clients: ClientServiceClient::new(channel.clone()),
            tenants: TenantServiceClient::new(channel.clone()),
            keys: KeyServiceClient::new(channel),
        }
    }

    pub(crate) async fn token(&self, id: &str) -> Result<api::Token, Status> {
        let request = GetTokenRequest { name: name(id), ..GetTokenRequest::default() };
        Ok(self.tokens.clone().get_token(request).await?.into_inner())
    }

    pub(crate) async fn connection(&self, id: &str) -> Result<api::Connection, Status> {
        let request = GetConnectionRequest { name: name(id) };
        Ok(self.connections.clone().get_connection(request).await?.into_inner())
    }

    /// All connections of the tenant, by name.
    pub(crate) async fn all(&self) -> Vec<api::Connection> {
        let mut all = Vec::new();
        let mut request =
            ListConnectionsRequest { parent: TENANT.into(), page_size: 500, ..Default::default() };
        loop {
            let page = self.connections.clone().list_connections(request.clone()).await.unwrap().into_inner();
            all.extend(page.connections);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    pub(crate) async fn refresh(&self, id: &str) -> Result<api::Connection, Status> {
        let request = RefreshConnectionRequest { name: name(id) };
        Ok(self.connections.clone().refresh_connection(request).await?.into_inner())
    }

    pub(crate) async fn client(&self, name: &str) -> api::Client {
        let request = GetClientRequest { name: name.into() };
        self.clients.clone().get_client(request).await.unwrap().into_inner()
    }

    pub(crate) async fn chain(&self, name: &str) -> Result<api::KeyChain, Status> {
        let request = api::GetKeyChainRequest { name: name.into() };
        Ok(self.keys.clone().get_key_chain(request).await?.into_inner())
    }

    pub(crate) async fn retire(&self, name: &str, version: u32) -> Result<api::KeyChain, Status> {
        let request = api::RetireKeyVersionRequest { name: name.into(), version, etag: String::new() };
        Ok(self.keys.clone().retire_key_version(request).await?.into_inner())
    }

    pub(crate) async fn create_tenant(&self) {
        let request = CreateTenantRequest { tenant_id: "acme".into(), ..CreateTenantRequest::default() };
        self.tenants.clone().create_tenant(request).await.unwrap();
    }

    /// A client registration, `tenants/acme/clients/{id}`.
    pub(crate) async fn create_client(
        &self,
        id: &str,
        client_id: &str,
        secret: &str,
    ) -> Result<api::Client, Status> {
        let client = api::Client {
            provider: "providers/concur-here".into(),
            client_id: client_id.into(),
            allowed_grants: vec![
                GrantType::RefreshToken.into(),
                GrantType::CompanyRequestToken.into(),
                GrantType::ClientCredentials.into(),
                GrantType::Password.into(),
                GrantType::AuthorizationCode.into(),
                GrantType::Otp.into(),
            ],
            environment: Environment::Sandbox.into(),
            ..api::Client::default()
        };
        let secret = ClientSecretInput {
            value: Some(Value::SharedSecret(secret.into())),
            ..ClientSecretInput::default()
        };
        let request = CreateClientRequest {
            parent: TENANT.into(),
            client_id: id.into(),
            client: Some(client),
            client_secret: Some(secret),
        };
        Ok(self.clients.clone().create_client(request).await?.into_inner())
    }

    /// Takes over a refresh token with the client [`CLIENT`].
    pub(crate) async fn import(
        &self,
        id: &str,
        refresh_token: &str,
        api_base_url: &str,
    ) -> Result<api::Connection, Status> {
        let grant = RefreshTokenGrant {
            refresh_token: refresh_token.into(),
            api_base_url: api_base_url.into(),
            ..RefreshTokenGrant::default()
        };
        self.create(id, CLIENT, Kind::RefreshToken(grant)).await
    }

    pub(crate) async fn request_token(
        &self,
        id: &str,
        client: &str,
        company_uuid: &str,
        request_token: &str,
    ) -> Result<api::Connection, Status> {
        let grant = CompanyRequestTokenGrant {
            company_uuid: company_uuid.into(),
            request_token: request_token.into(),
            ..CompanyRequestTokenGrant::default()
        };
        self.create(id, client, Kind::CompanyRequestToken(grant)).await
    }

    pub(crate) async fn create(
        &self,
        id: &str,
        client: &str,
        grant: Kind,
    ) -> Result<api::Connection, Status> {
        let connection = api::Connection { client: client.into(), ..api::Connection::default() };
        let request = CreateConnectionRequest {
            parent: TENANT.into(),
            connection_id: id.into(),
            connection: Some(connection),
            dpop_key_pem: String::new(),
            grant: Some(Grant { kind: Some(grant) }),
        };
        let mut request = Request::new(request);
        request.set_timeout(AT_MOST);
        Ok(self.connections.clone().create_connection(request).await?.into_inner())
    }
}

impl Api {
    pub(crate) async fn start(
        &self,
        id: &str,
        method: start_authorization_request::Method,
    ) -> Result<api::StartAuthorizationResponse, Status> {
        let request =
            StartAuthorizationRequest { name: name(id), method: Some(method), ..Default::default() };
        Ok(self.connections.clone().start_authorization(request).await?.into_inner())
    }

    /// With the one-time password that a person was sent.
    pub(crate) async fn complete_otp(&self, id: &str, otp: &str) -> Result<api::Connection, Status> {
        let completion = Completion::Otp(OtpResult { otp: otp.into() });
        let request = CompleteAuthorizationRequest { name: name(id), completion: Some(completion) };
        Ok(self.connections.clone().complete_authorization(request).await?.into_inner())
    }
}

pub(crate) fn name(id: &str) -> String {
    format!("{TENANT}/connections/{id}")
}

/// The reason of an error, as programs switch on it.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().map_or_else(|| format!("no reason: {status}"), |info| info.reason.clone())
}

/// One entry of the reason's metadata; empty when it is not there.
pub(crate) fn metadata(status: &Status, key: &str) -> String {
    let details = status.get_error_details();
    details.error_info().and_then(|info| info.metadata.get(key).cloned()).unwrap_or_default()
}
