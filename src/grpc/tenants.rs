//! `bursar.v1.TenantService`.

use super::{
    errors,
    filter::{Fields, Filter, Type, Value},
    from_proto as from,
    problem::Problem,
    to_proto as to, unimplemented,
};
use crate::{
    api::{self, tenant_service_server::TenantService},
    broker::admin::{Admin, AdminError, Listing, new_id, tenants::TenantPatch},
    domain::{
        client::Tenant,
        labels::LabelPatch,
        names::{Id, TenantName},
    },
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub struct Tenants {
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

#[tonic::async_trait]
impl TenantService for Tenants {
    async fn create_tenant(
        &self,
        request: Request<api::CreateTenantRequest>,
    ) -> Result<Response<api::Tenant>, Status> {
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
        let created = self.admin.create_tenant(name.clone(), patch).await;
        created.map(|made| Response::new(to::tenant(&made))).map_err(|err| errors::admin(&name, err))
    }

    async fn get_tenant(
        &self,
        request: Request<api::GetTenantRequest>,
    ) -> Result<Response<api::Tenant>, Status> {
        let name: TenantName = from::name("name", &request.into_inner().name)?;
        let found = self.admin.tenant(&name).await.map_err(|err| errors::admin(&name, err))?;
        Ok(Response::new(to::tenant(&found.record)))
    }

    async fn list_tenants(
        &self,
        request: Request<api::ListTenantsRequest>,
    ) -> Result<Response<api::ListTenantsResponse>, Status> {
        let request = request.into_inner();
        let filter = Filter::parse(&request.filter, FIELDS)?;
        let listing = Listing {
            owner: None,
            after: from::page_token(&request.page_token)?,
            limit: from::page_size(request.page_size)?,
            keep: &|tenant: &Tenant| filter.matches(|path| field(tenant, path)),
        };
        let page = self.admin.tenants(listing).await.map_err(|err| errors::admin(&"tenants", err))?;
        Ok(Response::new(api::ListTenantsResponse {
            tenants: page.items.iter().map(|loaded| to::tenant(&loaded.record)).collect(),
            next_page_token: from::to_page_token(page.next.as_ref()),
        }))
    }

    async fn update_tenant(
        &self,
        request: Request<api::UpdateTenantRequest>,
    ) -> Result<Response<api::Tenant>, Status> {
        let request = request.into_inner();
        let given = request.tenant.ok_or_else(|| Problem::field("tenant", "is required"))?;
        let name: TenantName = from::name("tenant.name", &given.name)?;
        let mask = from::Mask::new(request.update_mask, &["display_name", "labels"])?;
        let display_name = from::display_name("tenant.display_name", given.display_name)?;
        let patch = TenantPatch {
            display_name: mask.take("display_name", display_name, |text| !text.is_empty()),
            labels: from::label_patch("tenant.labels", &mask, given.labels)?,
        };
        let updated = self.admin.update_tenant(&name, &given.etag, &patch).await;
        updated.map(|changed| Response::new(to::tenant(&changed))).map_err(|err| errors::admin(&name, err))
    }

    /// An empty tenant goes at once; deleting what is in it along with it comes with the undo window.
    async fn delete_tenant(
        &self,
        request: Request<api::DeleteTenantRequest>,
    ) -> Result<Response<api::Tenant>, Status> {
        let request = request.into_inner();
        let name: TenantName = from::name("name", &request.name)?;
        if request.force {
            return Err(unimplemented("DeleteTenant with force"));
        }
        match self.admin.delete_tenant(&name, &request.etag).await {
            Ok(deleted) => {
                let now = Some(to::timestamp(self.admin.clock.now()));
                Ok(Response::new(api::Tenant { delete_time: now, purge_time: now, ..to::tenant(&deleted) }))
            }
            Err(AdminError::NotFound { .. }) if request.allow_missing => {
                Ok(Response::new(api::Tenant { name: name.to_string(), ..Default::default() }))
            }
            Err(err) => Err(errors::admin(&name, err)),
        }
    }

    async fn undelete_tenant(
        &self,
        _: Request<api::UndeleteTenantRequest>,
    ) -> Result<Response<api::Tenant>, Status> {
        Err(unimplemented("UndeleteTenant"))
    }
}
