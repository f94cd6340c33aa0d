//! RS256 JSON Web Tokens and the key sets that verify them (RFC 7515, 7517, 7518 §3.3).
//! Signs and reads only what the simulators issue themselves; no general JWT library.

pub(super) mod foreign;

use super::SimulatorError;
use aws_lc_rs::{
    digest::{SHA256, digest},
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// One RSA-2048 key with its id.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub(super) struct SigningKey {
    stored: Stored,
    pair: Arc<KeyPair>,
}

/// A key as the state file holds it.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    kid: String,
    /// base64url.
    pkcs8: String,
}

/// The keys of all sites, each made when it is first needed: making one takes long.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct KeyRing(BTreeMap<String, SigningKey>);

impl KeyRing {
    pub(super) fn of(
        &mut self,
        site: &str,
        kid: impl FnOnce() -> String,
    ) -> Result<&SigningKey, SimulatorError> {
        if !self.0.contains_key(site) {
            self.0.insert(site.to_owned(), SigningKey::generate(kid())?);
        }
        self.0.get(site).ok_or(SimulatorError::Signing)
    }
}

impl SigningKey {
    fn generate(kid: String) -> Result<Self, SimulatorError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| SimulatorError::Signing)?;
        let der: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| SimulatorError::Signing)?;
        let stored = Stored { kid, pkcs8: BASE64URL.encode(der.as_ref()) };
        Ok(Self { stored, pair: Arc::new(pair) })
    }

    pub(super) fn sign(&self, claims: &Value) -> Result<String, SimulatorError> {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.stored.kid});
        let input = format!("{}.{}", encode(&header), encode(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature)
            .map_err(|_| SimulatorError::Signing)?;
        Ok(format!("{input}.{}", BASE64URL.encode(signature)))
    }

    /// The claims of a token that this key signed; whether they have expired is for the caller to judge.
    pub(super) fn verify(&self, token: &str) -> Option<Value> {
        let (input, signature) = token.rsplit_once('.')?;
        let signature = BASE64URL.decode(signature).ok()?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key().as_ref())
            .verify(input.as_bytes(), &signature)
            .ok()?;
        let (_, claims) = input.split_once('.')?;
        serde_json::from_slice(&BASE64URL.decode(claims).ok()?).ok()
    }

    /// The key set to publish.
    pub(super) fn jwks(&self) -> Value {
        let public = self.pair.public_key();
        let number = |bytes: &[u8]| BASE64URL.encode(bytes);
        json!({"keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.stored.kid,
            "n": number(public.modulus().big_endian_without_leading_zero()),
            "e": number(public.exponent().big_endian_without_leading_zero()),
        }]})
    }
}

/// FIPS 180-4.
pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

fn encode(part: &Value) -> String {
    BASE64URL.encode(part.to_string())
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.stored.kid).finish_non_exhaustive()
    }
}

impl From<SigningKey> for Stored {
    fn from(key: SigningKey) -> Self {
        key.stored
    }
}

impl TryFrom<Stored> for SigningKey {
    type Error = SimulatorError;

    fn try_from(stored: Stored) -> Result<Self, SimulatorError> {
        let der = BASE64URL.decode(&stored.pkcs8).map_err(|_| SimulatorError::Signing)?;
        let pair = KeyPair::from_pkcs8(&der).map_err(|_| SimulatorError::Signing)?;
        Ok(Self { stored, pair: Arc::new(pair) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_that_signed_verifies_also_after_it_was_stored() {
        let mut ring = KeyRing::default();
        let token = ring.of("us2", || "1".to_owned()).unwrap().sign(&json!({"sub": "acme"})).unwrap();
        let stored = serde_json::to_string(&ring).unwrap();
        let mut ring: KeyRing = serde_json::from_str(&stored).unwrap();
        let key = ring.of("us2", || "2".to_owned()).unwrap();
        assert_eq!(key.verify(&token).unwrap()["sub"], "acme");
        assert_eq!(key.jwks()["keys"][0]["kid"], "1");
        let (head, signature) = token.rsplit_once('.').unwrap();
        assert!(key.verify(&format!("{head}x.{signature}")).is_none());
        assert!(ring.of("eu2", || "3".to_owned()).unwrap().verify(&token).is_none());
    }
}
