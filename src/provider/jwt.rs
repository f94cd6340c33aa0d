//! Looks into access tokens that happen to be JWTs (RFC 7519), without verifying them: they come straight from the
//! server over TLS, and only help to notice mistakes. Never the ground of a permission.

use super::Identity;
use crate::clock::Timestamp;
use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// RFC 7515 §2 leaves padding out; some issuers leave it in.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A later `exp` is a mistake: the year 5138, in seconds.
const EXP_MAX: f64 = 1e11;

/// The claims of a token. They speak of people, so they are not printed.
pub(super) struct Claims(Map<String, Value>);

/// `None` for what is not a JWS in compact form with a JSON object in it.
pub(super) fn peek(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let payload = Zeroizing::new(BASE64URL.decode(payload).ok()?);
    serde_json::from_slice(&payload).ok().map(Claims)
}

impl Claims {
    /// `exp`, if it is a moment that can be.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        let seconds = self.0.get("exp")?.as_f64().filter(|exp| (1.0..EXP_MAX).contains(exp))?;
        Some(Timestamp(0).plus(std::time::Duration::from_secs_f64(seconds.floor())))
    }

    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str()
    }

    /// What an `id_token` is about.
    pub(super) fn identity(&self) -> Identity {
        let owned = |claim: &str| self.text(claim).map(str::to_owned);
        let audience = match self.0.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(all)) => all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
        };
        Identity { issuer: owned("iss"), subject: owned("sub"), audience, nonce: owned("nonce") }
    }
}

#[cfg(test)]
pub(super) fn unsigned(claims: &Value) -> String {
    let encoded = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    format!("{}.{}.sig", encoded(r#"{"alg":"RS256"}"#), encoded(&claims.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_are_read_with_and_without_padding() {
        let token = unsigned(&json!({"exp": 1_790_003_600, "sub": "s"}));
        let padded = token.replacen(".sig", "==.sig", 1);
        let needs = [token, padded].into_iter().filter_map(|token| peek(&token)).collect::<Vec<_>>();
        assert!(!needs.is_empty());
        for claims in needs {
            assert_eq!(claims.expires_at(), Some(Timestamp::from_secs(1_790_003_600)));
            assert_eq!(claims.text("sub"), Some("s"));
        }
    }

    #[test]
    fn what_is_no_jwt_or_no_moment_says_nothing() {
        for token in ["", "opaque", "a.b", "a.b.c", "a.e30.c.d", "..", "a.W10.c"] {
            assert!(peek(token).is_none(), "{token}");
        }
        for exp in [json!("1790003600"), json!(0), json!(-5), json!(1e300), json!(null), json!([1])] {
            assert!(peek(&unsigned(&json!({ "exp": exp }))).unwrap().expires_at().is_none(), "{exp}");
        }
    }
}
