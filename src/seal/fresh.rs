//! Words that nobody can guess, for what travels through browsers, and the digests by which they are known again.

use super::envelope::random;
use crate::domain::{authorization::Digest, token::Secret};
use aws_lc_rs::digest::{SHA256, digest as hashed};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Length of a word, in characters: 256 bits in base64url.
pub const WORD_LENGTH: usize = 43;

/// 256 random bits as base64url, which is also a PKCE verifier (RFC 7636 §4.1).
pub fn fresh_word() -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(random::<32>()))
}

/// SHA-256 of a word.
pub fn digest(word: &str) -> Digest {
    let hash = hashed(&SHA256, word.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_ref());
    Digest(bytes)
}

/// Another word that follows from a word and does not lead back to it. `purpose` keeps several apart.
pub fn derived_word(word: &Secret, purpose: &str) -> Secret {
    let mut framed = Vec::new();
    super::envelope::frame(&mut framed, &[purpose.as_bytes(), word.expose().as_bytes()]);
    Secret::new(URL_SAFE_NO_PAD.encode(hashed(&SHA256, &framed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_fresh_and_lead_to_others_one_way() {
        let (one, other) = (fresh_word(), fresh_word());
        assert_eq!((one.expose().len(), other.expose().len()), (WORD_LENGTH, WORD_LENGTH));
        assert_ne!(one.expose(), other.expose());
        assert_ne!(derived_word(&one, "a").expose(), derived_word(&one, "b").expose());
        assert_eq!(derived_word(&one, "a").expose(), derived_word(&one, "a").expose());
    }
}
