//! The key-encryption key: outside the store, asked at start and at rotations only. The trait is the seam for key
//! services, `KekKey` says which of their keys wrapped something. Knows no service.

use super::{
    SealBroken,
    envelope::{self, Envelope},
    keys::KeyBytes,
    keyset::of_keyset,
    wrapped::Wrapped,
};
use async_trait::async_trait;
use aws_lc_rs::{constant_time, digest};
use std::{fmt, sync::Arc};

/// Longest id of a key, in bytes: what the KMS v2 contract allows.
pub const KEK_KEY_ID_MAX: usize = 1024;
/// What of an id is shown, in characters.
const ID_SHOWN: usize = 160;
/// What a probe is bound to: no root key's context looks like it.
const PROBE: &[u8] = b"bursar/probe";

/// What owns a KEK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KekKind {
    /// A keyset file.
    File,
    /// A Kubernetes KMS v2 plugin.
    KmsPlugin,
    /// The Transit engine of OpenBao or Vault.
    Transit,
}

/// One key of a KEK's owner, as the owner names it. Not secret; an id read from the store is not authenticated.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KekKey {
    pub kind: KekKind,
    /// At most [`KEK_KEY_ID_MAX`] bytes of any text: shown by [`Display`](fmt::Display) only.
    pub id: String,
}

/// Eight bytes in every sealed value that tell people which KEK was in use. A hint: says nothing about the key itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KekId(pub [u8; 8]);

/// Wraps root keys. A wrapped key unwraps under the same context only; an implementation whose service knows no
/// additional data puts the context beside the key inside the plaintext and compares it after unwrapping.
#[async_trait]
pub trait Kek: Send + Sync {
    fn kind(&self) -> KekKind;

    /// The key that [`wrap`](Kek::wrap) uses at present: the owner is asked, and may have changed it since.
    async fn present(&self) -> Result<KekKey, KekError>;

    /// What comes out says which key wrapped it: see [`KekKey::that_wrapped`].
    async fn wrap(&self, context: &[u8], key: &KeyBytes) -> Result<Vec<u8>, KekError>;

    /// Takes what any key still held has wrapped, not just the present one.
    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<KeyBytes, KekError>;

    /// Wraps and unwraps a key of no use: whether the KEK would serve now, and with which key.
    async fn probe(&self) -> Result<KekKey, KekError> {
        let key = KeyBytes::generate();
        let wrapped = self.wrap(PROBE, &key).await?;
        let back = self.unwrap(PROBE, &wrapped).await?;
        constant_time::verify_slices_are_equal(key.expose(), back.expose()).map_err(|_| KekError::Broken)?;
        KekKey::that_wrapped(&wrapped).ok_or(KekError::Broken)
    }
}

/// No variant carries text of a keyset or of a service: they may be logged and shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KekError {
    /// The key service did not answer, or cannot serve at present. Running replicas carry on; try again.
    #[error("the key service is not available: {cause}")]
    Unavailable { cause: String },
    /// The key service answered that this process may not. What to grant, or to set, is part of the message.
    #[error("the key service refuses: {mend}")]
    Refused { mend: String },
    /// The key service answered something that its protocol does not allow.
    #[error("the key service answered wrongly: {what}")]
    Misbehaved { what: &'static str },
    /// The root key was wrapped by a key that is not configured; add it as decrypt-only, or as the previous KEK.
    #[error("the root key is wrapped by {wanted}, which is not among the configured keys")]
    Unknown { wanted: KekKey },
    /// The wrapped key was altered, or belongs to another deployment or version.
    #[error(
        "the wrapped root key does not open here: it was altered, belongs to another deployment, or was wrapped by \
         another key"
    )]
    Broken,
    /// One line of a keyset cannot be used.
    #[error("keyset line {line}: {mend}")]
    Line { line: usize, mend: &'static str },
    /// The keyset as a whole cannot be used.
    #[error("keyset: {mend}")]
    Keyset { mend: &'static str },
}

/// Whether asking again later can help without anybody changing the configuration or the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// An outage, or a grant that somebody may be about to give.
    MayPass,
    /// The wrong key, or a wrong keyset.
    Final,
}

