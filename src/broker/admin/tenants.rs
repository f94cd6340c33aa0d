//! Tenants: the walls between customers, each with keys of its own.

use super::{Admin, AdminError, Kind, Listing, Page, check_etag};
use crate::{
    domain::{
        client::{Client, Deletion, Tenant, Undo},
        connection::Connection,
        labels::LabelPatch,
        names::{Owner, TenantName},
    },
    store::{
        StoreError,
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

/// What of a tenant may be deleted with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleting {
    /// Nothing: it has to be empty.
    IfEmpty,
    Everything,
}

impl Admin {
    /// The keys come first: a record is stamped with them.
    pub async fn create_tenant(&self, name: TenantName, patch: TenantPatch) -> Result<Tenant, AdminError> {
        let owner = Owner::Tenant(name.clone());
        self.keys.create(&owner).await?;
        let free = self.keys.chain(&owner).await?;
        if free.is_some_and(|now| now.chain.shut_at.is_some() || !now.chain.is_held()) {
            // One of this name is deleted, and not gone yet.
            return Err(AdminError::AlreadyExists { kind: Kind::Tenant, name: name.to_string() });
        }
        let now = self.clock.now();
        let mut tenant = Tenant {
            uid: self.new_uid(),
            revision: 1,
            created_at: now,
            updated_at: now,
            display_name: patch.display_name.unwrap_or_default(),
            labels: BTreeMap::new(),
            deletion: None,
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

    /// A tenant that is served.
    pub async fn tenant(&self, name: &TenantName) -> Result<Loaded<Tenant>, AdminError> {
        let loaded = self.tenant_even_deleted(name).await?;
        match loaded.record.deletion {
            Some(_) => Err(StoreError::Deleted { owner: name.to_string() }.into()),
            None => Ok(loaded),
        }
    }

    /// A tenant, also one that is deleted and not gone yet.
    pub async fn tenant_even_deleted(&self, name: &TenantName) -> Result<Loaded<Tenant>, AdminError> {
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

    /// Nothing of it is served from now on; it can be restored until its keys are destroyed.
    pub async fn delete_tenant(
        &self,
        name: &TenantName,
        given_etag: &str,
        what: Deleting,
    ) -> Result<Tenant, AdminError> {
        let owner = Owner::Tenant(name.clone());
        let loaded = self.tenant_even_deleted(name).await?;
        if let Some(deletion) = loaded.record.deletion {
            // A deletion that broke off is brought on.
            self.custodian.plan_purge(name, deletion.purge_at).await?;
            self.custodian.settle(name).await?;
            return Ok(loaded.record);
        }
        check_etag(given_etag, loaded.record.uid, loaded.record.revision, name)?;
        match what {
            Deleting::IfEmpty => {
                self.nothing_left(CONNECTIONS, &owner).await?;
                self.nothing_left(CLIENTS, &owner).await?;
            }
            Deleting::Everything => {}
        }
        let purge_at = self.ledger.now().store.plus(self.custodian.rules.undo_window);
        self.custodian.plan_purge(name, purge_at).await?;
        let missing = || AdminError::NotFound { kind: Kind::Tenant, name: name.to_string() };
        let deleted = self.ledger.amend(name, missing, |tenant: &mut Tenant, now| {
            check_etag(given_etag, tenant.uid, tenant.revision, name)?;
            if tenant.deletion.is_none() {
                tenant.deletion = Some(Deletion { deleted_at: now.here, purge_at, undo: Undo::Possible });
                tenant.changed(now.here);
            }
            Ok(())
        });
        let deleted = deleted.await?.record;
        // Again: while the record did not say so yet, whoever looked took the plan for one that was undone.
        self.custodian.plan_purge(name, deleted.deletion.map_or(purge_at, |ours| ours.purge_at)).await?;
        self.custodian.settle(name).await?;
        tracing::info!(tenant = %name, %purge_at, "tenant deleted; it can be restored until its keys are destroyed");
        Ok(deleted)
    }

    /// Brings a deleted tenant back as it was.
    pub async fn undelete_tenant(&self, name: &TenantName, given_etag: &str) -> Result<Tenant, AdminError> {
        let missing = || AdminError::NotFound { kind: Kind::Tenant, name: name.to_string() };
        let loaded = self.tenant_even_deleted(name).await?;
        check_etag(given_etag, loaded.record.uid, loaded.record.revision, name)?;
        let restored = if loaded.record.deletion.is_some() {
            let restored = self.ledger.amend(name, missing, |tenant: &mut Tenant, now| {
                check_etag(given_etag, tenant.uid, tenant.revision, name)?;
                match tenant.deletion.map(|deletion| deletion.undo) {
                    Some(Undo::TooLate) => return Err(missing()),
                    Some(Undo::Possible) => {
                        tenant.deletion = None;
                        tenant.changed(now.here);
                    }
                    None => {}
                }
                Ok(())
            });
            restored.await?.record
        } else {
            loaded.record
        };
        self.custodian.settle(name).await?;
        Ok(restored)
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
