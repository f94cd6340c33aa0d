//! The keys that an issuer signs with: a JWK set (RFC 7517 section 5), read as what it is: the word of a stranger.
//! Keys of other kinds or for other uses are left out; secrets and private keys are never taken.

use crate::domain::{issuer::Algorithm, strict};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm as Signed, DecodingKey, crypto};
use serde_json::{Map, Value};

/// Most keys of a set.
const KEYS_MAX: usize = 100;
/// Longest `kid`, in bytes.
const KID_MAX: usize = 256;
/// Sizes of RSA moduli that are taken, in bits (RFC 7518 section 3.3).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Longest public exponent of RSA, in bytes.
const EXPONENT_MAX: usize = 8;
/// Members that only the owner of a key has (RFC 7518 section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// All usable keys of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    kid: Option<String>,
    /// The only algorithm that it is meant for, if it says one.
    meant_for: Option<String>,
    public: Public,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    Ec(Curve, Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
}

/// Why a document is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKeySet {
    #[error("it is not one JSON object without repeated names")]
    NotJson,
    #[error("it has no list `keys` of at most {KEYS_MAX} objects")]
    NoKeys,
    #[error(
        "none of its keys is a public one for signatures: RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519"
    )]
    Empty,
}

/// What a set has for a token.
pub(super) enum Found<'k> {
    One(&'k Key),
    /// More than one key fits.
    Many,
    Nothing,
}

impl KeySet {
    pub fn parse(json: &[u8]) -> Result<Self, NoKeySet> {
        let document = strict::object(json).ok_or(NoKeySet::NotJson)?;
        let Some(Value::Array(listed)) = document.get("keys") else { return Err(NoKeySet::NoKeys) };
        if listed.len() > KEYS_MAX || !listed.iter().all(Value::is_object) {
            return Err(NoKeySet::NoKeys);
        }
        let keys: Vec<_> = listed.iter().filter_map(Value::as_object).filter_map(Key::read).collect();
        if keys.is_empty() { Err(NoKeySet::Empty) } else { Ok(Self(keys)) }
    }

    /// The key of this id that signs so. Without an id it has to be the only one that does.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let fits = |key: &&Key| key.signs(algorithm) && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
        let mut fitting = self.0.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::One(key),
            (Some(_), Some(_)) => Found::Many,
            (None, _) => Found::Nothing,
        }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Outcome of a look at a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    Good,
    Bad,
}

impl Key {
    /// `None`: no key that signatures are verified with here.
    fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
            return None;
        }
        if jwk.contains_key("use") && text("use") != Some("sig") {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops")
            && !operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"))
        {
            return None;
        }
        let word = |name: &str| match jwk.get(name) {
            None => Some(None),
            Some(Value::String(text)) if text.len() <= KID_MAX => Some(Some(text.clone())),
            Some(_) => None,
        };
        Some(Self { kid: word("kid")?, meant_for: word("alg")?, public: Public::read(jwk)? })
    }

    fn signs(&self, algorithm: Algorithm) -> bool {
        self.meant_for.as_deref().is_none_or(|meant| meant == algorithm.word())
            && self.public.signs(algorithm)
    }

    /// `signature` is in base64url.
    pub(super) fn verify(&self, algorithm: Algorithm, signed: &str, signature: &str) -> Signature {
        let key = match &self.public {
            Public::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
            Public::Ec(_, point) => DecodingKey::from_ec_der(point),
            Public::Ed25519(point) => DecodingKey::from_ed_der(point),
        };
        // Asked here too: a key of another kind must never come to the library.
        let good = self.signs(algorithm)
            && crypto::verify(signature, signed.as_bytes(), &key, library(algorithm)).unwrap_or(false);
        if good { Signature::Good } else { Signature::Bad }
    }
}

impl Public {
    fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64URL.decode(text(name)?).ok();
        match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                // Some servers write the zero that keeps DER from taking it for a negative number.
                let number =
                    |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
                let (n, e) = (number(bytes("n")?), number(bytes("e")?));
                let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
                let odd = e.last().is_some_and(|last| last % 2 == 1) && e != [1];
                let fits = RSA_BITS.contains(&bits) && e.len() <= EXPONENT_MAX && odd;
                fits.then_some(Self::Rsa { n, e })
            }
            ("EC", Some("P-256")) => point(bytes("x")?, bytes("y")?, 32).map(|at| Self::Ec(Curve::P256, at)),
            ("EC", Some("P-384")) => point(bytes("x")?, bytes("y")?, 48).map(|at| Self::Ec(Curve::P384, at)),
            ("OKP", Some("Ed25519")) => bytes("x").filter(|x| x.len() == 32).map(Self::Ed25519),
            _ => None,
        }
    }

    /// Each algorithm has one kind of key, and each curve one algorithm (RFC 7518 section 3.4).
    fn signs(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self {
            Self::Rsa { .. } => match algorithm {
                Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512 => true,
                Es256 | Es384 | EdDsa => false,
            },
            Self::Ec(Curve::P256, _) => algorithm == Es256,
            Self::Ec(Curve::P384, _) => algorithm == Es384,
            Self::Ed25519(_) => algorithm == EdDsa,
        }
    }
}

/// An uncompressed point: 4, then both coordinates at their full length.
fn point(x: Vec<u8>, y: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    let fits = x.len() == length && y.len() == length;
    fits.then(|| [vec![4], x, y].concat())
}

