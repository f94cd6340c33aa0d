//! The end of a key version: destroyed once a full scan has found nothing that needs it. The scan goes on when its caller
//! leaves, and who asks again waits for the same one.

use super::{
    ChainView, Custodian, KeysError, no_chain,
    sealed::{Holds, needed},
    steps::Act,
};
use crate::{
    access::Chain,
    broker::keys::RootNow,
    clock::Timestamp,
    domain::{
        audit::KeptAuditKey,
        client::{Client, Tenant},
        connection::Connection,
        kek_log::{KekLog, KekLogName},
        names::Owner,
        walk::Walk,
    },
    seal::{KekKey, KekKind, KeyChain, KeyState, Root},
    store::{
        Key, PAGE_MAX, StoreError,
        records::{Holding, holdings},
    },
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use std::{collections::HashMap, sync::Arc};

/// Scans under way in this process, by chain and version.
pub(super) type Retirements = HashMap<(Chain, u32), Shared<BoxFuture<'static, Result<(), KeysError>>>>;

/// What needs a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct References {
    records: u64,
    /// Of those, what cannot be read.
    broken: u64,
}

impl Custodian {
    /// Destroys a version that nothing needs.
    pub async fn retire(
        self: &Arc<Self>,
        chain: &Chain,
        version: u32,
        etag: &str,
    ) -> Result<ChainView, KeysError> {
        let view = self.view(chain).await?;
        if !etag.is_empty() && etag != view.etag {
            return Err(KeysError::EtagMismatch { chain: chain.to_string() });
        }
        let known = view.versions.iter().find(|known| known.version == version);
        let name = || chain.to_string();
        match known.map(|known| known.state) {
            None => return Err(KeysError::NoVersion { chain: name(), version }),
            Some(KeyState::Destroyed) => return Ok(view),
            Some(KeyState::Active) => return Err(KeysError::Active { chain: name(), version }),
            Some(KeyState::Prepared) => {
                return Err(KeysError::InProgress { chain: name(), stage: "the version is not in use yet" });
            }
            Some(KeyState::DecryptOnly) => {}
        }
        let key = (chain.clone(), version);
        let scan = {
            let mut scans = self.retirements.lock();
            scans
                .entry(key.clone())
                .or_insert_with(|| {
                    let (this, chain) = (self.clone(), chain.clone());
                    let task = self.tasks.spawn(async move {
                        let outcome = this.retired(&chain, version).await;
                        this.retirements.lock().remove(&(chain, version));
                        outcome
                    });
                    async move { task.await.unwrap_or(Err(KeysError::Lost)) }.boxed().shared()
                })
                .clone()
        };
        scan.await?;
        self.view(chain).await
    }

    async fn retired(&self, chain: &Chain, version: u32) -> Result<(), KeysError> {
        match chain {
            Chain::Kek => self.retire_kek(version).await,
            Chain::Root => self.retire_root(version).await,
            Chain::Of(owner) => self.retire_of(owner, version).await,
        }
    }

    async fn retire_of(&self, owner: &Owner, version: u32) -> Result<(), KeysError> {
        let chain = Chain::Of(owner.clone());
        let now = self.keys.chain(owner).await?.ok_or_else(|| no_chain(owner))?;
        self.settled(&chain, &now.chain, version, now.at)?;
        // From here on nobody seals with it: what the scan does not find is not there.
        let mut all = References::default();
        for holding in holdings(owner) {
            match holding {
                Holding::Connections(prefix) => self.count::<Connection>(&prefix, version, &mut all).await?,
                Holding::Clients(prefix) => self.count::<Client>(&prefix, version, &mut all).await?,
                Holding::AuditKey(prefix) => self.count::<KeptAuditKey>(&prefix, version, &mut all).await?,
                Holding::KekLog(prefix) => self.count::<KekLog>(&prefix, version, &mut all).await?,
                Holding::Walks(prefix) => self.count::<Walk>(&prefix, version, &mut all).await?,
                Holding::Tenant(key) => {
                    let found = self.ledger.sifted::<Tenant>(&Key::new(key)?).await?;
                    if let Some(sifted) = found {
                        all.take(&needed(&sifted), sifted.found.is_err(), version);
                    }
                }
            }
        }
        in_use(&chain, version, all)?;
        self.step_of(owner, Act::Destroy(version)).await?;
        tracing::info!(%chain, version, "key version is destroyed");
        Ok(())
    }

