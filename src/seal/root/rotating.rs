//! The root key's own chain while it is rotated, and while its KEK is: the KEK wraps, the root stamps.

use super::{KekKey, ROOT, Root, context};
use crate::{
    clock::Timestamp,
    seal::{
        SealBroken, SealError,
        chain::{self, KeyState, KeyVersion, RootChain},
        kek::Kek,
        keys::KeyBytes,
    },
};
use std::collections::BTreeMap;

impl Root {
    /// One more version, prepared. Asks the KEK once.
    pub async fn prepare_root(
        &self,
        kek: &dyn Kek,
        root: &RootChain,
        now: Timestamp,
    ) -> Result<RootChain, SealError> {
        let mut next = self.next(ROOT, &root.chain)?;
        let version = next.next_version()?;
        let wrapped = kek.wrap(&context(self.0.deployment, version), &KeyBytes::generate()).await?;
        next.versions.push(KeyVersion::prepared(version, wrapped, now));
        Ok(RootChain { deployment: root.deployment, chain: self.stamped(ROOT, next) })
    }

    /// The chain after one version took its next step, stamped by the version that is active then.
    pub fn advance_root(
        &self,
        root: &RootChain,
        version: u32,
        to: KeyState,
        now: Timestamp,
    ) -> Result<RootChain, SealError> {
        let mut next = self.next(ROOT, &root.chain)?;
        next.versions = chain::advanced(&root.chain.versions, version, to, now)?;
        let active = chain::active(&next.versions)?;
        let after = Self(self.0.with_active(active).ok_or(SealBroken)?);
        Ok(RootChain { deployment: root.deployment, chain: after.stamped(ROOT, next) })
    }

    /// The same chain, wrapped by another KEK (or by the new primary of the same keyset).
    pub async fn rewrap(&self, kek: &dyn Kek, root: &RootChain) -> Result<RootChain, SealError> {
        let mut next = self.next(ROOT, &root.chain)?;
        for held in next.versions.iter_mut().filter(|held| held.state.is_held()) {
            let secret = self.0.secret(held.version).ok_or(SealBroken)?;
            held.wrapped = kek.wrap(&context(self.0.deployment, held.version), secret).await?;
        }
        Ok(RootChain { deployment: root.deployment, chain: self.stamped(ROOT, next) })
    }
}

impl RootChain {
    /// By which keys of which KEK the root keys say they are wrapped, and how many by each.
    pub fn keks(&self) -> BTreeMap<KekKey, u64> {
        let mut counted = BTreeMap::new();
        for held in self.chain.versions.iter().filter(|held| held.state.is_held()) {
            if let Some(key) = KekKey::that_wrapped(&held.wrapped) {
                *counted.entry(key).or_default() += 1;
            }
        }
        counted
    }

    /// By which key the root key in use says it is wrapped.
    pub fn kek(&self) -> Option<KekKey> {
        KekKey::that_wrapped(&self.chain.active()?.wrapped)
    }
}
