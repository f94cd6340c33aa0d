//! Why a token proves nothing. In words of our own: nothing of what the token says is repeated.

use super::token::TOKEN_MAX;
use std::fmt;

/// What is wrong with a token, for its caller and, as a word, for the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    Malformed,
    TooLarge,
    Encrypted,
    Nested,
    Type,
    Critical,
    Algorithm,
    Issuer,
    Audience,
    Claim(&'static str),
    Expired,
    NotYet,
    Lifetime,
    Subject,
    Groups,
    UnknownKey,
    AmbiguousKey,
    Signature,
    Unbound,
    OtherCertificate,
    Confirmation,
    Revoked,
}

impl Refusal {
    /// For the audit trail.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed | Self::TooLarge | Self::Encrypted | Self::Nested | Self::Critical => {
                "token_malformed"
            }
            Self::Type => "token_type",
            Self::Algorithm => "token_algorithm",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Claim(_) | Self::Groups => "token_claims",
            Self::Expired | Self::NotYet | Self::Lifetime => "token_time",
            Self::Subject => "token_subject",
            Self::UnknownKey | Self::AmbiguousKey => "token_key",
            Self::Signature => "token_signature",
            Self::Unbound | Self::OtherCertificate | Self::Confirmation => "token_binding",
            Self::Revoked => "token_revoked",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the token is refused: ")?;
        let text = match self {
            Self::Malformed => "it is no signed JWT in compact form",
            Self::TooLarge => return write!(f, "it is longer than {TOKEN_MAX} bytes"),
            Self::Encrypted => "it is encrypted: send a signed one",
            Self::Nested => "there is another token in it: send that one",
            Self::Type => {
                "its header `typ` is not of the kind that this issuer's tokens are taken by (token_type)"
            }
            Self::Critical => "its header has `crit`, and no extension is understood here",
            Self::Algorithm => "its `alg` is not among those that its issuer may use here (algorithms)",
            Self::Issuer => {
                "its `iss` is no issuer that is known here: compare it with the files in identity.tokens.issuers_dir"
            }
            Self::Audience => {
                "its `aud` names none of the audiences that are taken here: ask the issuer for one of them"
            }
            Self::Claim(name) => return write!(f, "its claim `{name}` is missing, or of the wrong type"),
            Self::Expired => "it has expired: get a new one, and compare the clocks if it is new",
            Self::NotYet => "it is not good yet (`nbf`, `iat`): compare the clocks",
            Self::Lifetime => {
                "it lives longer than tokens of its issuer may here (max_lifetime): ask for a shorter one"
            }
            Self::Subject => {
                "its `sub` is longer than 1024 bytes, has other characters than visible ASCII without quotes and \
                 backslashes, or does not begin with subject_prefix"
            }
            Self::Groups => "its groups are no list of at most 256 names of at most 256 bytes",
            Self::UnknownKey => {
                "its issuer has no such key: get a new token; a key that was made just now may take seconds to be seen"
            }
            Self::AmbiguousKey => {
                "which of its issuer's keys signed it cannot be told: a `kid` of its own is needed for each key"
            }
            Self::Signature => "its signature is not of its issuer's key",
            Self::Unbound => {
                "it is not bound to a client certificate (`cnf` with `x5t#S256`), as tokens of its issuer have to be here"
            }
            Self::OtherCertificate => {
                "it is bound to another client certificate than the connection's (`cnf`)"
            }
            Self::Confirmation => {
                "it is bound in a way that cannot be checked here: only `x5t#S256` of `cnf` can"
            }
            Self::Revoked => {
                "its cluster does not accept it any more: the pod or service account that it belongs to is gone"
            }
        };
        f.write_str(text)
    }
}
