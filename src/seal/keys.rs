//! Keys in memory: bytes that are wiped and never printed, and the ring of versions that one holder works with.
//! Never decides which versions there are: chains do.

use super::{
    SealBroken,
    envelope::{self, Envelope, LABEL, SUITE, Sealer, TooLarge},
    kek::KekId,
};
use aws_lc_rs::{constant_time, hkdf, hmac};
use std::fmt;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A 256-bit key. Boxed, so that moving it leaves no copy on the stack; wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct KeyBytes(Box<[u8; 32]>);

/// Names one installation of Bursar; everything sealed is bound to it. Made once, with the first root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeploymentId(pub Uuid);

/// Proof that the holder of a key wrote a document: HMAC-SHA-256 under a key derived from that version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which version of the holder's keys made the tag.
    pub key_version: u32,
    pub tag: [u8; 32],
}

/// Whoever can authenticate documents: [`Root`](super::Root) for what belongs to the deployment,
/// [`OwnerKeys`](super::OwnerKeys) for what belongs to an owner.
pub trait Stamps {
    #[doc(hidden)]
    fn ring(&self) -> &Ring;

    /// Authenticates all of `body` as the document `name` at `version`, under the active key.
    fn stamp(&self, name: &str, version: u64, body: &[u8]) -> Stamp {
        self.ring().tag(DOCUMENT, name, version, body)
    }

    /// Whether this holder stamped exactly these bytes, under this name, at this version.
    fn check(&self, name: &str, version: u64, body: &[u8], stamp: &Stamp) -> Result<(), SealBroken> {
        self.ring().verify(DOCUMENT, name, version, body, stamp)
    }
}

/// What a tag is about; keeps documents and key chains apart.
const DOCUMENT: &[u8] = b"document";
const CHAIN: &[u8] = b"keychain";

/// The versions that one holder has. Public only because [`Stamps`] names it; it offers nothing outside.
pub struct Ring {
    pub(super) deployment: DeploymentId,
    /// `root`, `platform` or `tenants/{tenant}`.
    pub(super) holder: Box<str>,
    pub(super) kek: KekId,
    active: Held,
    others: Vec<Held>,
}

struct Held {
    version: u32,
    secret: KeyBytes,
    mac: hmac::Key,
}

/// All that a sealed value is bound to, besides deployment and key.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) owner: &'a str,
    pub(super) resource: &'a str,
    pub(super) purpose: &'static str,
    pub(super) family: Uuid,
    pub(super) generation: u64,
}

impl KeyBytes {
    #[must_use]
    pub fn generate() -> Self {
        Self(Box::new(envelope::random()))
    }

    /// `None` unless there are 32 bytes. The caller wipes its own copy.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        Some(Self(Box::new(*bytes)))
    }

    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Ring {
    /// `None` when the active version is not among the keys.
    pub(super) fn new(
        deployment: DeploymentId,
        holder: &str,
        kek: KekId,
        active: u32,
        keys: impl IntoIterator<Item = (u32, KeyBytes)>,
    ) -> Option<Self> {
        let mut others: Vec<Held> = keys.into_iter().map(Held::new).collect();
        let active = others.iter().position(|held| held.version == active)?;
        let active = others.swap_remove(active);
        Some(Self { deployment, holder: holder.into(), kek, active, others })
    }

    pub(super) fn active_version(&self) -> u32 {
        self.active.version
    }

    pub(super) fn holds(&self, version: u32) -> bool {
        self.held(version).is_some()
    }

    /// The same keys, another one of which seals from now on.
    pub(super) fn with_active(&self, active: u32) -> Option<Self> {
        let keys = self.secrets().map(|(version, secret)| (version, secret.clone()));
        Self::new(self.deployment, &self.holder, self.kek, active, keys)
    }

    pub(super) fn secret(&self, version: u32) -> Option<&KeyBytes> {
        self.held(version).map(|held| &held.secret)
    }

    fn held(&self, version: u32) -> Option<&Held> {
        std::iter::once(&self.active).chain(&self.others).find(|held| held.version == version)
    }

    /// Every key with its version, in no order.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (u32, &KeyBytes)> {
        std::iter::once(&self.active).chain(&self.others).map(|held| (held.version, &held.secret))
    }

    pub(super) fn seal(&self, spot: Spot<'_>, plain: &[u8]) -> Result<Vec<u8>, TooLarge> {
        let Held { version, ref secret, .. } = self.active;
        envelope::seal(Sealer { secret, version, kek: self.kek }, &self.context(spot), plain)
    }

    pub(super) fn open(&self, spot: Spot<'_>, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealBroken> {
        let sealed = Envelope::parse(bytes)?;
        let held = self.held(sealed.version).ok_or(SealBroken)?;
        sealed.open(&held.secret, &self.context(spot))
    }

    pub(super) fn context(&self, spot: Spot<'_>) -> Vec<u8> {
        let mut context = Vec::with_capacity(256);
        let fields: [&[u8]; 6] = [
            self.deployment.0.as_bytes(),
            spot.owner.as_bytes(),
            spot.resource.as_bytes(),
            spot.purpose.as_bytes(),
            spot.family.as_bytes(),
            &spot.generation.to_be_bytes(),
        ];
        envelope::frame(&mut context, &fields);
        context
    }

    /// Authenticates the encoding of a chain of keys. No document can be passed off as one.
    pub(super) fn stamp_chain(&self, holder: &str, body: &[u8]) -> Stamp {
        self.tag(CHAIN, holder, 0, body)
    }

    pub(super) fn check_chain(&self, holder: &str, body: &[u8], stamp: &Stamp) -> Result<(), SealBroken> {
        self.verify(CHAIN, holder, 0, body, stamp)
    }

    fn tag(&self, kind: &[u8], name: &str, version: u64, body: &[u8]) -> Stamp {
        Stamp { key_version: self.active.version, tag: self.mac(&self.active, kind, name, version, body) }
    }

    fn verify(
        &self,
        kind: &[u8],
        name: &str,
        version: u64,
        body: &[u8],
        stamp: &Stamp,
    ) -> Result<(), SealBroken> {
        let held = self.held(stamp.key_version).ok_or(SealBroken)?;
        let expected = self.mac(held, kind, name, version, body);
        constant_time::verify_slices_are_equal(&expected, &stamp.tag).map_err(|_| SealBroken)
    }

    fn mac(&self, held: &Held, kind: &[u8], name: &str, version: u64, body: &[u8]) -> [u8; 32] {
        let mut frames = Vec::with_capacity(256);
        let version = version.to_be_bytes();
        let fields: [&[u8]; 6] =
            [LABEL, kind, self.deployment.0.as_bytes(), self.holder.as_bytes(), name.as_bytes(), &version];
        envelope::frame(&mut frames, &fields);
        frames.extend_from_slice(&(body.len() as u64).to_be_bytes());
        let mut mac = hmac::Context::with_key(&held.mac);
        mac.update(&frames);
        mac.update(body);
        mac.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
    }
}

impl Held {
    fn new((version, secret): (u32, KeyBytes)) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA512, LABEL).extract(secret.expose());
        let mut mac = Zeroizing::new([0; 32]);
        envelope::expand(&prk, &[b"bursar/mac", &SUITE.to_be_bytes()], mac.as_mut());
        Self { version, secret, mac: hmac::Key::new(hmac::HMAC_SHA256, mac.as_ref()) }
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[keys of {}, version {} active]", self.holder, self.active.version)
    }
}
