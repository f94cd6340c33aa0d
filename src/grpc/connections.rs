//! `bursar.v1.ConnectionService`.

use super::{
    Unimplemented, errors,
    filter::{Fields, Filter, Type, Value},
    from_proto as from,
    problem::Problem,
    to_proto as to, unimplemented,
};
use crate::{
    api::{self, connection_service_server::ConnectionService},
    broker::admin::{
        Admin, AdminError, Listing,
        connections::{ConnectionPatch, NewConnection, Revoking},
        new_id,
    },
    domain::{
        connection::Connection,
        names::{ConnectionName, Id, Owner, TenantName},
    },
};
use std::{fmt::Display, sync::Arc};
use tonic::{Request, Response, Status};

pub struct Connections {
    pub admin: Arc<Admin>,
}

/// Lists of all tenants have this parent.
const ALL_TENANTS: &str = "tenants/-";

const FIELDS: Fields = &[
    ("state", Type::Word(&["PENDING", "ACTIVE", "NEEDS_REAUTHORIZATION", "DISABLED", "REVOKING", "REVOKED"])),
    ("state_reason.reason", Type::Text),
    ("provider", Type::Text),
    ("client", Type::Text),
    ("principal.kind", Type::Word(&["USER", "COMPANY", "APP"])),
    ("principal.id", Type::Text),
    ("refresh_token_expire_time", Type::Time),
    ("access_token_expire_time", Type::Time),
    ("next_refresh_time", Type::Time),
    ("last_success_time", Type::Time),
    ("create_time", Type::Time),
    ("update_time", Type::Time),
];

fn field(c: &Connection, path: &str) -> Value {
    let text = |text: Option<String>| text.map_or(Value::Unset, Value::Text);
    let word = |word: &dyn Display| Value::Text(word.to_string().to_uppercase());
    let time = |at: Option<_>| at.map_or(Value::Unset, Value::Time);
    match path {
        "state" => word(&c.state),
        "state_reason.reason" => c.reason.as_ref().map_or(Value::Unset, |why| word(&why.reason)),
        "provider" => Value::Text(c.provider.to_string()),
        "client" => Value::Text(c.client.to_string()),
        "principal.kind" => c.principal.as_ref().map_or(Value::Unset, |p| word(&p.kind)),
        "principal.id" => text(c.principal.as_ref().map(|p| p.id.clone())),
        "refresh_token_expire_time" => time(c.refresh_expires_at),
        "access_token_expire_time" => time(c.token.as_ref().map(|token| token.expires_at)),
        "next_refresh_time" => time(c.due),
        "last_success_time" => time(c.last_success_at),
        "create_time" => Value::Time(c.created_at),
        "update_time" => Value::Time(c.updated_at),
        label => text(label.strip_prefix("labels.").and_then(|label| c.labels.get(label).cloned())),
    }
}

impl Connections {
    /// What takes more than one write is finished even when the caller hangs up or its deadline passes.
    async fn finished<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AdminError>> + Send + 'static,
    ) -> Result<T, AdminError> {
        self.admin.refresher.finished(work).await?
    }

    fn answer(&self, connection: &Connection) -> Response<api::Connection> {
        Response::new(to::connection(connection, self.admin.ledger.now()))
    }
}

#[tonic::async_trait]
impl ConnectionService for Connections {
    type WatchConnectionsStream = Unimplemented<api::WatchConnectionsResponse>;

    async fn create_connection(
        &self,
        request: Request<api::CreateConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let request = request.into_inner();
        let tenant: TenantName = from::name("parent", &request.parent)?;
        let id: Id = match request.connection_id.as_str() {
            "" => new_id(self.admin.clock.now().uuid()),
            given => from::name("connection_id", given)?,
        };
        let connection = request
            .connection
            .ok_or_else(|| Problem::field("connection", "is required: set connection.client"))?;
        let new = NewConnection {
            name: ConnectionName { tenant, id },
            client: from::name("connection.client", &connection.client)?,
            requested_scopes: from::scopes("connection.requested_scopes", connection.requested_scopes)?,
            narrowing: from::narrowing(connection.scope_narrowing)?,
            labels: from::labels("connection.labels", connection.labels)?,
            grant: from::grant(request.grant)?,
        };
        let name = new.name.clone();
        let admin = self.admin.clone();
        let created = self.finished(async move { admin.create_connection(new).await }).await;
        created.map(|made| self.answer(&made)).map_err(|err| errors::admin(&name, err))
    }

