//! The KEK as a text of keys: the default, without any service. Never reads files: configuration brings the text.

use super::{
    envelope::{self, Envelope, LABEL, SUITE, Sealer},
    kek::{Kek, KekError, KekId, KekKey, KekKind},
    keys::KeyBytes,
};
use crate::domain::token::Secret;
use async_trait::async_trait;
use aws_lc_rs::hkdf;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use std::fmt::{self, Write as _};
use zeroize::Zeroizing;

/// Most keys in one keyset.
pub const KEYS_MAX: usize = 100;

/// First line of a keyset's text, comments aside.
const FIRST_LINE: &str = "bursar-keyset 1";

const TEXT_HEAD: &str = "\
# Bursar keyset: the keys that protect everything in the store.
# Keep it away from the store and its backups, and keep a copy: nothing opens without it.
# Columns: key, version, primary or decrypt-only, id, 32 bytes in base64.
";

/// Keys from a file or an environment variable: one primary that wraps, others that only unwrap.
pub struct FileKeyset {
    primary: KeysetKey,
    /// Oldest first.
    decrypt_only: Vec<KeysetKey>,
}

struct KeysetKey {
    version: u32,
    id: KekId,
    secret: KeyBytes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Primary,
    DecryptOnly,
}

impl FileKeyset {
    /// One new key.
    #[must_use]
    pub fn generate() -> Self {
        Self { primary: KeysetKey::new(1, KeyBytes::generate()), decrypt_only: Vec::new() }
    }

    /// The same keys behind a new primary. Root keys stay wrapped by the old one until they are wrapped again.
    pub fn rotated(self) -> Result<Self, KekError> {
        let Self { primary, mut decrypt_only } = self;
        let newest = decrypt_only.iter().map(|key| key.version).fold(primary.version, u32::max);
        let version = newest.checked_add(1).filter(|_| decrypt_only.len() + 2 <= KEYS_MAX);
        let version = version.ok_or(KekError::Keyset { mend: "is full: remove keys that wrap nothing" })?;
        decrypt_only.push(primary);
        Ok(Self { primary: KeysetKey::new(version, KeyBytes::generate()), decrypt_only })
    }

    /// The same keys without one that only unwraps.
    pub fn without(mut self, version: u32) -> Result<Self, KekError> {
        if self.primary.version == version {
            let mend = "that key is the primary one: add another one, and move the root keys to it first";
            return Err(KekError::Keyset { mend });
        }
        let before = self.decrypt_only.len();
        self.decrypt_only.retain(|key| key.version != version);
        if self.decrypt_only.len() == before {
            return Err(KekError::Keyset {
                mend: "has no key of that version: see `bursar keys keyset list`",
            });
        }
        Ok(self)
    }

    /// Version, role and id of each key, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = (u32, &'static str, KekId)> {
        let old = self.decrypt_only.iter().map(|key| (key.version, "decrypt-only", key.id));
        old.chain([(self.primary.version, "primary", self.primary.id)])
    }

    /// Reads what [`to_text`](Self::to_text) writes. The caller wipes the text.
    pub fn parse(text: &str) -> Result<Self, KekError> {
        let mut lines = (1..)
            .zip(text.lines().map(str::trim))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let first = lines
            .next()
            .ok_or(KekError::Keyset { mend: "is empty: make one with `bursar keys generate`" })?;
        if first.1 != FIRST_LINE {
            return Err(KekError::Line { line: first.0, mend: "begin the keyset with `bursar-keyset 1`" });
        }
        let (mut primary, mut decrypt_only) = (None, Vec::<KeysetKey>::new());
        for (line, words) in lines {
            let wrong = |mend| KekError::Line { line, mend };
            let (role, key) = KeysetKey::parse(words).map_err(wrong)?;
            let known = decrypt_only.iter().chain(&primary);
            if known.clone().any(|other| other.version == key.version) {
                return Err(wrong("give each key a version of its own"));
            }
            if known.clone().any(|other| other.id == key.id) {
                return Err(wrong("remove this key: an earlier line has it already"));
            }
            if known.count() == KEYS_MAX {
                return Err(wrong("keep at most 100 keys: remove those that wrap nothing"));
            }
            match role {
                Role::DecryptOnly => decrypt_only.push(key),
                Role::Primary if primary.is_none() => primary = Some(key),
                Role::Primary => {
                    return Err(wrong("mark this key `decrypt-only`: an earlier line is primary already"));
                }
            }
        }
        let primary = primary.ok_or(KekError::Keyset { mend: "mark one key `primary`" })?;
        decrypt_only.sort_by_key(|key| key.version);
        Ok(Self { primary, decrypt_only })
    }

    /// The text to keep; a secret as a whole.
    pub fn to_text(&self) -> Secret {
        // Room for everything beforehand: growth would leave a copy behind.
        let mut text =
            Zeroizing::new(String::with_capacity(TEXT_HEAD.len() + 64 + 128 * (self.decrypt_only.len() + 1)));
        text.push_str(TEXT_HEAD);
        text.push_str(FIRST_LINE);
        let old = self.decrypt_only.iter().map(|key| ("decrypt-only", key));
        for (role, KeysetKey { version, id, secret }) in old.chain([("primary", &self.primary)]) {
            let _ = write!(text, "\nkey {version} {role} {id} ");
            BASE64.encode_string(secret.expose(), &mut text);
        }
        text.push('\n');
        Secret::new(text.as_str())
    }

    /// Of the key that wraps.
    pub(super) fn id(&self) -> KekId {
        self.primary.id
    }

    fn find(&self, id: KekId) -> Option<&KeysetKey> {
        self.decrypt_only.iter().chain([&self.primary]).find(|key| key.id == id)
    }
}

