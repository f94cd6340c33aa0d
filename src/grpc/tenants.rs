//! `bursar.v1.TenantService`.

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
    access::{Action, Target},
    api::{self, tenant_service_server::TenantService},
    broker::admin::{
        Admin, AdminError, Listing, new_id,
        tenants::{Deleting, TenantPatch},
    },
    domain::{
        client::Tenant,
        labels::LabelPatch,
        lifecycle::Moment,
        names::{Id, TenantName},
    },
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub struct Tenants {
    pub guard: Arc<Guard>,
    pub admin: Arc<Admin>,
}

const FIELDS: Fields =
    &[("display_name", Type::Text), ("create_time", Type::Time), ("update_time", Type::Time)];

fn field(t: &Tenant, path: &str) -> Value {
    match path {
        "display_name" => Value::Text(t.display_name.clone()),
        "create_time" => Value::Time(t.created_at),
        "update_time" => Value::Time(t.updated_at),
        label => label
            .strip_prefix("labels.")
            .and_then(|label| t.labels.get(label))
            .map_or(Value::Unset, |value| Value::Text(value.clone())),
    }
}

impl Tenants {
    fn now(&self) -> Moment {
        self.admin.ledger.now()
    }
}

#[tonic::async_trait]
impl TenantService for Tenants {
    async fn create_tenant(
        &self,
        request: Request<api::CreateTenantRequest>,
    ) -> Result<Response<api::Tenant>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let id: Id = match request.tenant_id.as_str() {
            "" => new_id(self.admin.clock.now().uuid()),
            given => from::name("tenant_id", given)?,
        };
        let name = TenantName(id);
        let given = request.tenant.unwrap_or_default();
        let patch = TenantPatch {
            display_name: Some(from::display_name("tenant.display_name", given.display_name)?),
            labels: Some(LabelPatch::Replace(from::labels("tenant.labels", given.labels)?)),
        };
        drop(self.guard.change(&call, name.clone()).await?);
        let created = self.admin.create_tenant(name.clone(), patch).await;
        created
            .map(|made| Response::new(to::tenant(&made, self.now())))
            .map_err(|err| errors::admin(&name, err))
    }

    async fn get_tenant(
        &self,
        request: Request<api::GetTenantRequest>,
    ) -> Result<Response<api::Tenant>, Status> {
        let call = self.guard.call(&request)?;
        let name: TenantName = from::name("name", &request.into_inner().name)?;
        drop(self.guard.permit(&call, name.clone())?);
        let found = self.admin.tenant_even_deleted(&name).await.map_err(|err| errors::admin(&name, err))?;
        Ok(Response::new(to::tenant(&found.record, self.now())))
    }

    async fn list_tenants(
        &self,
        request: Request<api::ListTenantsRequest>,
    ) -> Result<Response<api::ListTenantsResponse>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let filter = Filter::parse(&request.filter, FIELDS)?;
        let (token, limit) = (from::sealed_page(&request.page_token)?, from::page_size(request.page_size)?);
        drop(self.guard.permit(&call, Target::Deployment)?);
        let (list, failed) = (call.list("tenants"), |err| errors::admin(&"tenants", err));
        let listing = Listing {
            owner: None,
            after: self.admin.from_page_token(&list, &token).await.map_err(failed)?,
            limit,
            keep: &|tenant: &Tenant| {
                (request.show_deleted || tenant.deletion.is_none())
                    && filter.matches(|path| field(tenant, path))
            },
            sight: &self.guard.sight(&call, Action::GetTenant),
        };
        let page = self.admin.tenants(listing).await.map_err(failed)?;
        let next = self.admin.to_page_token(&list, page.next.as_ref()).await.map_err(failed)?;
        Ok(Response::new(api::ListTenantsResponse {
            tenants: page.items.iter().map(|loaded| to::tenant(&loaded.record, self.now())).collect(),
            next_page_token: from::to_sealed_page(&next),
        }))
    }

    async fn update_tenant(
        &self,
        request: Request<api::UpdateTenantRequest>,
    ) -> Result<Response<api::Tenant>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let given = request.tenant.ok_or_else(|| Problem::field("tenant", "is required"))?;
        let name: TenantName = from::name("tenant.name", &given.name)?;
        let mask = from::Mask::new(request.update_mask, &["display_name", "labels"])?;
        let display_name = from::display_name("tenant.display_name", given.display_name)?;
        let patch = TenantPatch {
            display_name: mask.take("display_name", display_name, |text| !text.is_empty()),
            labels: from::label_patch("tenant.labels", &mask, given.labels)?,
        };
        drop(self.guard.change(&call, name.clone()).await?);
        let updated = self.admin.update_tenant(&name, &given.etag, &patch).await;
        updated
            .map(|changed| Response::new(to::tenant(&changed, self.now())))
            .map_err(|err| errors::admin(&name, err))
    }

    async fn delete_tenant(
        &self,
        request: Request<api::DeleteTenantRequest>,
    ) -> Result<Response<api::Tenant>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: TenantName = from::name("name", &request.name)?;
        drop(self.guard.change(&call, name.clone()).await?);
        let what = if request.force { Deleting::Everything } else { Deleting::IfEmpty };
        let (admin, this) = (self.admin.clone(), name.clone());
        let work = async move { admin.delete_tenant(&this, &request.etag, what).await };
        match finished(&call, &self.admin.refresher, work).await {
            Ok(deleted) => Ok(Response::new(to::tenant(&deleted, self.now()))),
            Err(AdminError::NotFound { .. }) if request.allow_missing => {
                Ok(Response::new(api::Tenant { name: name.to_string(), ..Default::default() }))
            }
            Err(err) => Err(errors::admin(&name, err)),
        }
    }

    async fn undelete_tenant(
        &self,
        request: Request<api::UndeleteTenantRequest>,
    ) -> Result<Response<api::Tenant>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: TenantName = from::name("name", &request.name)?;
        drop(self.guard.change(&call, name.clone()).await?);
        let (admin, this) = (self.admin.clone(), name.clone());
        let work = async move { admin.undelete_tenant(&this, &request.etag).await };
        let restored =
            finished(&call, &self.admin.refresher, work).await.map_err(|err| errors::admin(&name, err))?;
        Ok(Response::new(to::tenant(&restored, self.now())))
    }
}
