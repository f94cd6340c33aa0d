//! `bursar.v1.ClientService`.

use super::{
    errors,
    filter::{Fields, Filter, Type, Value},
    finishing::finished,
    from_proto as from,
    guard::Guard,
    problem::Problem,
    to_proto as to,
};
use crate::{
    access::{Action, ClientFacts, Facts, Target},
    api::{self, client_service_server::ClientService},
    broker::admin::{
        Admin, Listing,
        clients::{ClientPatch, NewClient},
        new_id,
    },
    domain::{
        client::Client,
        lifecycle::Moment,
        names::{ClientName, Id, Owner},
        profile::GrantKind,
    },
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub struct Clients {
    pub guard: Arc<Guard>,
    pub admin: Arc<Admin>,
}

const FIELDS: Fields = &[
    ("provider", Type::Text),
    ("client_id", Type::Text),
    ("environment", Type::Text),
    ("auth_method", Type::Text),
    ("hold", Type::Text),
    ("create_time", Type::Time),
    ("update_time", Type::Time),
];

fn field(c: &Client, path: &str, now: Moment) -> Value {
    match path {
        "hold" => c.held(now.store).map_or(Value::Unset, |_| Value::Text(String::new())),
        "provider" => Value::Text(c.provider.to_string()),
        "client_id" => Value::Text(c.client_id.clone()),
        "environment" => Value::Text(c.environment.word().to_uppercase()),
        "auth_method" => Value::Text(c.auth.word().to_uppercase()),
        "create_time" => Value::Time(c.created_at),
        "update_time" => Value::Time(c.updated_at),
        _ => Value::Unset,
    }
}

fn grants(given: &[i32]) -> Result<Vec<GrantKind>, Problem> {
    given.iter().map(|grant| from::grant_kind("client.allowed_grants", *grant)).collect()
}

impl Clients {
    fn answer(&self, client: &Client) -> Response<api::Client> {
        Response::new(to::client(client, self.admin.ledger.now()))
    }
}

#[tonic::async_trait]
impl ClientService for Clients {
    async fn create_client(
        &self,
        request: Request<api::CreateClientRequest>,
    ) -> Result<Response<api::Client>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let owner: Owner = from::name("parent", &request.parent)?;
        let id: Id = match request.client_id.as_str() {
            "" => new_id(self.admin.clock.now().uuid()),
            given => from::name("client_id", given)?,
        };
        let client = request.client.ok_or_else(|| Problem::field("client", "is required"))?;
        let new = NewClient {
            name: ClientName { owner, id },
            provider: from::name("client.provider", &client.provider)?,
            client_id: from::client_id("client.client_id", client.client_id)?,
            auth: from::client_auth(client.auth_method)?,
            allowed_grants: grants(&client.allowed_grants)?,
            allowed_scopes: from::scopes("client.allowed_scopes", client.allowed_scopes)?,
            environment: from::environment(client.environment)?,
            secret: from::client_secret(request.client_secret)?,
        };
        let name = new.name.clone();
        let facts = ClientFacts { provider: new.provider.clone(), environment: new.environment };
        drop(self.guard.creation(&call, name.clone(), &Facts::Client(facts))?);
        self.guard.asked(&call).await?;
        let created = self.admin.create_client(new).await;
        created.map(|made| self.answer(&made)).map_err(|err| errors::admin(&name, err))
    }

    async fn get_client(
        &self,
        request: Request<api::GetClientRequest>,
    ) -> Result<Response<api::Client>, Status> {
        let call = self.guard.call(&request)?;
        let name: ClientName = from::name("name", &request.into_inner().name)?;
        drop(self.guard.client(&call, &name).await?);
        let found = self.admin.client(&name).await.map_err(|err| errors::admin(&name, err))?;
        Ok(self.answer(&found.record))
    }

    async fn list_clients(
        &self,
        request: Request<api::ListClientsRequest>,
    ) -> Result<Response<api::ListClientsResponse>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let owner = match request.parent.as_str() {
            "tenants/-" => None,
            parent => Some(from::name::<Owner>("parent", parent)?),
        };
        let filter = Filter::parse(&request.filter, FIELDS)?;
        let (token, limit) = (from::sealed_page(&request.page_token)?, from::page_size(request.page_size)?);
        match &owner {
            Some(Owner::Tenant(tenant)) => drop(self.guard.permit(&call, tenant.clone())?),
            Some(Owner::Platform) | None => drop(self.guard.permit(&call, Target::Deployment)?),
        }
        let failed = |err| errors::admin(&request.parent, err);
        let list = call.list(&request.parent);
        let now = self.admin.ledger.now();
        let listing = Listing {
            owner: owner.as_ref(),
            after: self.admin.from_page_token(&list, &token).await.map_err(failed)?,
            limit,
            keep: &|client: &Client| {
                let asked = owner.is_some() || client.name.owner != Owner::Platform;
                asked && filter.matches(|path| field(client, path, now))
            },
            sight: &self.guard.sight(&call, Action::GetClient),
        };
        let page = self.admin.clients(listing).await.map_err(failed)?;
        let next = self.admin.to_page_token(&list, page.next.as_ref()).await.map_err(failed)?;
        let now = self.admin.ledger.now();
        Ok(Response::new(api::ListClientsResponse {
            clients: page.items.iter().map(|loaded| to::client(&loaded.record, now)).collect(),
            next_page_token: from::to_sealed_page(&next),
        }))
    }

    async fn update_client(
        &self,
        request: Request<api::UpdateClientRequest>,
    ) -> Result<Response<api::Client>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let given = request.client.ok_or_else(|| Problem::field("client", "is required"))?;
        let name: ClientName = from::name("client.name", &given.name)?;
        let changeable = ["client_id", "auth_method", "allowed_grants", "allowed_scopes"];
        let mask = from::Mask::new(request.update_mask, &changeable)?;
        let scopes = from::scopes("client.allowed_scopes", given.allowed_scopes)?;
        let client_id = mask.take("client_id", given.client_id, |text| !text.is_empty());
        let auth = mask.take("auth_method", given.auth_method, |value| *value != 0);
        let patch = ClientPatch {
            client_id: client_id.map(|id| from::client_id("client.client_id", id)).transpose()?,
            auth: auth.map(from::client_auth).transpose()?.flatten(),
            allowed_grants: mask
                .take("allowed_grants", grants(&given.allowed_grants)?, |grants| !grants.is_empty()),
            allowed_scopes: mask.take("allowed_scopes", scopes, |scopes| !scopes.is_empty()),
        };
        drop(self.guard.client(&call, &name).await?);
        let updated = self.admin.update_client(&name, &given.etag, &patch).await;
        updated.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn delete_client(
        &self,
        request: Request<api::DeleteClientRequest>,
    ) -> Result<Response<()>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ClientName = from::name("name", &request.name)?;
        match self.guard.client(&call, &name).await {
            Ok(permit) => drop(permit),
            Err(refused) if super::hidden(&refused, request.allow_missing) => return Ok(Response::new(())),
            Err(refused) => return Err(refused),
        }
        let deleted = self.admin.delete_client(&name, &request.etag).await;
        super::deleted(&name, deleted, request.allow_missing)
    }

    async fn add_client_secret(
        &self,
        request: Request<api::AddClientSecretRequest>,
    ) -> Result<Response<api::Client>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ClientName = from::name("name", &request.name)?;
        let secret = from::client_secret(request.client_secret)?
            .ok_or_else(|| Problem::field("client_secret", "is required"))?;
        drop(self.guard.client(&call, &name).await?);
        let added = self.admin.add_client_secret(&name, &request.etag, &secret).await;
        added.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn retire_client_secret(
        &self,
        request: Request<api::RetireClientSecretRequest>,
    ) -> Result<Response<api::Client>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ClientName = from::name("name", &request.name)?;
        let secret = from::uuid("secret_id", &request.secret_id)?;
        drop(self.guard.client(&call, &name).await?);
        let retired = self.admin.retire_client_secret(&name, &request.etag, secret).await;
        retired.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }

    async fn rotate_client_secret(
        &self,
        request: Request<api::RotateClientSecretRequest>,
    ) -> Result<Response<api::Client>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ClientName = from::name("name", &request.name)?;
        drop(self.guard.client(&call, &name).await?);
        let (admin, about) = (self.admin.clone(), name.clone());
        // A caller that hangs up does not take a new secret with it.
        let rotation = async move { admin.rotate_client_secret(&about, &request.etag).await };
        let rotated = finished(&call, &self.admin.refresher, rotation).await;
        rotated.map(|changed| self.answer(&changed)).map_err(|err| errors::admin(&name, err))
    }
}
