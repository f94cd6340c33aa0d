//! `bursar tenant`.

use super::{
    ApiArgs,
    console::Console,
    failure::Failure,
    session::Session,
    values::{LabelChanges, ListArgs, change, labels, parse_label},
};
use crate::{
    api::{
        CreateTenantRequest, DeleteTenantRequest, GetTenantRequest, ListTenantsRequest, Tenant,
        UndeleteTenantRequest, UpdateTenantRequest,
    },
    domain::names::TenantName,
};
use clap::{Args, Subcommand};
use prost_types::FieldMask;

#[derive(Debug, Subcommand)]
pub(super) enum TenantCommand {
    /// Create a tenant and its first key
    Create(Create),
    /// List tenants
    List(List),
    /// Show a tenant
    Show {
        /// The tenant, `tenants/{tenant}`
        name: TenantName,
    },
    /// Change display name or labels
    Update(Update),
    /// Delete a tenant: nothing of it is served, and after the undo window its keys are destroyed
    Delete(Delete),
    /// Restore a deleted tenant, as long as its keys are not destroyed
    Undelete(Undelete),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The tenant, `tenants/{tenant}`
    name: TenantName,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// A label, repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Succeed when there is such a tenant, and leave it as it is
    #[arg(long)]
    allow_existing: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    list: ListArgs,
    /// Deleted tenants too
    #[arg(long)]
    show_deleted: bool,
}

#[derive(Debug, Args)]
#[command(group = change(["display_name", "set_labels", "removed_labels"]))]
pub(super) struct Update {
    /// The tenant, `tenants/{tenant}`
    name: TenantName,
    /// Name for people; an empty one removes it
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    #[command(flatten)]
    labels: LabelChanges,
    /// Change it only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The tenant, `tenants/{tenant}`
    name: TenantName,
    /// Delete it only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
    /// Succeed when there is no such tenant
    #[arg(long)]
    allow_missing: bool,
    /// Although it still has clients or connections
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Undelete {
    /// The tenant, `tenants/{tenant}`
    name: TenantName,
    /// Restore it only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
}

impl TenantCommand {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let session = Session::open(api).await?;
        let mut tenants = session.tenants();
        let tenant = match self {
            Self::Create(args) => {
                let (existing, mut getting) = (args.allow_existing.into(), session.tenants());
                let get = Box::pin(getting.get_tenant(GetTenantRequest { name: args.name.to_string() }));
                // A deleted one can be restored only.
                let fits = |found: &Tenant| found.delete_time.is_none();
                let create = Box::pin(tenants.create_tenant(args.request()));
                session.created(create, existing, get, fits).await?
            }
            Self::Show { name } => {
                session.wait(tenants.get_tenant(GetTenantRequest { name: name.to_string() })).await?
            }
            Self::Update(args) => session.wait(tenants.update_tenant(args.request())).await?,
            Self::Delete(args) => session.wait(tenants.delete_tenant(args.request())).await?,
            Self::Undelete(args) => {
                let request = UndeleteTenantRequest {
                    name: args.name.to_string(),
                    etag: args.etag.unwrap_or_default(),
                };
                session.wait(tenants.undelete_tenant(request)).await?
            }
            Self::List(args) => return args.run(&session, api, console).await,
        };
        console.show(&tenant, api.output)
    }
}

impl Create {
    fn request(self) -> CreateTenantRequest {
        let tenant = Tenant {
            display_name: self.display_name.unwrap_or_default(),
            labels: labels(self.labels),
            ..Tenant::default()
        };
        CreateTenantRequest { tenant_id: self.name.0.to_string(), tenant: Some(tenant) }
    }
}

impl List {
    async fn run(self, session: &Session, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let listed = session
            .pages(self.list.limit(), |page_size, page_token| {
                let (mut tenants, filter) = (session.tenants(), self.list.filter());
                let request =
                    ListTenantsRequest { page_size, page_token, filter, show_deleted: self.show_deleted };
                async move {
                    let answer = tenants.list_tenants(request).await?;
                    Ok(answer.map(|page| (page.tenants, page.next_page_token)))
                }
            })
            .await?;
        console.listed(&listed, api.output)
    }
}

impl Update {
    fn request(self) -> UpdateTenantRequest {
        let mut paths = self.labels.paths();
        if self.display_name.is_some() {
            paths.push("display_name".into());
        }
        let tenant = Tenant {
            name: self.name.to_string(),
            etag: self.etag.unwrap_or_default(),
            display_name: self.display_name.unwrap_or_default(),
            labels: labels(self.labels.set_labels),
            ..Tenant::default()
        };
        UpdateTenantRequest { tenant: Some(tenant), update_mask: Some(FieldMask { paths }) }
    }
}

impl Delete {
    fn request(self) -> DeleteTenantRequest {
        DeleteTenantRequest {
            name: self.name.to_string(),
            etag: self.etag.unwrap_or_default(),
            allow_missing: self.allow_missing,
            force: self.force,
        }
    }
}