impl KekError {
    pub const fn outlook(&self) -> Outlook {
        match self {
            Self::Unavailable { .. } | Self::Refused { .. } | Self::Misbehaved { .. } => Outlook::MayPass,
            Self::Unknown { .. } | Self::Broken | Self::Line { .. } | Self::Keyset { .. } => Outlook::Final,
        }
    }
}

/// The KEK in use, and the one before it for as long as something is wrapped by it: how one kind of KEK is left for
/// another while the service runs.
pub struct Keks {
    pub present: Arc<dyn Kek>,
    /// Unwraps only.
    pub previous: Option<Arc<dyn Kek>>,
}

#[async_trait]
impl Kek for Keks {
    fn kind(&self) -> KekKind {
        self.present.kind()
    }

    async fn present(&self) -> Result<KekKey, KekError> {
        self.present.present().await
    }

    async fn wrap(&self, context: &[u8], key: &KeyBytes) -> Result<Vec<u8>, KekError> {
        self.present.wrap(context, key).await
    }

    /// Both are asked where both are of the kind that wrapped it. An outage of one is told rather than that the other
    /// does not know the key.
    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<KeyBytes, KekError> {
        let wanted = KekKey::that_wrapped(wrapped).ok_or(KekError::Broken)?;
        let mut failure = None;
        for kek in self.of(wanted.kind) {
            match kek.unwrap(context, wrapped).await {
                Ok(key) => return Ok(key),
                Err(err) => {
                    let tell =
                        failure.as_ref().is_none_or(|told: &KekError| told.outlook() == Outlook::Final);
                    failure = if tell { Some(err) } else { failure };
                }
            }
        }
        Err(failure.unwrap_or(KekError::Unknown { wanted }))
    }
}

impl Keks {
    /// One KEK, and none before it.
    pub fn only(kek: impl Kek + 'static) -> Self {
        Self { present: Arc::new(kek), previous: None }
    }

    fn of(&self, kind: KekKind) -> impl Iterator<Item = &Arc<dyn Kek>> {
        [Some(&self.present), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .filter(move |kek| kek.kind() == kind)
    }
}

impl KekKey {
    /// The key that the bytes say they were wrapped by, unauthenticated. `None`: no KEK of any kind made them.
    pub fn that_wrapped(wrapped: &[u8]) -> Option<Self> {
        match Envelope::parse(wrapped) {
            Ok(sealed) => Some(of_keyset(sealed.version, sealed.kek)),
            Err(SealBroken) => Wrapped::parse(wrapped).map(|wrapped| wrapped.key),
        }
    }
}

impl KekKey {
    /// The owner's own id of it, as far as it can be shown.
    pub fn shown_id(&self) -> String {
        let shown = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '`');
        self.id.chars().filter(shown).take(ID_SHOWN).collect()
    }
}

impl KekKind {
    /// The kind that [`word`](Self::word) spells so.
    pub fn of(word: &str) -> Option<Self> {
        [Self::File, Self::KmsPlugin, Self::Transit].into_iter().find(|kind| kind.word() == word)
    }

    /// As configuration and format spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::KmsPlugin => "kms_plugin",
            Self::Transit => "transit",
        }
    }
}

impl KekId {
    /// Of the key that wrapped these bytes; zeros where no KEK did.
    pub(super) fn that_wrapped(wrapped: &[u8]) -> Self {
        if let Ok(sealed) = Envelope::parse(wrapped) {
            return sealed.kek;
        }
        let Some(key) = KekKey::that_wrapped(wrapped) else { return Self([0; 8]) };
        let mut framed = Vec::with_capacity(64);
        envelope::frame(&mut framed, &[b"bursar/kek", key.kind.word().as_bytes(), key.id.as_bytes()]);
        let digest = digest::digest(&digest::SHA256, &framed);
        let mut id = [0; 8];
        id.copy_from_slice(&digest.as_ref()[..8]);
        Self(id)
    }
}

impl From<SealBroken> for KekError {
    fn from(_: SealBroken) -> Self {
        Self::Broken
    }
}

impl fmt::Display for KekKey {
    /// Printable ASCII, with an end: the id may come from the store or from a service.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {}", self.kind.word(), self.shown_id())
    }
}

impl fmt::Debug for KekKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