const fn library(algorithm: Algorithm) -> Signed {
    match algorithm {
        Algorithm::Rs256 => Signed::RS256,
        Algorithm::Rs384 => Signed::RS384,
        Algorithm::Rs512 => Signed::RS512,
        Algorithm::Ps256 => Signed::PS256,
        Algorithm::Ps384 => Signed::PS384,
        Algorithm::Ps512 => Signed::PS512,
        Algorithm::Es256 => Signed::ES256,
        Algorithm::Es384 => Signed::ES384,
        Algorithm::EdDsa => Signed::EdDSA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bearer::scene::Signer;
    use serde_json::json;

    fn count(document: &Value) -> Result<usize, NoKeySet> {
        KeySet::parse(document.to_string().as_bytes()).map(|set| set.count())
    }

    /// A key with one member changed; `null`: without it.
    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        match value {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
            value => jwk[name] = value,
        }
        jwk
    }

    #[test]
    fn only_public_keys_for_signatures_are_taken() {
        let (rsa, ec, ed) = (Signer::rsa("r").jwk(), Signer::p256("e").jwk(), Signer::ed25519("o").jwk());
        let number = |bytes: usize, first: u8| {
            let mut number = vec![0x5a; bytes];
            number[0] = first;
            json!(BASE64URL.encode(number))
        };
        let padded = |jwk: &Value, name: &str| {
            let bytes = BASE64URL.decode(jwk[name].as_str().unwrap()).unwrap();
            json!(BASE64URL.encode([vec![0], bytes].concat()))
        };
        let cases = [
            (rsa.clone(), true),
            (ec.clone(), true),
            (ed.clone(), true),
            (Signer::p384("f").jwk(), true),
            (with(ec.clone(), "use", json!("sig")), true),
            (with(ec.clone(), "key_ops", json!(["verify"])), true),
            (with(ec.clone(), "kid", Value::Null), true),
            (with(ec.clone(), "x5c", json!(["MIIB"])), true),
            (with(rsa.clone(), "n", padded(&rsa, "n")), true),
            (with(ec.clone(), "use", json!("enc")), false),
            (with(ec.clone(), "use", json!(1)), false),
            (with(ec.clone(), "key_ops", json!(["sign"])), false),
            (with(ec.clone(), "key_ops", json!("verify")), false),
            (with(ec.clone(), "kid", json!(1)), false),
            (with(ec.clone(), "kid", json!("k".repeat(257))), false),
            (with(ec.clone(), "alg", json!(["ES256"])), false),
            (with(ec.clone(), "d", json!("AA")), false),
            (with(rsa.clone(), "p", json!("AA")), false),
            (with(ec.clone(), "crv", json!("P-521")), false),
            (with(ec.clone(), "crv", json!("secp256k1")), false),
            (with(ec.clone(), "crv", json!("P-384")), false),
            (with(ec.clone(), "crv", Value::Null), false),
            (with(ec.clone(), "x", padded(&ec, "x")), false),
            (with(ec.clone(), "y", Value::Null), false),
            (with(ec.clone(), "y", json!("not base64url!")), false),
            (with(ed.clone(), "crv", json!("Ed448")), false),
            (with(ed.clone(), "x", padded(&ed, "x")), false),
            (with(rsa.clone(), "n", number(128, 0xff)), false),
            (with(rsa.clone(), "n", number(256, 0x7f)), false),
            (with(rsa.clone(), "n", number(1025, 0x01)), false),
            (with(rsa.clone(), "n", json!("")), false),
            (with(rsa.clone(), "e", json!("AQ")), false),
            (with(rsa.clone(), "e", json!("AQAA")), false),
            (with(rsa.clone(), "e", number(9, 0x01)), false),
            (json!({ "kty": "oct", "k": "AAAA", "kid": "s" }), false),
            (json!({ "kty": "AKP", "kid": "m" }), false),
            (json!({}), false),
        ];
        for (jwk, taken) in cases {
            let want = if taken { Ok(1) } else { Err(NoKeySet::Empty) };
            assert_eq!(count(&json!({ "keys": [jwk] })), want, "{jwk}");
            // What cannot be used does not take the others with it.
            assert_eq!(count(&json!({ "keys": [jwk, ed] })), Ok(1 + usize::from(taken)), "{jwk}");
        }
    }

    #[test]
    fn a_key_that_names_its_algorithm_signs_in_no_other_way() {
        let rsa = with(Signer::rsa("r").jwk(), "alg", json!("PS256"));
        let set = KeySet::parse(json!({ "keys": [rsa] }).to_string().as_bytes()).unwrap();
        for algorithm in Algorithm::ALL {
            let found = matches!(set.find(Some("r"), algorithm), Found::One(_));
            assert_eq!(found, algorithm == Algorithm::Ps256, "{algorithm}");
        }
    }

    #[test]
    fn what_is_no_key_set_is_none() {
        let ec = Signer::p256("e").jwk();
        let many: Vec<_> = (0..=KEYS_MAX).map(|_| ec.clone()).collect();
        for (document, want) in [
            (json!({ "keys": many }), NoKeySet::NoKeys),
            (json!({ "keys": [ec, 1] }), NoKeySet::NoKeys),
            (json!({ "keys": ec }), NoKeySet::NoKeys),
            (json!({}), NoKeySet::NoKeys),
            (json!({ "keys": [] }), NoKeySet::Empty),
            (json!([ec]), NoKeySet::NotJson),
            (json!("x"), NoKeySet::NotJson),
        ] {
            assert_eq!(count(&document), Err(want), "{document}");
        }
        let twice = format!(r#"{{"keys":[{ec}],"keys":[{ec}]}}"#);
        assert_eq!(KeySet::parse(twice.as_bytes()), Err(NoKeySet::NotJson));
        assert_eq!(KeySet::parse(&[0xff]), Err(NoKeySet::NotJson));
    }
}
