//! What each kind of record has sealed, and where: the one place that knows all of it, for a rotation to leave nothing
//! behind. What a record means is never touched here.

use crate::{
    domain::{
        audit::{AuditKeyName, KeptAuditKey},
        client::{Client, Tenant},
        connection::Connection,
        kek_log::KekLog,
        token::{Sealable, Sealed},
        walk::Walk,
    },
    seal::{OwnerKeys, Place, SealError, claimed_key_version},
    store::{ledger::Sifted, records::Record},
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// A record, with all that is sealed in it.
pub(super) trait Holds: Record {
    /// Every sealed value once.
    fn each(&mut self, visit: &mut impl Visit) -> Result<(), SealError>;
}

pub(super) trait Visit {
    fn value<T: Sealable>(
        &mut self,
        resource: &str,
        family: Uuid,
        generation: u64,
        sealed: &mut Sealed<T>,
    ) -> Result<(), SealError>;
}

/// Which versions the values say they were sealed by.
#[derive(Default)]
struct Versions(BTreeSet<u32>);

/// Seals each value by the active version.
struct Anew<'a>(&'a OwnerKeys);

impl Visit for Versions {
    fn value<T: Sealable>(
        &mut self,
        _: &str,
        _: Uuid,
        _: u64,
        sealed: &mut Sealed<T>,
    ) -> Result<(), SealError> {
        self.0.extend(claimed_key_version(sealed));
        Ok(())
    }
}

impl Visit for Anew<'_> {
    fn value<T: Sealable>(
        &mut self,
        resource: &str,
        family: Uuid,
        generation: u64,
        sealed: &mut Sealed<T>,
    ) -> Result<(), SealError> {
        let place = Place { resource, family, generation };
        if let Some(anew) = self.0.sealed_anew(&place, sealed)? {
            *sealed = anew;
        }
        Ok(())
    }
}

/// The versions that a record needs: of its stamp, and of what is sealed in it.
pub(super) fn needed<R: Holds>(sifted: &Sifted<R>) -> BTreeSet<u32> {
    let mut versions = Versions(sifted.stamped_by.into_iter().collect());
    if let Ok(loaded) = &sifted.found {
        // Only looks: nothing that could fail is done.
        let _ = loaded.record.clone().each(&mut versions);
    }
    versions.0
}

/// The record with everything sealed by the active version.
pub(super) fn sealed_anew<R: Holds>(record: &R, keys: &OwnerKeys) -> Result<R, SealError> {
    let mut anew = record.clone();
    anew.each(&mut Anew(keys))?;
    Ok(anew)
}

impl Holds for Connection {
    fn each(&mut self, visit: &mut impl Visit) -> Result<(), SealError> {
        let resource = self.name.to_string();
        let (family, generation) = (self.family, self.generation);
        if let Some(sealed) = &mut self.refresh_token {
            visit.value(&resource, family, generation, sealed)?;
        }
        if let Some(sealed) = &mut self.previous_refresh_token {
            visit.value(&resource, family, generation, sealed)?;
        }
        if let Some(token) = &mut self.token {
            visit.value(&resource, family, token.generation, &mut token.sealed)?;
        }
        if let Some(key) = &mut self.dpop {
            visit.value(&resource, self.uid, 0, &mut key.sealed)?;
        }
        if let Some(authorization) = &mut self.authorization {
            let id = authorization.id;
            if let Some(sealed) = &mut authorization.secrets {
                visit.value(&resource, id, 0, sealed)?;
            }
        }
        Ok(())
    }
}

impl Holds for Client {
    fn each(&mut self, visit: &mut impl Visit) -> Result<(), SealError> {
        let resource = self.name.to_string();
        for secret in &mut self.secrets {
            let id = secret.id;
            if let Some(sealed) = &mut secret.sealed {
                visit.value(&resource, id, 0, sealed)?;
            }
        }
        Ok(())
    }
}

impl Holds for KeptAuditKey {
    fn each(&mut self, visit: &mut impl Visit) -> Result<(), SealError> {
        visit.value(&AuditKeyName.to_string(), self.uid, 0, &mut self.sealed)
    }
}

impl Holds for Tenant {
    fn each(&mut self, _: &mut impl Visit) -> Result<(), SealError> {
        Ok(())
    }
}

impl Holds for Walk {
    fn each(&mut self, _: &mut impl Visit) -> Result<(), SealError> {
        Ok(())
    }
}

impl Holds for KekLog {
    fn each(&mut self, _: &mut impl Visit) -> Result<(), SealError> {
        Ok(())
    }
}
