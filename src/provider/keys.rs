//! Keys that sign: taken from PEM, made here, shown in public (RFC 7517), and used (RFC 7515, 7518, 8037). A private
//! key leaves in one form only, to be sealed. Never prints one.
//!
//! The keys themselves have to be looked into (type, curve, size), so aws-lc-rs reads them; what a JWT adds to a
//! signature is two pieces of base64url.

use crate::domain::{
    credential::PublicKey,
    profile::SigningAlg,
    token::{ClientSecret, Secret},
};
use aws_lc_rs::{
    digest, hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64URL},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use std::{fmt, fmt::Write as _};
use zeroize::Zeroizing;

/// Longest private key, in bytes of PEM.
pub const KEY_PEM_MAX: usize = 16 * 1024;
/// The bits of RSA keys that are taken, and of those made here.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A private key that signs in one way.
pub struct SigningKey {
    algorithm: SigningAlg,
    key_id: String,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// Why a private key is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("is encrypted: decrypt it first, for example with `openssl pkcs8 -in KEY -out PLAIN`")]
    Encrypted,
    #[error("is not a private key in PEM: it begins with `-----BEGIN PRIVATE KEY-----`")]
    NotPem,
    #[error("is longer than {KEY_PEM_MAX} bytes")]
    TooLong,
    #[error("is an RSA key of fewer than 2048 bits: make one of 2048 to 4096")]
    RsaTooSmall,
    #[error("is an RSA key of more than 4096 bits: make one of 2048 to 4096")]
    RsaTooLarge,
    #[error("is on a curve that is not used here: make one on P-256, or an Ed25519 key")]
    WrongCurve,
    #[error("is of a kind that is not used here, or damaged: use RSA, EC P-256 or Ed25519")]
    Unusable,
    #[error("does not sign with this algorithm: RSA keys take PS256 or RS256, P-256 ES256, Ed25519 EdDSA")]
    WrongAlgorithm,
    /// The library failed; the key is not at fault.
    #[error("signing failed")]
    Signing,
}

impl SigningKey {
    /// Reads a key that is not encrypted. Without a wish it signs as is best for its type (RSA: PS256), and is named by
    /// its thumbprint (RFC 7638).
    pub fn from_pem(
        pem: &Secret,
        wanted: Option<SigningAlg>,
        key_id: Option<&str>,
    ) -> Result<Self, KeyError> {
        let pair = Pair::from_der(&private_key_der(pem)?)?;
        let algorithm = match (&pair, wanted) {
            (Pair::Ec(_), None | Some(SigningAlg::Es256)) => SigningAlg::Es256,
            (Pair::Ed(_), None | Some(SigningAlg::EdDsa)) => SigningAlg::EdDsa,
            (Pair::Rsa(_), None | Some(SigningAlg::Ps256)) => SigningAlg::Ps256,
            (Pair::Rsa(_), Some(SigningAlg::Rs256)) => SigningAlg::Rs256,
            (Pair::Ec(_) | Pair::Ed(_) | Pair::Rsa(_), Some(_)) => return Err(KeyError::WrongAlgorithm),
        };
        let key_id = key_id.map_or_else(|| thumbprint(&pair.jwk()), str::to_owned);
        Ok(Self { algorithm, key_id, pair })
    }

    /// A new key, as PKCS #8 in PEM. It is on its way to be sealed.
    pub fn generate(algorithm: SigningAlg) -> Result<Secret, KeyError> {
        let failed = |_| KeyError::Signing;
        let random = SystemRandom::new();
        let der = match algorithm {
            SigningAlg::Es256 => Zeroizing::new(
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                    .map_err(failed)?
                    .as_ref()
                    .to_vec(),
            ),
            SigningAlg::EdDsa => {
                Zeroizing::new(Ed25519KeyPair::generate_pkcs8v1(&random).map_err(failed)?.as_ref().to_vec())
            }
            SigningAlg::Ps256 | SigningAlg::Rs256 => {
                use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let der: Pkcs8V1Der<'static> = pair.as_der().map_err(failed)?;
                Zeroizing::new(der.as_ref().to_vec())
            }
        };
        Ok(Secret::new(pem("PRIVATE KEY", &der)))
    }

    pub const fn algorithm(&self) -> SigningAlg {
        self.algorithm
    }

    /// What may be published, and kept open.
    pub fn public(&self) -> PublicKey {
        PublicKey {
            key_id: self.key_id.clone(),
            algorithm: self.algorithm,
            jwk: self.public_jwk().to_string(),
        }
    }

