//! Proof Key for Code Exchange (RFC 7636), the server's half, with `S256` alone: `plain` proves nothing.

use super::{exchange::Form, signing::sha256};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};

/// RFC 7636 §4.1: 43 to 128 characters.
const VERIFIER_CHARS: std::ops::RangeInclusive<usize> = 43..=128;

/// What a request says of a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    None,
    S256(String),
    /// Another method, or what cannot be a SHA-256 value.
    Unusable,
}

impl Challenge {
    pub(super) fn of(form: &Form) -> Self {
        match (form.get("code_challenge"), form.get("code_challenge_method")) {
            (None, None) => Self::None,
            (Some(challenge), Some("S256")) if challenge.len() == 43 => Self::S256(challenge.to_owned()),
            (Some(_) | None, _) => Self::Unusable,
        }
    }

    pub(super) fn into_text(self) -> Option<String> {
        match self {
            Self::S256(text) => Some(text),
            Self::None | Self::Unusable => None,
        }
    }
}

/// Whether a verifier belongs to a challenge. Without a challenge none may be sent (RFC 9700 §4.8.2).
pub(super) fn proves(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            VERIFIER_CHARS.contains(&verifier.len())
                && BASE64URL.encode(sha256(verifier.as_bytes())) == challenge
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_of_rfc_7636_appendix_b_fits_and_nothing_else_does() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(proves(Some(challenge), Some(verifier)) && proves(None, None));
        for (challenge, verifier) in [
            (Some(challenge), Some(challenge)),
            (Some(challenge), None),
            (None, Some(verifier)),
            (Some(challenge), Some("short")),
        ] {
            assert!(!proves(challenge, verifier));
        }
    }

    #[test]
    fn only_s256_is_a_challenge() {
        let of = |query: &str| Challenge::of(&Form::parse(query.as_bytes()));
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(of("a=b"), Challenge::None);
        assert_eq!(
            of(&format!("code_challenge={challenge}&code_challenge_method=S256")),
            Challenge::S256(challenge.to_owned())
        );
        for bad in
            [format!("code_challenge={challenge}"), "code_challenge=x&code_challenge_method=S256".into()]
        {
            assert_eq!(of(&bad), Challenge::Unusable, "{bad}");
        }
    }
}
