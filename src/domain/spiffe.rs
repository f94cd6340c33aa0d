//! SPIFFE IDs and trust domains (SPIFFE-ID, section 2), as strict as the standard writes them: nothing is brought into
//! another form, so that two texts are the same identity only if they are the same bytes.

use std::{fmt, str::FromStr};

/// Longest SPIFFE ID, in bytes (SPIFFE-ID section 2.3).
pub const SPIFFE_ID_MAX: usize = 2048;
/// Longest trust domain, in bytes (SPIFFE-ID section 2.3).
pub const TRUST_DOMAIN_MAX: usize = 255;
const SCHEME: &str = "spiffe://";

/// `spiffe://trust-domain/path`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: String,
    /// Where the trust domain ends.
    path_at: usize,
}

/// Whose keys sign an identity: 1 to 255 of a-z, 0-9, `.`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

/// Why a text is no SPIFFE ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    #[error("does not begin with `spiffe://`")]
    Scheme,
    #[error("is longer than {SPIFFE_ID_MAX} bytes")]
    TooLong,
    #[error("has a trust domain that is not 1 to {TRUST_DOMAIN_MAX} of a-z, 0-9, `.`, `-` and `_`")]
    TrustDomain,
    #[error("has a path with an empty segment")]
    EmptySegment,
    #[error("has a path with a segment `.` or `..`")]
    DotSegment,
    #[error("has a path with another character than letters, digits, `.`, `-` and `_`")]
    PathCharacter,
}

impl SpiffeId {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.text[SCHEME.len()..self.path_at].to_owned())
    }

    /// Empty, or beginning with `/`.
    pub fn path(&self) -> &str {
        &self.text[self.path_at..]
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        if text.len() > SPIFFE_ID_MAX {
            return Err(SpiffeError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeError::Scheme)?;
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        TrustDomain::from_str(domain)?;
        for segment in path.split('/').skip(1) {
            let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            match segment {
                "" => return Err(SpiffeError::EmptySegment),
                "." | ".." => return Err(SpiffeError::DotSegment),
                _ if !segment.bytes().all(known) => return Err(SpiffeError::PathCharacter),
                _ => {}
            }
        }
        Ok(Self { text: text.to_owned(), path_at: SCHEME.len() + domain.len() })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TrustDomain {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > TRUST_DOMAIN_MAX || !text.bytes().all(known) {
            return Err(SpiffeError::TrustDomain);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SpiffeError as E;

    #[test]
    fn a_spiffe_id_is_taken_as_the_standard_writes_it_or_not_at_all() {
        let longest = format!("spiffe://a/{}", "x".repeat(SPIFFE_ID_MAX - 11));
        let wide = format!("spiffe://{}/p", "a".repeat(TRUST_DOMAIN_MAX));
        for good in [
            "spiffe://example.org",
            "spiffe://example.org/a",
            "spiffe://e_x-1.org/A/b-2/c_3/..d/...",
            longest.as_str(),
            wide.as_str(),
        ] {
            assert_eq!(good.parse::<SpiffeId>().unwrap().as_str(), good);
        }
        let too_long = format!("{longest}x");
        let too_wide = format!("spiffe://{}/p", "a".repeat(TRUST_DOMAIN_MAX + 1));
        let cases = [
            ("", E::Scheme),
            ("spiffe:/example.org/a", E::Scheme),
            ("SPIFFE://example.org/a", E::Scheme),
            ("https://example.org/a", E::Scheme),
            (" spiffe://example.org/a", E::Scheme),
            ("spiffe://", E::TrustDomain),
            ("spiffe:///a", E::TrustDomain),
            ("spiffe://Example.org/a", E::TrustDomain),
            ("spiffe://example.org:8080/a", E::TrustDomain),
            ("spiffe://user@example.org/a", E::TrustDomain),
            ("spiffe://example.org?q=1", E::TrustDomain),
            ("spiffe://example.org#f", E::TrustDomain),
            ("spiffe://ex%61mple.org/a", E::TrustDomain),
            ("spiffe://ex\u{e4}mple.org/a", E::TrustDomain),
            ("spiffe://example.org\0/a", E::TrustDomain),
            ("spiffe://example.org/", E::EmptySegment),
            ("spiffe://example.org/a/", E::EmptySegment),
            ("spiffe://example.org//a", E::EmptySegment),
            ("spiffe://example.org/./a", E::DotSegment),
            ("spiffe://example.org/a/..", E::DotSegment),
            ("spiffe://example.org/a/../b", E::DotSegment),
            ("spiffe://example.org/a%2fb", E::PathCharacter),
            ("spiffe://example.org/a?b", E::PathCharacter),
            ("spiffe://example.org/a#b", E::PathCharacter),
            ("spiffe://example.org/a b", E::PathCharacter),
            ("spiffe://example.org/a\0", E::PathCharacter),
            ("spiffe://example.org/\u{e4}", E::PathCharacter),
            (too_long.as_str(), E::TooLong),
            (too_wide.as_str(), E::TrustDomain),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<SpiffeId>(), Err(want), "{text}");
        }
    }

    #[test]
    fn a_spiffe_id_falls_into_trust_domain_and_path() {
        let cases = [("spiffe://example.org/a/b", "example.org", "/a/b"), ("spiffe://x", "x", "")];
        for (text, domain, path) in cases {
            let id: SpiffeId = text.parse().unwrap();
            assert_eq!((id.trust_domain().as_str(), id.path()), (domain, path));
        }
    }
}
