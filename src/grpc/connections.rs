//! `bursar.v1.ConnectionService`.

use super::{
    Unimplemented, errors,
    filter::{Fields, Filter, Type, Value},
    finishing::finished,
    from_proto as from,
    guard::{Call, Guard, Unreadable, Use},
    problem::Problem,
    to_proto as to, unimplemented,
};
use crate::{
    access::{Action, Asked, ConnectionFacts, Facts, Target},
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
    pub guard: Arc<Guard>,
    pub admin: Arc<Admin>,
}

/// Lists of all tenants have this parent.
const ALL_TENANTS: &str = "tenants/-";

/// The tenant of a list; `None`: all tenants.
fn parent(given: &str) -> Result<Option<TenantName>, Problem> {
    if given == ALL_TENANTS { Ok(None) } else { from::name("parent", given).map(Some) }
}

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
    fn finished<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl Future<Output = Result<T, AdminError>> + Send + 'static,
    ) -> impl Future<Output = Result<T, AdminError>> + Send {
        finished(call, &self.admin.refresher, work)
    }

    /// The right to the connection that would come of it, and to use its client for it.
    async fn may_create(&self, call: &Call, new: &NewConnection) -> Result<(), Status> {
        let using = Asked { tenant: Some(new.name.tenant.clone()), ..call.asked() };
        let asked = Asked { scopes: new.requested_scopes.clone(), ..call.asked() };
        let client = match self.guard.use_of_client(call, &new.client, &using).await? {
            Use::Of(client) => client,
            Use::OfNone(unseen) => {
                // Whoever may not connect here is told nothing of the tenant. What comes first where both are missing
                // is the tenant.
                drop(self.guard.creation_for(call, new.name.clone(), &Facts::Nothing, &asked)?);
                let tenant = self.admin.tenant(&new.name.tenant).await;
                let client = call.unseen(unseen);
                return Err(tenant.err().map_or(client, |err| errors::admin(&new.name, err)));
            }
        };
        let facts = Facts::Connection(Box::new(ConnectionFacts {
            record: None,
            provider: client.provider,
            client: new.client.clone(),
            environment: Some(client.environment),
            labels: new.labels.clone(),
        }));
        drop(self.guard.creation_for(call, new.name.clone(), &facts, &asked)?);
        self.guard.asked(call).await
    }

    /// The right to the connection as it is, and, where its labels change, as it would be: nobody labels itself
    /// into a right, or its things out of somebody's. Gives the etag of what was judged where that matters.
    async fn may_update(
        &self,
        call: &Call,
        name: &ConnectionName,
        patch: &ConnectionPatch,
    ) -> Result<Option<String>, Status> {
        let permit = self.guard.connection(call, name).await?;
        let Some(labels) = &patch.labels else { return Ok(None) };
        self.guard.relabelled(call, &permit, labels).await.map(Some)
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
        let call = self.guard.call(&request)?;
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
            requested_resources: from::resources(
                "connection.requested_resources",
                connection.requested_resources,
            )?,
            narrowing: from::narrowing(connection.scope_narrowing)?,
            labels: from::labels("connection.labels", connection.labels)?,
            grant: from::grant(request.grant)?,
            dpop_key: from::pem("dpop_key_pem", request.dpop_key_pem)?,
        };
        self.may_create(&call, &new).await?;
        let name = new.name.clone();
        let admin = self.admin.clone();
        let created = self.finished(&call, async move { admin.create_connection(new).await }).await;
        created.map(|made| self.answer(&made)).map_err(|err| errors::admin(&name, err))
    }

    async fn get_connection(
        &self,
        request: Request<api::GetConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let call = self.guard.call(&request)?;
        let name: ConnectionName = from::name("name", &request.into_inner().name)?;
        drop(self.guard.connection(&call, &name).await?);
        let found = self.admin.connection(&name).await.map_err(|err| errors::admin(&name, err))?;
        Ok(self.answer(&found.record))
    }

    async fn list_connections(
        &self,
        request: Request<api::ListConnectionsRequest>,
    ) -> Result<Response<api::ListConnectionsResponse>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let tenant = parent(&request.parent)?;
        let filter = Filter::parse(&request.filter, FIELDS)?;
        let (token, limit) = (from::sealed_page(&request.page_token)?, from::page_size(request.page_size)?);
        match &tenant {
            Some(tenant) => drop(self.guard.permit(&call, tenant.clone())?),
            None => drop(self.guard.permit(&call, Target::Deployment)?),
        }
        let failed = |err| errors::admin(&request.parent, err);
        let (list, owner) = (call.list(&request.parent), tenant.map(Owner::Tenant));
        let listing = Listing {
            owner: owner.as_ref(),
            after: self.admin.from_page_token(&list, &token).await.map_err(failed)?,
            limit,
            keep: &|connection: &Connection| filter.matches(|path| field(connection, path)),
            sight: &self.guard.sight(&call, Action::GetConnection),
        };
        let page = self.admin.connections(listing).await.map_err(failed)?;
        let next = self.admin.to_page_token(&list, page.next.as_ref()).await.map_err(failed)?;
        let now = self.admin.ledger.now();
        Ok(Response::new(api::ListConnectionsResponse {
            connections: page.items.iter().map(|loaded| to::connection(&loaded.record, now)).collect(),
            next_page_token: from::to_sealed_page(&next),
        }))
    }

    async fn update_connection(
        &self,
        request: Request<api::UpdateConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let given = request.connection.ok_or_else(|| Problem::field("connection", "is required"))?;
        let name: ConnectionName = from::name("connection.name", &given.name)?;
        let mask = from::Mask::new(
            request.update_mask,
            &["labels", "requested_scopes", "requested_resources", "scope_narrowing"],
        )?;
        let scopes = from::scopes("connection.requested_scopes", given.requested_scopes)?;
        let resources = from::resources("connection.requested_resources", given.requested_resources)?;
        let narrowing = mask.take("scope_narrowing", given.scope_narrowing, |value| *value != 0);
        let patch = ConnectionPatch {
            labels: from::label_patch("connection.labels", &mask, given.labels)?,
            requested_scopes: mask.take("requested_scopes", scopes, |scopes| !scopes.is_empty()),
            requested_resources: mask.take("requested_resources", resources, |given| !given.is_empty()),
            narrowing: narrowing.map(from::narrowing).transpose()?,
        };
        let judged = self.may_update(&call, &name, &patch).await?;
        let updated = self.admin.update_connection(&name, &given.etag, judged.as_deref(), &patch).await;
        updated.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn delete_connection(
        &self,
        request: Request<api::DeleteConnectionRequest>,
    ) -> Result<Response<()>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        let revoking = if request.skip_revocation { Revoking::Skipped } else { Revoking::First };
        let unreadable = if request.skip_revocation { Unreadable::ByName } else { Unreadable::Fails };
        match self.guard.connection_for(&call, &name, &call.asked(), unreadable).await {
            Ok(permit) => drop(permit),
            Err(refused) if super::hidden(&refused, request.allow_missing) => return Ok(Response::new(())),
            Err(refused) => return Err(refused),
        }
        let (admin, this) = (self.admin.clone(), name.clone());
        let work = async move { admin.delete_connection(&this, &request.etag, revoking).await };
        let deleted = self.finished(&call, work).await;
        super::deleted(&name, deleted, request.allow_missing)
    }

    async fn start_authorization(
        &self,
        request: Request<api::StartAuthorizationRequest>,
    ) -> Result<Response<api::StartAuthorizationResponse>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        let start = from::start(request.method)?;
        let principals = from::principals(request.allow_principal_change);
        drop(self.guard.connection(&call, &name).await?);
        let (admin, this) = (self.admin.clone(), name.clone());
        let work = async move { admin.start_authorization(&this, start, principals).await };
        let started = self.finished(&call, work).await.map_err(|err| errors::admin(&name, err))?;
        Ok(Response::new(to::started(started, self.admin.ledger.now())))
    }

    async fn complete_authorization(
        &self,
        request: Request<api::CompleteAuthorizationRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        use api::complete_authorization_request::Completion;
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        match request.completion {
            Some(Completion::Grant(grant)) => {
                let (admin, grant, this) = (self.admin.clone(), from::grant(Some(grant))?, name.clone());
                drop(self.guard.connection(&call, &name).await?);
                let again =
                    self.finished(&call, async move { admin.authorize_again(&this, grant).await }).await;
                again.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
            }
            Some(completion) => {
                let (admin, this) = (self.admin.clone(), name.clone());
                let otp = match &completion {
                    Completion::Otp(result) => Some(from::otp(result.otp.clone())?),
                    Completion::AuthorizationCode(_) | Completion::DeviceCode(_) | Completion::Grant(_) => {
                        None
                    }
                };
                drop(self.guard.connection(&call, &name).await?);
                let work = async move {
                    match (completion, otp) {
                        (Completion::AuthorizationCode(result), _) => {
                            admin.complete_redirect(&this, &result.redirect_query).await
                        }
                        (_, Some(otp)) => admin.complete_otp(&this, otp).await,
                        (_, None) => admin.complete_device(&this).await,
                    }
                };
                let completed = self.finished(&call, work).await;
                completed.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
            }
            None => {
                let mend = "is required: set authorization_code, device_code, otp or grant";
                Err(Problem::field("completion", mend).into())
            }
        }
    }

    async fn refresh_connection(
        &self,
        request: Request<api::RefreshConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let call = self.guard.call(&request)?;
        let name: ConnectionName = from::name("name", &request.into_inner().name)?;
        drop(self.guard.connection(&call, &name).await?);
        let refreshed = self.admin.refresh_connection(&name).await;
        refreshed.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn disable_connection(
        &self,
        request: Request<api::DisableConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        drop(self.guard.connection(&call, &name).await?);
        let disabled = self.admin.disable_connection(&name, &request.etag).await;
        disabled.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn enable_connection(
        &self,
        request: Request<api::EnableConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        drop(self.guard.connection(&call, &name).await?);
        let enabled = self.admin.enable_connection(&name, &request.etag).await;
        enabled.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn revoke_connection(
        &self,
        request: Request<api::RevokeConnectionRequest>,
    ) -> Result<Response<api::Connection>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        drop(self.guard.connection(&call, &name).await?);
        let (admin, this) = (self.admin.clone(), name.clone());
        let revoked =
            self.finished(&call, async move { admin.revoke_connection(&this, &request.etag).await }).await;
        revoked.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn watch_connections(
        &self,
        request: Request<api::WatchConnectionsRequest>,
    ) -> Result<Response<Self::WatchConnectionsStream>, Status> {
        let call = self.guard.call(&request)?;
        match parent(&request.into_inner().parent)? {
            Some(tenant) => drop(self.guard.permit(&call, tenant)?),
            None => drop(self.guard.permit(&call, Target::Deployment)?),
        }
        Err(unimplemented("WatchConnections"))
    }
}