    async fn retire_root(&self, version: u32) -> Result<(), KeysError> {
        let RootNow { rooted, at } = self.keys.root_now().await?;
        self.settled(&Chain::Root, &rooted.chain.chain, version, at)?;
        let (mut all, mut after) = (References::default(), None);
        loop {
            let found = self.keys.chains(after.as_ref(), PAGE_MAX).await?;
            for (_, chain) in &found {
                if let Some((_, chain)) = chain {
                    all.take(&Root::wrapped_by(chain), false, version);
                }
            }
            if found.len() < PAGE_MAX {
                break;
            }
            after = found.last().map(|(key, _)| key.clone());
        }
        in_use(&Chain::Root, version, all)?;
        self.step_of_root(Act::Destroy(version)).await?;
        tracing::info!(chain = %Chain::Root, version, "key version is destroyed");
        Ok(())
    }

    /// The key is its owner's: here it is only noted that nothing needs it.
    async fn retire_kek(&self, version: u32) -> Result<(), KeysError> {
        let no_version = || KeysError::NoVersion { chain: Chain::Kek.to_string(), version };
        let log = self.noted_keks(None).await?;
        let seen = log.keys.iter().find(|seen| seen.version == version).ok_or_else(no_version)?;
        let kind = KekKind::of(&seen.kind).ok_or_else(no_version)?;
        let key = KekKey { kind, id: seen.id.clone() };
        let RootNow { rooted, at } = self.keys.root_now().await?;
        let records = rooted.chain.keks().get(&key).copied().unwrap_or(0);
        in_use(&Chain::Kek, version, References { records, broken: 0 })?;
        self.note(&Chain::Kek, version, KeyState::Destroyed).await?;
        let missing = || KeysError::from(StoreError::Contended { name: Chain::Kek.to_string() });
        self.ledger
            .amend(&KekLogName, missing, |log: &mut KekLog, _| {
                let seen = log.keys.iter_mut().find(|seen| seen.version == version);
                if let Some(seen) = seen {
                    seen.retired_at = seen.retired_at.or(Some(at));
                }
                Ok(())
            })
            .await?;
        Ok(())
    }

    fn settled(
        &self,
        chain: &Chain,
        versions: &KeyChain,
        version: u32,
        now: Timestamp,
    ) -> Result<(), KeysError> {
        match self.unsettled(versions, version, now) {
            Some(stage) => Err(KeysError::InProgress { chain: chain.to_string(), stage }),
            None => Ok(()),
        }
    }

    async fn count<R: Holds>(
        &self,
        prefix: &str,
        version: u32,
        all: &mut References,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let found = self.ledger.sift::<R>(prefix, after.as_ref(), PAGE_MAX).await?;
            for sifted in &found {
                all.take(&needed(sifted), sifted.found.is_err(), version);
            }
            if found.len() < PAGE_MAX {
                return Ok(());
            }
            after = found.last().map(|last| last.key.clone());
        }
    }
}

impl References {
    fn take(&mut self, needed: &std::collections::BTreeSet<u32>, broken: bool, version: u32) {
        if needed.contains(&version) {
            self.records += 1;
            self.broken += u64::from(broken);
        }
    }
}

fn in_use(chain: &Chain, version: u32, found: References) -> Result<(), KeysError> {
    match found {
        References { records: 0, .. } => Ok(()),
        References { records, broken } => {
            Err(KeysError::InUse { chain: chain.to_string(), version, records, broken })
        }
    }
}
