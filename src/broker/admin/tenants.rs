//! Tenants: the walls between customers, each with keys of its own.

use super::{Admin, AdminError, Kind, Listing, Page, check_etag};
use crate::{
    domain::{
        client::{Client, Tenant},
        connection::Connection,
        labels::LabelPatch,
        names::{Owner, TenantName},
    },
    store::{
        ledger::{Loaded, Wrote},
        records::{CLIENTS, CONNECTIONS, Record, TENANTS, prefix},
    },
};
use std::collections::BTreeMap;

/// What a caller may change of a tenant; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct TenantPatch {
    pub display_name: Option<String>,
    pub labels: Option<LabelPatch>,
}

impl Admin {
    /// The keys come first: a record is stamped with them.
    pub async fn create_tenant(&self, name: TenantName, patch: TenantPatch) -> Result<Tenant, AdminError> {
        let owner = Owner::Tenant(name.clone());
        self.keys.create(&owner).await?;
        let now = self.clock.now();
        let mut tenant = Tenant {
            uid: self.new_uid(),
            revision: 1,
            created_at: now,
            updated_at: now,
            display_name: patch.display_name.unwrap_or_default(),
            labels: BTreeMap::new(),
            name,
        };
        if let Some(labels) = &patch.labels {
            labels.apply(&mut tenant.labels);
        }
        match self.ledger.create(&tenant).await? {
            Wrote::Done(_) => Ok(tenant),
            Wrote::Conflict => {
                Err(AdminError::AlreadyExists { kind: Kind::Tenant, name: tenant.name.to_string() })
            }
        }
    }

    pub async fn tenant(&self, name: &TenantName) -> Result<Loaded<Tenant>, AdminError> {
        let missing = || AdminError::NotFound { kind: Kind::Tenant, name: name.to_string() };
        let owner = Owner::Tenant(name.clone());
        let found =
            self.ledger.read::<Tenant>(name).await.map_err(|err| super::tenant_missing(err, &owner))?;
        found.ok_or_else(missing)
    }

    pub async fn tenants(&self, listing: Listing<'_, Tenant>) -> Result<Page<Tenant>, AdminError> {
        self.page(TENANTS, Listing { owner: None, ..listing }).await
    }

    pub async fn update_tenant(
        &self,
        name: &TenantName,
        given_etag: &str,
        patch: &TenantPatch,
    ) -> Result<Tenant, AdminError> {
        self.tenant(name).await?;
        let missing = || AdminError::NotFound { kind: Kind::Tenant, name: name.to_string() };
        let changed = self.ledger.amend(name, missing, |tenant: &mut Tenant, now| {
            check_etag(given_etag, tenant.uid, tenant.revision, name)?;
            tenant.display_name = patch.display_name.clone().unwrap_or_else(|| tenant.display_name.clone());
            if let Some(labels) = &patch.labels {
                labels.apply(&mut tenant.labels);
            }
            tenant.changed(now.here);
            Ok(())
        });
        Ok(changed.await?.record)
    }

    /// An empty tenant goes at once, its keys with it.
    pub async fn delete_tenant(&self, name: &TenantName, given_etag: &str) -> Result<Tenant, AdminError> {
        let owner = Owner::Tenant(name.clone());
        let found = self.tenant(name).await;
        if let Err(AdminError::NotFound { .. }) = &found {
            // Keys that a broken-off delete left behind must not come to life with a new tenant of this name.
            self.keys.destroy(&owner).await?;
        }
        let loaded = found?;
        check_etag(given_etag, loaded.record.uid, loaded.record.revision, name)?;
        self.nothing_left(CONNECTIONS, &owner).await?;
        self.nothing_left(CLIENTS, &owner).await?;
        match self.ledger.delete(&loaded).await? {
            Wrote::Done(_) => {
                self.keys.destroy(&owner).await?;
                tracing::info!(tenant = %name, "tenant deleted; its keys are destroyed");
                Ok(loaded.record)
            }
            Wrote::Conflict => Err(AdminError::EtagMismatch { name: name.to_string() }),
        }
    }

    async fn nothing_left(&self, kind: &str, owner: &Owner) -> Result<(), AdminError> {
        match self.ledger.first(&prefix(kind, Some(owner))).await? {
            Some(child) => {
                let connection = Connection::name_of(&child).map(|name| name.to_string());
                let name = connection.or_else(|| Client::name_of(&child).map(|name| name.to_string()));
                let child = name.unwrap_or_else(|| child.to_string());
                Err(AdminError::NotEmpty { name: owner.to_string(), child })
            }
            None => Ok(()),
        }
    }
}
