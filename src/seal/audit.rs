//! The key of the audit trail: it makes lines that nobody else can write, and lets a token be found in the trail by who
//! has both. One for a deployment, random, sealed in the store; never used for anything else.

use super::{
    envelope::{LABEL, SUITE, expand, frame},
    keys::KeyBytes,
};
use crate::domain::token::{AccessToken, Secret};
use aws_lc_rs::{
    constant_time,
    digest::{SHA256, digest},
    hkdf, hmac,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::fmt;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Bytes of a MAC in the trail: half of HMAC-SHA-256 (RFC 2104 §5).
pub const MAC_LENGTH: usize = 16;

/// Beginning of the key's text form.
const PREFIX: &str = "bursar-audit-key-1:";

pub struct AuditKey {
    lines: hmac::Key,
    tokens: hmac::Key,
    id: [u8; 8],
}

/// The text is no audit key; use the file that `bursar audit key` wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no audit key: use a file that `bursar audit key` wrote")]
pub struct NotAnAuditKey;

/// SHA-256 of a line of the trail: what the next line carries.
pub fn line_hash(line: &[u8]) -> [u8; 32] {
    digest(&SHA256, line).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// A new key, as the text in which it is sealed.
pub fn fresh_audit_key() -> Secret {
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(KeyBytes::generate().expose()));
    Secret::new(format!("{PREFIX}{}", *text))
}

impl AuditKey {
    /// From its text, without regard to space around it.
    pub fn parse(text: &Secret) -> Result<Self, NotAnAuditKey> {
        let encoded = text.expose().trim().strip_prefix(PREFIX).ok_or(NotAnAuditKey)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).map_err(|_| NotAnAuditKey)?);
        let secret = KeyBytes::from_slice(&bytes).ok_or(NotAnAuditKey)?;
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA512, LABEL).extract(secret.expose());
        let derived = |purpose: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            expand(&prk, &[purpose, &SUITE.to_be_bytes()], key.as_mut());
            key
        };
        let key = |purpose: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, derived(purpose).as_ref());
        let mut id = [0; 8];
        id.copy_from_slice(&derived(b"bursar/audit/id")[..8]);
        Ok(Self { lines: key(b"bursar/audit/line"), tokens: key(b"bursar/audit/token"), id })
    }

    /// Names the key, and tells nothing about it.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// How a token appears in the trail.
    pub fn tag(&self, token: &AccessToken) -> [u8; MAC_LENGTH] {
        half(&hmac::sign(&self.tokens, token.0.expose().as_bytes()))
    }

    /// Authenticates a line of this chain.
    pub fn mac(&self, chain: &Uuid, line: &[u8]) -> [u8; MAC_LENGTH] {
        let mut framed = Vec::with_capacity(32);
        frame(&mut framed, &[chain.as_bytes()]);
        let mut mac = hmac::Context::with_key(&self.lines);
        mac.update(&framed);
        mac.update(line);
        half(&mac.sign())
    }

    /// Whether this key made the MAC, in constant time.
    pub fn is_mac(&self, chain: &Uuid, line: &[u8], mac: &[u8; MAC_LENGTH]) -> bool {
        constant_time::verify_slices_are_equal(&self.mac(chain, line), mac).is_ok()
    }
}

fn half(tag: &hmac::Tag) -> [u8; MAC_LENGTH] {
    let mut half = [0; MAC_LENGTH];
    half.copy_from_slice(&tag.as_ref()[..MAC_LENGTH]);
    half
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[audit key]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> AuditKey {
        AuditKey::parse(&Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([byte; 32])))).unwrap()
    }

    #[test]
    fn what_the_key_says_follows_from_key_chain_and_text() {
        let token = |text: &str| AccessToken(Secret::new(text));
        let (one, other) = (key(1), key(2));
        assert_eq!(one.tag(&token("a")), key(1).tag(&token("a")));
        assert_ne!(one.tag(&token("a")), one.tag(&token("b")));
        assert_ne!(one.tag(&token("a")), other.tag(&token("a")));
        let (here, there) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mac = one.mac(&here, b"line");
        assert!(one.is_mac(&here, b"line", &mac));
        assert!(!one.is_mac(&there, b"line", &mac));
        assert!(!one.is_mac(&here, b"Line", &mac));
        assert!(!other.is_mac(&here, b"line", &mac));
        assert_ne!(one.id(), other.id());
    }

    #[test]
    fn the_hash_of_a_line_is_sha_256() {
        // FIPS 180-2, B.1.
        let [first, .., last] = line_hash(b"abc");
        assert_eq!((first, last), (0xba, 0xad));
        assert_ne!(line_hash(b"abd"), line_hash(b"abc"));
    }

    #[test]
    fn a_key_is_read_from_its_text_only() {
        let text = fresh_audit_key();
        assert_eq!(
            AuditKey::parse(&text).unwrap().id(),
            AuditKey::parse(&Secret::new(format!(" {}\n", text.expose()))).unwrap().id()
        );
        assert_ne!(text.expose(), fresh_audit_key().expose());
        let short = URL_SAFE_NO_PAD.encode([1; 31]);
        for wrong in ["", PREFIX, "bursar-audit-key-1:!", &format!("{PREFIX}{short}"), &short] {
            assert_eq!(AuditKey::parse(&Secret::new(wrong)).unwrap_err(), NotAnAuditKey, "{wrong}");
        }
        assert_eq!(format!("{:?}", key(1)), "[audit key]");
    }
}
