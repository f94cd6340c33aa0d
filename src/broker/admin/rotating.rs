//! A client's secret changed at the provider and here, where the provider lets a client do that itself (SAP Concur).
//! Steps and their order are the domain's; here they are taken, each written down before the next.

use super::{Admin, AdminError, check_etag, credentials::NewSecret};
use crate::{
    domain::{
        client::Client,
        failure::Failure,
        names::ClientName,
        profile::{Dialect, Profile},
        rotation::{Listed, Rotation, RotationStage},
        token::ClientSecret,
    },
    provider::{Managed, ManagingSecrets, SecretStep},
    store::StoreError,
};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Steps of one rotation, with those that a lost answer adds.
const STEPS_MAX: usize = 16;
/// Pause between tries to store a new secret that nobody else has; it is held in memory until then.
const STORE_PAUSE: Duration = Duration::from_millis(250);

impl Admin {
    /// Changes the client's secret at the provider and here. One that broke off goes on where it was. A failure leaves
    /// the old secret working; once the new one has proven itself, the new one.
    pub async fn rotate_client_secret(
        &self,
        name: &ClientName,
        given_etag: &str,
    ) -> Result<Client, AdminError> {
        let client = self.client(name).await?.record;
        check_etag(given_etag, client.uid, client.revision, name)?;
        let profile = self
            .catalogue
            .get(&client.provider)
            .ok_or_else(|| crate::broker::refresher::RefreshError::NoProfile(client.provider.clone()))?;
        match profile.dialect {
            Dialect::SapConcur => {}
            Dialect::Rfc6749 => {
                return Err(AdminError::RotationNotOffered { provider: profile.name.to_string() });
            }
        }
        if client.rotation.is_none() {
            self.begin(&client, &profile).await?;
        }
        for _ in 0..STEPS_MAX {
            let client = self.client(name).await?.record;
            let Some(rotation) = client.rotation.clone() else { return Ok(client) };
            self.step(&client, &profile, &rotation).await?;
        }
        Err(AdminError::RotationFailed(Failure::of_ours("rotation took more steps than it can have")))
    }

    async fn begin(&self, client: &Client, profile: &Arc<Profile>) -> Result<(), AdminError> {
        let listed = self.listed(client, profile, None).await?;
        let begun = |problem: crate::domain::rotation::NotBegun| AdminError::RotationNotBegun(problem);
        self.amend_client(&client.name, "", |record, now| {
            if record.rotation.is_none() {
                let rotation = Rotation::begun(record, &listed, now).map_err(begun)?;
                record.begin_rotation(rotation, now);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    async fn step(
        &self,
        client: &Client,
        profile: &Arc<Profile>,
        rotation: &Rotation,
    ) -> Result<(), AdminError> {
        let (old, new) = (Some(rotation.old_secret), rotation.new.as_ref().map(|(_, secret)| *secret));
        let there = rotation.new.as_ref().map_or("", |(id, _)| id.as_str());
        let stage = match rotation.stage {
            RotationStage::Begun => return self.create_secret(client, profile, rotation).await,
            RotationStage::Created => {
                self.manage(client, profile, old, SecretStep::Activate(there)).await?;
                RotationStage::Activated
            }
            RotationStage::Activated => {
                self.manage(client, profile, new, SecretStep::Prove).await?;
                RotationStage::Proven
            }
            RotationStage::Proven => {
                self.manage(client, profile, new, SecretStep::Deactivate(&rotation.old)).await?;
                RotationStage::Deactivated
            }
            RotationStage::Deactivated => {
                self.manage(client, profile, new, SecretStep::Delete(&rotation.old)).await?;
                RotationStage::Deleted
            }
            RotationStage::Deleted => {
                self.amend_client(&client.name, "", |record, now| Ok(record.end_rotation(now)?)).await?;
                tracing::info!(client = %client.name, "secret was changed at the provider and here");
                return Ok(());
            }
        };
        self.amend_client(&client.name, "", |record, now| {
            if record.rotation.as_ref().is_some_and(|open| open.stage == rotation.stage) {
                record.rotation_at(stage, now);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Once the provider has given it, nobody else has the new secret: it is written until the store takes it.
    async fn create_secret(
        &self,
        client: &Client,
        profile: &Arc<Profile>,
        rotation: &Rotation,
    ) -> Result<(), AdminError> {
        let old = Some(rotation.old_secret);
        for lost in rotation.lost(&self.listed(client, profile, old).await?) {
            self.manage(client, profile, old, SecretStep::Delete(lost)).await?;
        }
        let made = self.manage(client, profile, old, SecretStep::Create).await?;
        let Managed::Created { id, value } = made else {
            return Err(AdminError::RotationFailed(Failure::of_ours("provider gave no new secret")));
        };
        let secret = NewSecret::from(ClientSecret(value.0.clone()));
        loop {
            let stored = async {
                // Each time anew: the key that seals it may be rotated while the store does not take it.
                let sealed = self.credential(client, &[], &secret).await?;
                self.amend_client(&client.name, "", |record, now| {
                    let open =
                        record.rotation.as_ref().is_some_and(|open| open.stage == RotationStage::Begun);
                    if open {
                        Ok(record.rotation_created(&id, sealed.clone(), now)?)
                    } else {
                        Err(overtaken())
                    }
                })
                .await
            };
            match stored.await {
                Err(AdminError::Store(
                    StoreError::Unavailable { .. }
                    | StoreError::WritesRefused { .. }
                    | StoreError::Full
                    | StoreError::KeyAway { .. }
                    | StoreError::Contended { .. },
                )) => {
                    tracing::error!(client = %client.name,
                        "a new secret could not be stored yet; it is held in memory and tried again, do not stop this process");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                stored => return stored.map(drop),
            }
        }
    }

    async fn listed(
        &self,
        client: &Client,
        profile: &Arc<Profile>,
        with: Option<Uuid>,
    ) -> Result<Vec<Listed>, AdminError> {
        match self.manage(client, profile, with, SecretStep::List).await? {
            Managed::Listed(listed) => Ok(listed),
            Managed::Created { .. } | Managed::Done => Ok(Vec::new()),
        }
    }

    /// One call at the provider, with this secret only; `None`: with whichever works.
    async fn manage(
        &self,
        client: &Client,
        profile: &Arc<Profile>,
        with: Option<Uuid>,
        step: SecretStep<'_>,
    ) -> Result<Managed, AdminError> {
        let mut identity = self.refresher.identity(client).await?;
        identity.credentials.retain(|credential| with.is_none_or(|secret| credential.id == secret));
        let managing = ManagingSecrets { profile, client: &identity, step, correlation_id: Uuid::new_v4() };
        self.provider.manage_secrets(&managing).await.map_err(AdminError::RotationFailed)
    }
}

/// Another call to rotate went on in the meantime.
fn overtaken() -> AdminError {
    AdminError::RotationFailed(Failure::of_ours("another call rotates this client's secret: ask again"))
}
