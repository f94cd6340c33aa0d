//! The root key: unlocked by the KEK at start and when it has got a new version, kept in memory, and the only thing that
//! wraps owners' keys. Never stores anything: it is given chains and gives chains back.

mod rotating;

use super::{
    OwnerKeys, SealBroken, SealError,
    chain::{self, KeyChain, KeyState, KeyVersion, RootChain},
    envelope::{self, Envelope},
    kek::{Kek, KekError, KekId, KekKey},
    keys::{DeploymentId, KeyBytes, Ring, Spot, Stamps},
};
use crate::{clock::Timestamp, domain::names::Owner};
use std::{collections::BTreeSet, fmt};
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
        let ring = Ring::new(deployment, ROOT, KekId::that_wrapped(&wrapped), 1, [(1, secret)])
            .expect("version 1 is given");
        let root = Self(ring);
        let chain = root.begun(ROOT, KeyVersion::first(wrapped, now));
        Ok((RootChain { deployment, chain }, root))
    }

    /// The root key of an existing deployment. Asks the KEK once for each version that is not destroyed.
    pub async fn unlock(kek: &dyn Kek, root: &RootChain) -> Result<Self, SealError> {
        Self::unlock_beside(kek, root, None).await
    }

    /// The same; what is unlocked already is taken from there, and the KEK is asked for the rest only.
    pub async fn unlock_beside(
        kek: &dyn Kek,
        root: &RootChain,
        known: Option<&Self>,
    ) -> Result<Self, SealError> {
        let RootChain { deployment, chain: KeyChain { versions, .. } } = root;
        let known = known.filter(|known| known.0.deployment == *deployment);
        let mut secrets = Vec::with_capacity(versions.len());
        for held in versions.iter().filter(|held| held.state.is_held()) {
            let secret = match known.and_then(|known| known.0.secret(held.version)) {
                Some(secret) => secret.clone(),
                None => kek.unwrap(&context(*deployment, held.version), &held.wrapped).await?,
            };
            secrets.push((held.version, secret));
        }
        let active = chain::active(versions)?;
        let wrapped = versions.iter().find(|held| held.version == active).map(|held| &held.wrapped[..]);
        let hint = KekId::that_wrapped(wrapped.unwrap_or_default());
        let unlocked = Self(Ring::new(*deployment, ROOT, hint, active, secrets).ok_or(SealBroken)?);
        unlocked.checked(ROOT, &root.chain)?;
        Ok(unlocked)
    }

    pub fn deployment(&self) -> DeploymentId {
        self.0.deployment
    }

    /// The version that wraps and stamps at present.
    pub fn active_version(&self) -> u32 {
        self.0.active_version()
    }

    /// A first key for an owner that has none.
    pub fn new_chain(&self, owner: &Owner, now: Timestamp) -> KeyChain {
        let owner = owner.to_string();
        let wrapped = self.wrap(&owner, 1, &KeyBytes::generate());
        self.begun(&owner, KeyVersion::first(wrapped, now))
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

    /// Whether this deployment wrote the chain for this owner.
    pub fn check_chain(&self, owner: &Owner, chain: &KeyChain) -> Result<(), SealBroken> {
        self.checked(&owner.to_string(), chain)
    }

    /// The chain with one more version, prepared: the first step of a rotation.
    pub fn prepare(&self, owner: &Owner, chain: &KeyChain, now: Timestamp) -> Result<KeyChain, SealError> {
        let owner = owner.to_string();
        let mut next = self.next(&owner, chain)?;
        let version = chain.next_version()?;
        let wrapped = self.wrap(&owner, version, &KeyBytes::generate());
        next.versions.push(KeyVersion::prepared(version, wrapped, now));
        Ok(self.stamped(&owner, next))
    }

    /// The chain after one version took its next step. Destroying is for versions that no record names any more.
    pub fn advance(
        &self,
        owner: &Owner,
        chain: &KeyChain,
        version: u32,
        to: KeyState,
        now: Timestamp,
    ) -> Result<KeyChain, SealError> {
        let owner = owner.to_string();
        let mut next = self.next(&owner, chain)?;
        next.versions = chain::advanced(&chain.versions, version, to, now)?;
        Ok(self.stamped(&owner, next))
    }

    /// The chain of an owner that was deleted, or is served again.
    pub fn shut(
        &self,
        owner: &Owner,
        chain: &KeyChain,
        shut_at: Option<Timestamp>,
    ) -> Result<KeyChain, SealBroken> {
        let owner = owner.to_string();
        let mut next = self.next(&owner, chain)?;
        next.shut_at = shut_at;
        Ok(self.stamped(&owner, next))
    }

    /// The chain of an owner that is gone: no version of it is left.
    pub fn shred(&self, owner: &Owner, chain: &KeyChain, now: Timestamp) -> Result<KeyChain, SealBroken> {
        let owner = owner.to_string();
        let mut next = self.next(&owner, chain)?;
        next.versions = chain::shredded(&chain.versions, now);
        Ok(self.stamped(&owner, next))
    }

    /// The same keys, wrapped and stamped by the active version; `None` where they are already.
    pub fn rewrap_chain(&self, owner: &Owner, chain: &KeyChain) -> Result<Option<KeyChain>, SealBroken> {
        let owner = owner.to_string();
        let mut next = self.next(&owner, chain)?;
        let active = self.0.active_version();
        if Self::wrapped_by(chain) == BTreeSet::from([active]) {
            return Ok(None);
        }
        for held in next.versions.iter_mut().filter(|held| held.state.is_held()) {
            let secret = self.unwrap(&owner, held.version, &held.wrapped)?;
            held.wrapped = self.wrap(&owner, held.version, &secret);
        }
        Ok(Some(self.stamped(&owner, next)))
    }

    /// The versions of the root key that a chain says it was wrapped and stamped by, unauthenticated.
    pub fn wrapped_by(chain: &KeyChain) -> BTreeSet<u32> {
        let wrapped = chain.versions.iter().filter_map(|held| Envelope::parse(&held.wrapped).ok());
        wrapped.map(|sealed| sealed.version).chain([chain.stamp.key_version]).collect()
    }

    /// Whether all versions are here that the chain says it needs.
    pub fn holds_those_of(&self, chain: &KeyChain) -> bool {
        Self::wrapped_by(chain).into_iter().all(|version| self.0.holds(version))
    }

    fn begun(&self, holder: &str, first: KeyVersion) -> KeyChain {
        let (versions, shut_at, revision) = (vec![first], None, 0);
        let stamp = self.0.stamp_chain(holder, &chain::encoded(&versions, shut_at, revision));
        KeyChain { versions, shut_at, revision, stamp }
    }

    /// What a change begins with; whoever changes it stamps it.
    fn next(&self, holder: &str, chain: &KeyChain) -> Result<KeyChain, SealBroken> {
        self.checked(holder, chain)?;
        Ok(KeyChain { revision: chain.revision + 1, ..chain.clone() })
    }

    fn stamped(&self, holder: &str, chain: KeyChain) -> KeyChain {
        let KeyChain { ref versions, shut_at, revision, .. } = chain;
        let stamp = self.0.stamp_chain(holder, &chain::encoded(versions, shut_at, revision));
        KeyChain { stamp, ..chain }
    }

    fn checked(&self, holder: &str, chain: &KeyChain) -> Result<(), SealBroken> {
        let encoded = chain::encoded(&chain.versions, chain.shut_at, chain.revision);
        self.0.check_chain(holder, &encoded, &chain.stamp)
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