    async fn get_connection(
        &self,
        request: Request<api::GetConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let name: ConnectionName = from::name("name", &request.into_inner().name)?;
        let found = self.admin.connection(&name).await.map_err(|err| errors::admin(&name, err))?;
        Ok(self.answer(&found.record))
    }

    async fn list_connections(
        &self,
        request: Request<api::ListConnectionsRequest>,
    ) -> Result<Response<api::ListConnectionsResponse>, Status> {
        let request = request.into_inner();
        let owner = match request.parent.as_str() {
            ALL_TENANTS => None,
            parent => Some(Owner::Tenant(from::name("parent", parent)?)),
        };
        let filter = Filter::parse(&request.filter, FIELDS)?;
        let listing = Listing {
            owner: owner.as_ref(),
            after: from::page_token(&request.page_token)?,
            limit: from::page_size(request.page_size)?,
            keep: &|connection: &Connection| filter.matches(|path| field(connection, path)),
        };
        let page =
            self.admin.connections(listing).await.map_err(|err| errors::admin(&request.parent, err))?;
        let now = self.admin.ledger.now();
        Ok(Response::new(api::ListConnectionsResponse {
            connections: page.items.iter().map(|loaded| to::connection(&loaded.record, now)).collect(),
            next_page_token: from::to_page_token(page.next.as_ref()),
        }))
    }

    async fn update_connection(
        &self,
        request: Request<api::UpdateConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let request = request.into_inner();
        let given = request.connection.ok_or_else(|| Problem::field("connection", "is required"))?;
        let name: ConnectionName = from::name("connection.name", &given.name)?;
        let mask = from::Mask::new(request.update_mask, &["labels", "requested_scopes", "scope_narrowing"])?;
        let scopes = from::scopes("connection.requested_scopes", given.requested_scopes)?;
        let narrowing = mask.take("scope_narrowing", given.scope_narrowing, |value| *value != 0);
        let patch = ConnectionPatch {
            labels: from::label_patch("connection.labels", &mask, given.labels)?,
            requested_scopes: mask.take("requested_scopes", scopes, |scopes| !scopes.is_empty()),
            narrowing: narrowing.map(from::narrowing).transpose()?,
        };
        let updated = self.admin.update_connection(&name, &given.etag, &patch).await;
        updated.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn delete_connection(
        &self,
        request: Request<api::DeleteConnectionRequest>,
    ) -> Result<Response<()>, Status> {
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        let revoking = if request.skip_revocation { Revoking::Skipped } else { Revoking::First };
        let (admin, this) = (self.admin.clone(), name.clone());
        let work = async move { admin.delete_connection(&this, &request.etag, revoking).await };
        let deleted = self.finished(work).await;
        super::deleted(&name, deleted, request.allow_missing)
    }

    async fn start_authorization(
        &self,
        _: Request<api::StartAuthorizationRequest>,
    ) -> Result<Response<api::StartAuthorizationResponse>, Status> {
        Err(unimplemented("StartAuthorization"))
    }

    async fn complete_authorization(
        &self,
        request: Request<api::CompleteAuthorizationRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        use api::complete_authorization_request::Completion;
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        match request.completion {
            Some(Completion::Grant(grant)) => {
                let (admin, grant, this) = (self.admin.clone(), from::grant(Some(grant))?, name.clone());
                let again = self.finished(async move { admin.authorize_again(&this, grant).await }).await;
                again.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
            }
            Some(Completion::AuthorizationCode(_) | Completion::DeviceCode(_) | Completion::Otp(_)) => {
                Err(unimplemented("CompleteAuthorization with an interactive grant"))
            }
            None => Err(Problem::field("completion", "is required: set grant").into()),
        }
    }

    async fn refresh_connection(
        &self,
        request: Request<api::RefreshConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let name: ConnectionName = from::name("name", &request.into_inner().name)?;
        let refreshed = self.admin.refresh_connection(&name).await;
        refreshed.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn disable_connection(
        &self,
        request: Request<api::DisableConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        let disabled = self.admin.disable_connection(&name, &request.etag).await;
        disabled.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn enable_connection(
        &self,
        request: Request<api::EnableConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        let enabled = self.admin.enable_connection(&name, &request.etag).await;
        enabled.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn revoke_connection(
        &self,
        request: Request<api::RevokeConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        let (admin, this) = (self.admin.clone(), name.clone());
        let revoked = self.finished(async move { admin.revoke_connection(&this, &request.etag).await }).await;
        revoked.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn watch_connections(
        &self,
        _: Request<api::WatchConnectionsRequest>,
    ) -> Result<Response<Self::WatchConnectionsStream>, Status> {
        Err(unimplemented("WatchConnections"))
    }
}
