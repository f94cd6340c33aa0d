//! The audit trail's key: made by the first replica that needs it, sealed with the platform's keys, the same for all.

use super::keys::Keyring;
use crate::{
    clock::Clock,
    domain::{
        audit::{AuditKeyName, KeptAuditKey},
        names::Owner,
        token::{AuditKeyText, Sealed, Secret},
    },
    seal::{self, OwnerKeys, Place, SealBroken, SealError},
    store::{
        Room, StoreError,
        ledger::{Ledger, Wrote},
    },
};
use uuid::Uuid;

/// Replicas that begin at the same moment: one makes the key, the others find it at the next look.
const LOOKS_MAX: u32 = 5;

/// The audit trail's key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AuditKeyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was altered, or sealed by keys that are gone. Restore the record, or delete it: then a new key is made, and
    /// tokens of before are not found by it.
    #[error("the audit trail's key does not open")]
    Broken(#[from] SealBroken),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("the audit trail's key was written by several processes again and again")]
    Contended,
}

/// The key in its text form; made if there is none, and sealed anew if the platform has a newer key.
pub async fn audit_key(ledger: &Ledger, keys: &Keyring, clock: &dyn Clock) -> Result<Secret, AuditKeyError> {
    let platform = keys.sealing(&Owner::Platform).await?;
    for _ in 0..LOOKS_MAX {
        if let Some(loaded) = ledger.read::<KeptAuditKey>(&AuditKeyName).await? {
            let kept = &loaded.record;
            let text = opened(&platform, kept)?;
            if seal::claimed_key_version(&kept.sealed) != Some(platform.active_version()) {
                let anew = KeptAuditKey { sealed: sealed(&platform, kept.uid, &text)?, ..kept.clone() };
                match ledger.update(&loaded, &anew, Room::Needed).await {
                    // Another replica may have done the same.
                    Ok(_) => {}
                    // It opens as it is, and the walk after a rotation seals it as well.
                    Err(error) if error.is_outage() || matches!(error, StoreError::Full) => {
                        tracing::debug!(%error, "the audit trail's key was not sealed anew");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            return Ok(text.0);
        }
        let (now, text) = (clock.now(), AuditKeyText(seal::fresh_audit_key()));
        let uid = now.uuid();
        let made = KeptAuditKey { uid, created_at: now, sealed: sealed(&platform, uid, &text)? };
        if let Wrote::Done(_) = ledger.create(&made).await? {
            return Ok(text.0);
        }
    }
    Err(AuditKeyError::Contended)
}

/// The same for somebody who only looks; `None`: there is none yet.
pub async fn audit_key_found(ledger: &Ledger, keys: &Keyring) -> Result<Option<Secret>, AuditKeyError> {
    let Some(loaded) = ledger.read::<KeptAuditKey>(&AuditKeyName).await? else { return Ok(None) };
    let platform = keys.keys_for(&Owner::Platform, &loaded.record.sealed).await?;
    let text = opened(&platform, &loaded.record)?;
    Ok(Some(text.0))
}

fn opened(platform: &OwnerKeys, kept: &KeptAuditKey) -> Result<AuditKeyText, SealBroken> {
    platform.open(&place(&AuditKeyName.to_string(), kept.uid), &kept.sealed)
}

fn sealed(keys: &OwnerKeys, uid: Uuid, text: &AuditKeyText) -> Result<Sealed<AuditKeyText>, SealError> {
    keys.seal(&place(&AuditKeyName.to_string(), uid), text)
}

fn place(resource: &str, uid: Uuid) -> Place<'_> {
    Place { resource, family: uid, generation: 0 }
}
