//! The root key: unlocked once at start by the KEK, kept in memory, and the only thing that wraps owners' keys.
//! Never stores anything: it is given chains and gives chains back.

use super::{
    OwnerKeys, SealBroken, SealError,
    chain::{self, KeyChain, KeyState, KeyVersion, RootChain},
    envelope,
    kek::{Kek, KekError},
    keys::{DeploymentId, KeyBytes, Ring, Spot, Stamps},
};
use crate::{clock::Timestamp, domain::names::Owner};
use std::fmt;
use uuid::Uuid;

/// Who stamps the root chain: the root itself.
const ROOT: &str = "root";

/// The deployment's root key, in all its versions.
pub struct Root(Ring);

impl Root {
    /// A new deployment: an id and a first root key. The chain is for the store; losing it loses everything.
    pub async fn create(kek: &dyn Kek, now: Timestamp) -> Result<(RootChain, Self), KekError> {
        let deployment = DeploymentId(Uuid::new_v4());
        let secret = KeyBytes::generate();
        let wrapped = kek.wrap(&context(deployment, 1), &secret).await?;
        let ring = Ring::new(deployment, ROOT, kek.id(), 1, [(1, secret)]).expect("version 1 is given");
        let root = Self(ring);
        let chain = root.stamped(ROOT, vec![KeyVersion::first(wrapped, now)]);
        Ok((RootChain { deployment, chain }, root))
    }

    /// The root key of an existing deployment. Asks the KEK once for each version that is not destroyed.
    pub async fn unlock(kek: &dyn Kek, root: &RootChain) -> Result<Self, SealError> {
        let RootChain { deployment, chain: KeyChain { versions, stamp } } = root;
        let mut secrets = Vec::with_capacity(versions.len());
        for held in versions.iter().filter(|held| held.state.is_held()) {
            let secret = kek.unwrap(&context(*deployment, held.version), &held.wrapped).await?;
            secrets.push((held.version, secret));
        }
        let active = chain::active(versions)?;
        let ring = Ring::new(*deployment, ROOT, kek.id(), active, secrets).ok_or(SealBroken)?;
        ring.check_chain(ROOT, &chain::encoded(versions), stamp)?;
        Ok(Self(ring))
    }

    /// The same chain, wrapped by another KEK (or by the new primary of the same keyset).
    pub async fn rewrap(&self, kek: &dyn Kek, root: &RootChain) -> Result<RootChain, SealError> {
        let mut versions = root.chain.versions.clone();
        self.0.check_chain(ROOT, &chain::encoded(&versions), &root.chain.stamp)?;
        for (version, secret) in self.0.secrets() {
            let held = versions.iter_mut().find(|held| held.version == version).ok_or(SealBroken)?;
            held.wrapped = kek.wrap(&context(self.0.deployment, version), secret).await?;
        }
        Ok(RootChain { deployment: root.deployment, chain: self.stamped(ROOT, versions) })
    }

    pub fn deployment(&self) -> DeploymentId {
        self.0.deployment
    }

    /// A first key for an owner that has none.
    pub fn new_chain(&self, owner: &Owner, now: Timestamp) -> KeyChain {
        let owner = owner.to_string();
        let wrapped = self.wrap(&owner, 1, &KeyBytes::generate());
        self.stamped(&owner, vec![KeyVersion::first(wrapped, now)])
    }

    /// The owner's keys. The owner comes from the request, never from the record that the chain was found in.
    pub fn unlock_chain(&self, owner: &Owner, chain: &KeyChain) -> Result<OwnerKeys, SealBroken> {
        let owner = owner.to_string();
        self.checked(&owner, chain)?;
        let held = chain.versions.iter().filter(|held| held.state.is_held());
        let secrets: Vec<_> = held
            .map(|held| Ok((held.version, self.unwrap(&owner, held.version, &held.wrapped)?)))
            .collect::<Result<_, SealBroken>>()?;
        let active = chain::active(&chain.versions)?;
        Ring::new(self.0.deployment, &owner, self.0.kek, active, secrets)
            .map(OwnerKeys::new)
            .ok_or(SealBroken)
    }

    /// The chain with one more version, prepared: the first step of a rotation.
    pub fn prepare(&self, owner: &Owner, chain: &KeyChain, now: Timestamp) -> Result<KeyChain, SealError> {
        let owner = owner.to_string();
        self.checked(&owner, chain)?;
        let version = chain::next_version(&chain.versions)?;
        let wrapped = self.wrap(&owner, version, &KeyBytes::generate());
        let mut versions = chain.versions.clone();
        versions.push(KeyVersion { version, state: KeyState::Prepared, wrapped, created_at: now });
        Ok(self.stamped(&owner, versions))
    }

    /// The chain after one version took its next step. Destroying is for versions that no record names any more.
    pub fn advance(
        &self,
        owner: &Owner,
        chain: &KeyChain,
        version: u32,
        to: KeyState,
    ) -> Result<KeyChain, SealError> {
        let owner = owner.to_string();
        self.checked(&owner, chain)?;
        Ok(self.stamped(&owner, chain::advanced(&chain.versions, version, to)?))
    }

    fn stamped(&self, holder: &str, versions: Vec<KeyVersion>) -> KeyChain {
        let stamp = self.0.stamp_chain(holder, &chain::encoded(&versions));
        KeyChain { versions, stamp }
    }

    fn checked(&self, owner: &str, chain: &KeyChain) -> Result<(), SealBroken> {
        self.0.check_chain(owner, &chain::encoded(&chain.versions), &chain.stamp)
    }

    fn wrap(&self, owner: &str, version: u32, secret: &KeyBytes) -> Vec<u8> {
        self.0.seal(chain_spot(owner, version), secret.expose()).expect("32 bytes are below SECRET_MAX")
    }

    fn unwrap(&self, owner: &str, version: u32, wrapped: &[u8]) -> Result<KeyBytes, SealBroken> {
        let plain = self.0.open(chain_spot(owner, version), wrapped)?;
        KeyBytes::from_slice(&plain).ok_or(SealBroken)
    }
}

/// Where an owner's wrapped key lies: the same shape as any other secret's place.
fn chain_spot(owner: &str, version: u32) -> Spot<'_> {
    Spot {
        owner,
        resource: "keychain",
        purpose: "tenant_key",
        family: Uuid::nil(),
        generation: u64::from(version),
    }
}

/// What the KEK binds a wrapped root key to.
fn context(deployment: DeploymentId, version: u32) -> Vec<u8> {
    let mut context = Vec::new();
    envelope::frame(&mut context, &[b"root_key", deployment.0.as_bytes(), &version.to_be_bytes()]);
    context
}

impl Stamps for Root {
    fn ring(&self) -> &Ring {
        &self.0
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