    /// RFC 7517, with `kid`, `alg` and `use`.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = self.pair.jwk();
        jwk["kid"] = json!(self.key_id);
        jwk["alg"] = json!(self.algorithm.word());
        jwk["use"] = json!("sig");
        jwk
    }

    /// A signed JWT: `alg` and `kid` are added to the header given.
    pub fn jwt(&self, typ: &str, claims: &Value) -> Result<Secret, KeyError> {
        let header = json!({ "typ": typ, "alg": self.algorithm.word(), "kid": self.key_id });
        self.signed(&header, claims)
    }

    /// A signed JWT with exactly this header, whose `alg` must be this key's.
    pub fn signed(&self, header: &Value, claims: &Value) -> Result<Secret, KeyError> {
        let input = signing_input(header, claims);
        let signature = self.pair.sign(self.algorithm, input.as_bytes())?;
        Ok(Secret::new(format!("{input}.{}", BASE64URL.encode(signature))))
    }
}

/// A JWT with an HMAC of the shared secret (RFC 7518 §3.2).
pub(super) fn hs256(secret: &ClientSecret, claims: &Value) -> Secret {
    let input = signing_input(&json!({ "typ": "JWT", "alg": "HS256" }), claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.0.expose().as_bytes());
    let tag = hmac::sign(&key, input.as_bytes());
    Secret::new(format!("{input}.{}", BASE64URL.encode(tag)))
}

fn signing_input(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()))
}

/// RFC 7638: SHA-256 over the members that make the key what it is, in the order of their names.
pub fn thumbprint(jwk: &Value) -> String {
    let members: serde_json::Map<_, _> = ["crv", "e", "kty", "n", "x", "y"]
        .into_iter()
        .filter_map(|name| jwk.get(name).map(|value| (name.to_owned(), value.clone())))
        .collect();
    BASE64URL.encode(digest::digest(&digest::SHA256, Value::Object(members).to_string().as_bytes()))
}

/// The first private key of a PEM file.
pub(super) fn private_key_der(pem: &Secret) -> Result<PrivateKeyDer<'static>, KeyError> {
    let text = pem.expose();
    if text.len() > KEY_PEM_MAX {
        return Err(KeyError::TooLong);
    }
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyError::Encrypted);
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::NotPem)
}

/// RFC 7468, in memory that the caller seals.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}

impl Pair {
    fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, KeyError> {
        let bytes = der.secret_der();
        let on = |curve: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_pkcs8(curve, bytes)
                .or_else(|_| EcdsaKeyPair::from_private_key_der(curve, bytes))
        };
        if let Ok(pair) = on(&ECDSA_P256_SHA256_FIXED_SIGNING) {
            return Ok(Self::Ec(pair));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
            return Ok(Self::Ed(pair));
        }
        let rsa = match der {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes),
            _ => RsaKeyPair::from_pkcs8(bytes),
        };
        match rsa {
            Ok(pair) if pair.public_modulus_len() * 8 > *RSA_BITS.end() => Err(KeyError::RsaTooLarge),
            Ok(pair) => Ok(Self::Rsa(Box::new(pair))),
            Err(err) if err.to_string() == "TooSmall" => Err(KeyError::RsaTooSmall),
            Err(_) => {
                let others = [&ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P521_SHA512_FIXED_SIGNING];
                let elsewhere = others.into_iter().any(|curve| on(curve).is_ok());
                Err(if elsewhere { KeyError::WrongCurve } else { KeyError::Unusable })
            }
        }
    }

    /// What makes the key what it is, and no more.
    fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64URL.encode(bytes);
        match self {
            Self::Ec(pair) => {
                // An uncompressed point: 4, then both coordinates.
                let point = pair.public_key().as_ref();
                let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Self::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
            Self::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({
                    "kty": "RSA",
                    "n": text(n.big_endian_without_leading_zero()),
                    "e": text(e.big_endian_without_leading_zero()),
                })
            }
        }
    }

    fn sign(&self, algorithm: SigningAlg, input: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Signing;
        let random = SystemRandom::new();
        Ok(match self {
            Self::Ec(pair) => pair.sign(&random, input).map_err(failed)?.as_ref().to_vec(),
            Self::Ed(pair) => pair.try_sign(input).map_err(failed)?.as_ref().to_vec(),
            Self::Rsa(pair) => {
                let padding = match algorithm {
                    SigningAlg::Rs256 => &RSA_PKCS1_SHA256,
                    SigningAlg::Ps256 | SigningAlg::Es256 | SigningAlg::EdDsa => &RSA_PSS_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, input, &mut signature).map_err(failed)?;
                signature
            }
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} key {}]", self.algorithm, self.key_id)
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
