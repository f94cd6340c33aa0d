//! Checks a caller's proof that it holds the key of a bound token (RFC 9449 §4.3). Pure but for the memory of what
//! was shown already, which is this process's own and bounded.

use super::{super::keys::thumbprint, PROOF_TYPE};
use crate::clock::Timestamp;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use parking_lot::Mutex;
use serde_json::Value;
use std::{collections::HashMap, time::Duration};

/// How far a proof's `iat` may be from the present, to either side.
pub const FRESH: Duration = Duration::from_secs(60);
/// Longest proof, in bytes.
pub const PROOF_MAX: usize = 4096;
/// Longest `jti`, in bytes.
const JTI_MAX: usize = 256;
/// Most proofs that are remembered: so many bound tokens in two minutes.
const SHOWN_MAX: usize = 50_000;
/// The `htm` of a proof for this broker: calls are gRPC, which is POST.
const METHOD: &str = "POST";
/// Members of a JWK that only the owner of the key has (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What a proof has to be for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The thumbprint of the connection's key.
    pub jkt: &'a str,
    /// The connection's resource name: `htu` is `bursar:` and this.
    pub connection: &'a str,
    /// When the proof came in.
    pub at: Timestamp,
}

/// Why a proof is none. Says nothing that the proof itself said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("there is none")]
    Missing,
    #[error("it is not a signed JWT of at most {PROOF_MAX} bytes")]
    Malformed,
    #[error("its `typ` is not dpop+jwt")]
    Type,
    #[error("its `alg` is not ES256")]
    Algorithm,
    #[error("its `jwk` is not a P-256 public key")]
    Key,
    #[error("its `jwk` has the private key in it: make a new key, this one has been shown")]
    PrivateKey,
    #[error("it is signed with another key than the connection's")]
    OtherKey,
    #[error("its signature does not fit")]
    Signature,
    #[error("its `htm` is not POST")]
    Method,
    #[error("its `htu` is not `bursar:` and the connection's name")]
    Uri,
    #[error("its `iat` is more than 60 s from now: make one for each call, and compare the clocks")]
    Stale,
    #[error("its `jti` is missing or too long")]
    Id,
    #[error("it was used before: make one for each call")]
    Replayed,
    /// Fails closed: what cannot be remembered cannot be told from a replay.
    #[error("more proofs came in than can be remembered: try again in a minute")]
    TooMany,
}

/// A JWT taken apart, and not believed.
pub(in crate::provider) struct Parts<'a> {
    pub(in crate::provider) header: Value,
    pub(in crate::provider) claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

pub(in crate::provider) fn peek(jwt: &str) -> Option<Parts<'_>> {
    let (signed, signature) = jwt.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let object = |part: &str| -> Option<Value> {
        let value: Value = serde_json::from_slice(&BASE64URL.decode(part).ok()?).ok()?;
        value.is_object().then_some(value)
    };
    Some(Parts {
        header: object(header)?,
        claims: object(claims)?,
        signed,
        signature: BASE64URL.decode(signature).ok()?,
    })
}

/// Everything but whether it was shown before; gives its `jti`.
pub fn check(proof: &str, wanted: &Wanted<'_>) -> Result<String, ProofError> {
    if proof.is_empty() {
        return Err(ProofError::Missing);
    }
    let parts = Some(proof).filter(|proof| proof.len() <= PROOF_MAX).and_then(peek);
    let parts = parts.ok_or(ProofError::Malformed)?;
    let header = |name: &str| parts.header.get(name).and_then(Value::as_str);
    let claim = |name: &str| parts.claims.get(name).and_then(Value::as_str);
    if header("typ") != Some(PROOF_TYPE) {
        return Err(ProofError::Type);
    }
    if header("alg") != Some("ES256") {
        return Err(ProofError::Algorithm);
    }
    let jwk = parts.header.get("jwk").filter(|jwk| jwk.is_object()).ok_or(ProofError::Key)?;
    if PRIVATE.iter().any(|member| jwk.get(member).is_some()) {
        return Err(ProofError::PrivateKey);
    }
    let point = point(jwk).ok_or(ProofError::Key)?;
    if thumbprint(jwk) != wanted.jkt {
        return Err(ProofError::OtherKey);
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
        .verify(parts.signed.as_bytes(), &parts.signature)
        .map_err(|_| ProofError::Signature)?;
    if claim("htm") != Some(METHOD) {
        return Err(ProofError::Method);
    }
    if claim("htu").and_then(|htu| htu.strip_prefix("bursar:")) != Some(wanted.connection) {
        return Err(ProofError::Uri);
    }
    let iat = parts.claims.get("iat").and_then(Value::as_u64).map(Timestamp::from_secs);
    let fresh = |iat: &Timestamp| iat.until(wanted.at).max(wanted.at.until(*iat)) <= FRESH;
    iat.filter(fresh).ok_or(ProofError::Stale)?;
    claim("jti").filter(|jti| (1..=JTI_MAX).contains(&jti.len())).map(str::to_owned).ok_or(ProofError::Id)
}

/// An uncompressed point: 4, then both coordinates of 32 bytes.
fn point(jwk: &Value) -> Option<Vec<u8>> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if text("kty") != Some("EC") || text("crv") != Some("P-256") {
        return None;
    }
    let coordinate = |name| BASE64URL.decode(text(name)?).ok().filter(|bytes| bytes.len() == 32);
    Some([vec![4], coordinate("x")?, coordinate("y")?].concat())
}

/// The proofs that were shown to this process lately (§11.1).
#[derive(Debug, Default)]
pub struct Shown(Mutex<HashMap<(String, String), Timestamp>>);

impl Shown {
    /// Checks the proof and takes it down: it is good once. A proof that arrives a second time at another replica is
    /// not noticed there.
    pub fn accept(&self, proof: &str, wanted: &Wanted<'_>) -> Result<(), ProofError> {
        let jti = check(proof, wanted)?;
        let mut shown = self.0.lock();
        let key = (wanted.jkt.to_owned(), jti);
        // A proof is fresh for as long before its `iat` as after it.
        let kept = |at: &Timestamp| at.until(wanted.at) <= FRESH * 2;
        if shown.get(&key).is_some_and(kept) {
            return Err(ProofError::Replayed);
        }
        if shown.len() >= SHOWN_MAX {
            shown.retain(|_, at| kept(at));
        }
        if shown.len() >= SHOWN_MAX {
            return Err(ProofError::TooMany);
        }
        shown.insert(key, wanted.at);
        Ok(())
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
