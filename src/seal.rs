//! How secrets lie in the store: sealed for one place, opened there and nowhere else; and how records are
//! authenticated. The store is untrusted: who owns it learns no secret and moves none. docs/sealing.md is the
//! specification. Never does I/O, and never says why something did not open.

mod audit;
mod chain;
mod envelope;
mod fresh;
mod kek;
mod keys;
mod keyset;
mod root;
mod wrapped;

pub use audit::{AuditKey, MAC_LENGTH, NotAnAuditKey, fresh_audit_key, line_hash};
pub use chain::{KeyChain, KeyState, KeyVersion, RootChain, StepError, VERSIONS_MAX};
pub use envelope::SECRET_MAX;
pub use fresh::{WORD_LENGTH, derived_word, digest, fresh_word};
pub use kek::{KEK_KEY_ID_MAX, Kek, KekError, KekId, KekKey, KekKind, Keks, Outlook};
pub use keys::{DeploymentId, KeyBytes, Stamp, Stamps};
pub use keyset::{FileKeyset, KEYS_MAX};
pub use root::Root;
pub use wrapped::{KEK_ANNOTATIONS_MAX, KEK_CIPHERTEXT_MAX, Wrapped, bound, unbound};

use crate::domain::token::{Purpose, Sealable, Sealed, Secret};
use envelope::Envelope;
use keys::{Ring, Spot};
use std::{fmt, str, sync::Arc};
use uuid::Uuid;

/// Where a secret lies. Deployment and owner are those of the keys, the purpose is that of the type: neither can
/// be given wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Full resource name, as `tenants/acme/connections/concur`, from the request and not from the record.
    pub resource: &'a str,
    /// The grant that the secret descends from; nil for what has no grant.
    pub family: Uuid,
    /// Counts the writes within the family.
    pub generation: u64,
}

/// One owner's keys, unlocked. A clone is another handle to the same keys; they are wiped with the last one.
#[derive(Clone)]
pub struct OwnerKeys(Arc<Ring>);

/// It was altered, moved, cut, written by other keys, or never sealed. Which of these, nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed value does not open here: it was altered, moved, or sealed with other keys")]
pub struct SealBroken;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A secret beyond [`SECRET_MAX`]; check what the authorization server or the administrator sent.
    #[error("secret of {bytes} bytes is larger than {SECRET_MAX}")]
    TooLarge { bytes: usize },
    /// Sealed bytes or a chain that are not what this deployment wrote; check the store and its backups.
    #[error(transparent)]
    Broken(#[from] SealBroken),
    /// The key-encryption key could not be used.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// A key version cannot take this step.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// Draws the first random bytes, which takes the library tens of milliseconds once per process: at start, so that
/// no caller waits for it.
pub fn warm_up() {
    let _: [u8; 32] = envelope::random();
}

/// The key version that a sealed value claims, unauthenticated: to find what still has to be sealed anew.
pub fn claimed_key_version<T>(sealed: &Sealed<T>) -> Option<u32> {
    Envelope::parse(sealed.bytes()).ok().map(|envelope| envelope.version)
}

impl OwnerKeys {
    fn new(ring: Ring) -> Self {
        Self(Arc::new(ring))
    }

    /// The version that seals and stamps at present.
    pub fn active_version(&self) -> u32 {
        self.0.active_version()
    }

    /// Whether this version is among them: what it sealed opens.
    pub fn holds(&self, version: u32) -> bool {
        self.0.holds(version)
    }

    /// Whether a sealed value was sealed by a version that is among them, as far as it says so itself.
    pub fn holds_that_of<T>(&self, sealed: &Sealed<T>) -> bool {
        claimed_key_version(sealed).is_some_and(|version| self.holds(version))
    }

    /// The value sealed by the active version; `None` where it is already.
    pub fn sealed_anew<T: Sealable>(
        &self,
        place: &Place<'_>,
        sealed: &Sealed<T>,
    ) -> Result<Option<Sealed<T>>, SealError> {
        if claimed_key_version(sealed) == Some(self.active_version()) {
            return Ok(None);
        }
        self.seal(place, &self.open(place, sealed)?).map(Some)
    }

    /// Seals for this place, under the active key. Fails for secrets beyond [`SECRET_MAX`] only.
    pub fn seal<T: Sealable>(&self, place: &Place<'_>, value: &T) -> Result<Sealed<T>, SealError> {
        let plain = value.secret().expose().as_bytes();
        let sealed = self.0.seal(self.spot::<T>(place), plain);
        sealed.map(Sealed::from_bytes).map_err(|_| SealError::TooLarge { bytes: plain.len() })
    }

    /// Opens what was sealed as a `T` for this place, under any version still held.
    pub fn open<T: Sealable>(&self, place: &Place<'_>, sealed: &Sealed<T>) -> Result<T, SealBroken> {
        let plain = self.0.open(self.spot::<T>(place), sealed.bytes())?;
        let plain = str::from_utf8(&plain).map_err(|_| SealBroken)?;
        Ok(T::from_secret(Secret::new(plain)))
    }

    fn spot<'a, T: Sealable>(&'a self, place: &Place<'a>) -> Spot<'a> {
        let Place { resource, family, generation } = *place;
        Spot { owner: &self.0.holder, resource, purpose: word(T::PURPOSE), family, generation }
    }
}

/// How a purpose is written wherever it is authenticated; never changed, or what lies sealed is lost.
const fn word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::ClientSecret => "client_secret",
        Purpose::RefreshToken => "refresh_token",
        Purpose::PreviousRefreshToken => "previous_refresh_token",
        Purpose::AccessToken => "access_token",
        Purpose::AuthorizationSecrets => "authorization_secrets",
        Purpose::DpopKey => "dpop_key",
        Purpose::PagePosition => "page_position",
        Purpose::AuditKeyText => "audit_key",
    }
}

impl Stamps for OwnerKeys {
    fn ring(&self) -> &Ring {
        &self.0
    }
}

impl fmt::Debug for OwnerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