/// How a key of a keyset is named: by its version, and by its id, which is the same wherever the key is.
pub(super) fn of_keyset(version: u32, id: KekId) -> KekKey {
    KekKey { kind: KekKind::File, id: format!("{version}-{id}") }
}

impl KeysetKey {
    fn named(&self) -> KekKey {
        of_keyset(self.version, self.id)
    }

    fn new(version: u32, secret: KeyBytes) -> Self {
        Self { version, id: KekId::of(&secret), secret }
    }

    /// One line. What is wrong comes back as the mend; nothing of the line does.
    fn parse(line: &str) -> Result<(Role, Self), &'static str> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["key", version, role, id, secret] = words[..] else {
            return Err(
                "write `key`, version, `primary` or `decrypt-only`, id and base64 key, in this order",
            );
        };
        let version = match version.parse() {
            Ok(version) if version > 0 => version,
            Ok(_) | Err(_) => return Err("version: use a whole number from 1 to 4294967295"),
        };
        let role = match role {
            "primary" => Role::Primary,
            "decrypt-only" => Role::DecryptOnly,
            _ => return Err("role: use `primary` or `decrypt-only`"),
        };
        let mut bytes = Zeroizing::new([0; 48]);
        let length = BASE64.decode_slice(secret, bytes.as_mut_slice());
        let length = length.map_err(|_| "key: use standard base64 of 32 bytes (44 characters)")?;
        let secret = KeyBytes::from_slice(&bytes[..length]);
        let secret = secret.ok_or("key: use exactly 32 bytes (44 characters of base64)")?;
        let key = Self::new(version, secret);
        if key.id.to_string() != id {
            return Err("id: it is not that of this key; restore the line from your copy");
        }
        Ok((role, key))
    }
}

#[async_trait]
impl Kek for FileKeyset {
    fn kind(&self) -> KekKind {
        KekKind::File
    }

    async fn present(&self) -> Result<KekKey, KekError> {
        Ok(self.primary.named())
    }

    async fn wrap(&self, context: &[u8], key: &KeyBytes) -> Result<Vec<u8>, KekError> {
        let KeysetKey { version, id: kek, ref secret } = self.primary;
        let sealed = envelope::seal(Sealer { secret, version, kek }, &framed(context), key.expose());
        Ok(sealed.expect("32 bytes are below SECRET_MAX"))
    }

    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<KeyBytes, KekError> {
        let sealed = Envelope::parse(wrapped)?;
        let Envelope { version, kek: wanted, .. } = sealed;
        let key =
            self.find(wanted).ok_or_else(|| KekError::Unknown { wanted: of_keyset(version, wanted) })?;
        let plain = sealed.open(&key.secret, &framed(context))?;
        KeyBytes::from_slice(&plain).ok_or(KekError::Broken)
    }
}

fn framed(context: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(context.len() + 8);
    envelope::frame(&mut framed, &[context]);
    framed
}

impl KekId {
    /// Of a keyset's key.
    fn of(secret: &KeyBytes) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA512, LABEL).extract(secret.expose());
        let mut id = [0; 8];
        envelope::expand(&prk, &[b"bursar/kek", &SUITE.to_be_bytes()], &mut id);
        Self(id)
    }
}

impl fmt::Debug for FileKeyset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, version, others) = (self.id(), self.primary.version, self.decrypt_only.len());
        write!(f, "[keyset: primary {id} version {version}, {others} decrypt-only]")
    }
}

#[cfg(test)]
mod tests;
