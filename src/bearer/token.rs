//! A signed JWT in compact form (RFC 7515 section 7.1), taken apart and not believed. What the header offers as keys
//! (`jwk`, `jku`, `x5u`, `x5c`) is not looked at: keys come from the issuer's own set, by `kid` alone.

use super::refusal::Refusal;
use crate::domain::{
    issuer::{Algorithm, TokenType},
    strict,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Map, Value};

/// Longest token, in bytes.
pub const TOKEN_MAX: usize = 8 * 1024;
/// Longest `kid`, in bytes.
const KID_MAX: usize = 256;

pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    typ: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// What the signature is over.
    pub(super) signed: &'a str,
    /// In base64url.
    pub(super) signature: &'a str,
}

impl<'a> Token<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > TOKEN_MAX {
            return Err(Refusal::TooLarge);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Refusal::Malformed);
        };
        match parts.count() {
            0 => {}
            // RFC 7516 section 9.
            2 => return Err(Refusal::Encrypted),
            _ => return Err(Refusal::Malformed),
        }
        let signed = &token[..header.len() + 1 + claims.len()];
        let header = object(header)?;
        let algorithm = algorithm(&header)?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Refusal::Critical);
        }
        if header.contains_key("zip") || header.contains_key("enc") {
            return Err(Refusal::Malformed);
        }
        if header.contains_key("cty") {
            return Err(Refusal::Nested);
        }
        let claims = object(claims)?;
        let fits = !signature.is_empty() && BASE64URL.decode(signature).is_ok();
        if !fits {
            return Err(Refusal::Malformed);
        }
        let kid = text(&header, "kid")?.filter(|kid| !kid.is_empty());
        if kid.as_ref().is_some_and(|kid| kid.len() > KID_MAX) {
            return Err(Refusal::Malformed);
        }
        Ok(Self { algorithm, kid, typ: text(&header, "typ")?, claims, signed, signature })
    }

    /// Media types are compared without regard to case, and `application/` may be left out (RFC 7515 section 4.1.9).
    pub(super) fn is_of(&self, wanted: TokenType) -> Result<(), Refusal> {
        let typ = self.typ.as_ref().map(|typ| typ.to_ascii_lowercase());
        let typ = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
        match (typ, wanted) {
            (Some("at+jwt"), TokenType::Jwt | TokenType::AccessToken)
            | (None | Some("jwt"), TokenType::Jwt) => Ok(()),
            (Some(_) | None, TokenType::Jwt | TokenType::AccessToken) => Err(Refusal::Type),
        }
    }
}

/// One JSON object with no name twice. Base64url has one form for each text: no padding, no stray bits.
fn object(part: &str) -> Result<Map<String, Value>, Refusal> {
    let json = BASE64URL.decode(part).map_err(|_| Refusal::Malformed)?;
    strict::object(&json).ok_or(Refusal::Malformed)
}

fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, Refusal> {
    let word = text(header, "alg")?.ok_or(Refusal::Malformed)?;
    word.parse().map_err(|_| Refusal::Algorithm)
}

fn text(header: &Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Refusal::Malformed)
        }
    }
}
