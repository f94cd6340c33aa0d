//! Tokens that are bound to a key (RFC 9449): the proofs that go with token requests, the nonces that servers want
//! in them, and, in `proof`, the check of the proofs of callers who want a bound token. Keys are P-256 (ES256).

pub mod proof;

use super::keys::{KeyError, SigningKey, thumbprint};
use crate::{
    clock::Timestamp,
    domain::{credential::SigningAlgorithm, token::Secret},
    egress::Outgoing,
};
use http::{HeaderName, HeaderValue, Method};
use quick_cache::sync::Cache;
use serde_json::{Value, json};
use url::{Position, Url};
use uuid::Uuid;

/// §4.1. Its value is the proof.
pub(super) const PROOF_HEADER: HeaderName = HeaderName::from_static("dpop");
/// §8.1. Its value is what the next proof has to hold.
pub(super) const NONCE_HEADER: HeaderName = HeaderName::from_static("dpop-nonce");
/// §8: the server did not look at the request and wants it once more with the nonce that came along.
pub(super) const NONCE_WANTED: &str = "use_dpop_nonce";
/// Longest nonce that is sent back, in bytes.
pub(super) const NONCE_MAX: usize = 512;
/// Most servers whose nonces are remembered.
const NONCES_MAX: usize = 1024;
/// §4.2.
const PROOF_TYPE: &str = "dpop+jwt";

/// The key that one connection's tokens are bound to.
#[derive(Debug)]
pub struct DpopKey {
    key: SigningKey,
    jwk: Value,
    thumbprint: String,
}

impl DpopKey {
    /// From PEM. Not only the broker may hold the key: who calls the API with the bound token needs it too.
    pub fn from_pem(pem: &Secret) -> Result<Self, KeyError> {
        let key = SigningKey::from_pem(pem, Some(SigningAlgorithm::Es256), None)?;
        let full = key.public_jwk();
        // §4.2: the public key and nothing else.
        let jwk = json!({ "kty": full["kty"], "crv": full["crv"], "x": full["x"], "y": full["y"] });
        let thumbprint = thumbprint(&jwk);
        Ok(Self { key, jwk, thumbprint })
    }

    /// A new key, in PEM on its way to be sealed.
    pub fn generate() -> Result<Secret, KeyError> {
        SigningKey::generate(SigningAlgorithm::Es256)
    }

    /// RFC 7638, SHA-256: `jkt` (§6.1).
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// A proof for one request (§4.2).
    pub fn prove(
        &self,
        method: &str,
        uri: &str,
        now: Timestamp,
        nonce: Option<&str>,
    ) -> Result<Secret, KeyError> {
        let mut claims =
            json!({ "jti": Uuid::new_v4().to_string(), "htm": method, "htu": uri, "iat": now.as_secs() });
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        let header = json!({ "typ": PROOF_TYPE, "alg": SigningAlgorithm::Es256.word(), "jwk": self.jwk });
        self.key.signed(&header, &claims)
    }
}

/// What servers want in the next proof, by origin. Kept in memory: a lost one costs one more request.
#[derive(Debug)]
pub(super) struct Nonces(Cache<String, String>);

impl Default for Nonces {
    fn default() -> Self {
        Self(Cache::new(NONCES_MAX))
    }
}

impl Nonces {
    /// Puts a proof to the request. The address in it is without query and fragment.
    pub(super) fn put_proof(
        &self,
        request: &mut Outgoing,
        key: &DpopKey,
        now: Timestamp,
    ) -> Result<(), KeyError> {
        let nonce = self.0.get(&origin(&request.url));
        let method = if request.method == Method::POST { "POST" } else { request.method.as_str() };
        let uri = &request.url[..Position::AfterPath];
        let proof = key.prove(method, uri, now, nonce.as_deref())?;
        let mut value = HeaderValue::try_from(proof.expose()).map_err(|_| KeyError::Signing)?;
        value.set_sensitive(true);
        request.headers.insert(PROOF_HEADER, value);
        Ok(())
    }

    pub(super) fn keep(&self, server: &Url, nonce: &str) {
        self.0.insert(origin(server), nonce.to_owned());
    }
}

fn origin(url: &Url) -> String {
    url[..Position::BeforePath].to_owned()
}

/// §8.1: visible characters without quotes and backslash.
pub(super) fn nonce(text: &str) -> Option<String> {
    let fits = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    ((1..=NONCE_MAX).contains(&text.len()) && text.bytes().all(fits)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_sent_back_only_if_it_can_be_one() {
        assert_eq!(nonce("eyJ7S_zG.eyJH0-Z.HX4w-7v"), Some("eyJ7S_zG.eyJH0-Z.HX4w-7v".into()));
        for bad in ["", "a b", "a\"b", "a\\b", "\u{7f}", &"n".repeat(NONCE_MAX + 1)] {
            assert_eq!(nonce(bad), None);
        }
    }

    #[test]
    fn a_key_that_is_not_on_p_256_binds_nothing() {
        let pem = SigningKey::generate(SigningAlgorithm::EdDsa).unwrap();
        assert_eq!(DpopKey::from_pem(&pem).unwrap_err(), KeyError::WrongAlgorithm);
    }

    #[test]
    fn a_request_is_proven_for_its_address_without_the_query_and_with_the_servers_nonce() {
        let key = DpopKey::from_pem(&DpopKey::generate().unwrap()).unwrap();
        let nonces = Nonces::default();
        let url = Url::parse("https://as.example:8443/token?tenant=1").unwrap();
        let request = || Outgoing {
            method: Method::POST,
            url: url.clone(),
            headers: http::HeaderMap::new(),
            body: vec![],
            presenting: None,
        };
        let now = Timestamp::from_secs(1_790_000_000);
        for want in [None, Some("n-1")] {
            if let Some(nonce) = want {
                nonces.keep(&Url::parse("https://as.example:8443/elsewhere").unwrap(), nonce);
            }
            let mut request = request();
            nonces.put_proof(&mut request, &key, now).unwrap();
            let value = &request.headers[PROOF_HEADER];
            assert!(value.is_sensitive());
            let shown = proof::peek(value.to_str().unwrap()).unwrap();
            assert_eq!(shown.header["typ"], "dpop+jwt");
            assert_eq!(shown.header["alg"], "ES256");
            let mut members: Vec<_> = shown.header["jwk"].as_object().unwrap().keys().collect();
            members.sort();
            assert_eq!(members, ["crv", "kty", "x", "y"]);
            assert_eq!(shown.claims["htm"], "POST");
            assert_eq!(shown.claims["htu"], "https://as.example:8443/token");
            assert_eq!(shown.claims["iat"], 1_790_000_000);
            assert_eq!(shown.claims.get("nonce").and_then(Value::as_str), want);
        }
    }
}
