//! JSON Web Tokens that clients sign: verified with a key they registered or sent along, or with their secret.
//! What the claims are worth is for the caller to judge.

use super::sha256;
use aws_lc_rs::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
        RsaPublicKeyComponents, UnparsedPublicKey,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};

/// A signed token that was read and not yet verified.
pub(in crate::simulator) struct SignedBy {
    pub(in crate::simulator) header: Value,
    pub(in crate::simulator) claims: Value,
    input: String,
    signature: Vec<u8>,
}

impl SignedBy {
    /// `None` if it is no compact JWS with two JSON objects.
    pub(in crate::simulator) fn read(token: &str) -> Option<Self> {
        let (input, signature) = token.rsplit_once('.')?;
        let (header, claims) = input.split_once('.')?;
        let object = |part: &str| -> Option<Value> {
            let value: Value = serde_json::from_slice(&BASE64URL.decode(part).ok()?).ok()?;
            value.is_object().then_some(value)
        };
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            input: input.to_owned(),
            signature: BASE64URL.decode(signature).ok()?,
        })
    }

    pub(in crate::simulator) fn text(&self, claim: &str) -> Option<&str> {
        self.claims[claim].as_str()
    }

    /// Whether `aud` is this audience and no other.
    pub(in crate::simulator) fn is_for(&self, audience: &str) -> bool {
        match &self.claims["aud"] {
            Value::String(one) => one == audience,
            Value::Array(all) => matches!(all.as_slice(), [Value::String(one)] if one == audience),
            _ => false,
        }
    }

    /// Whether `exp` is ahead, and not for longer than `seconds`.
    pub(in crate::simulator) fn is_fresh(&self, now: u64, seconds: u64) -> bool {
        let not_before = self.claims["nbf"].as_u64().unwrap_or(0);
        not_before <= now + 60
            && self.claims["exp"].as_u64().is_some_and(|exp| exp > now && exp <= now + seconds)
    }

    /// By one key of a set; with a `kid`, by that one.
    pub(in crate::simulator) fn is_by_one_of(&self, jwks: &Value) -> bool {
        let kid = self.header.get("kid");
        let keys = jwks["keys"].as_array().into_iter().flatten();
        keys.filter(|key| kid.is_none() || key.get("kid").is_none() || key.get("kid") == kid)
            .any(|key| self.is_by(key).unwrap_or(false))
    }

    /// `None` if key or algorithm is unknown here.
    pub(in crate::simulator) fn is_by(&self, jwk: &Value) -> Option<bool> {
        let number = |name: &str| BASE64URL.decode(jwk[name].as_str()?).ok();
        let input = self.input.as_bytes();
        let good = match (self.header["alg"].as_str()?, jwk["kty"].as_str()?) {
            ("ES256", "EC") if jwk["crv"] == "P-256" => {
                let point = [vec![4], number("x")?, number("y")?].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(input, &self.signature).is_ok()
            }
            ("EdDSA" | "Ed25519", "OKP") if jwk["crv"] == "Ed25519" => {
                UnparsedPublicKey::new(&ED25519, number("x")?).verify(input, &self.signature).is_ok()
            }
            (alg @ ("RS256" | "PS256"), "RSA") => {
                let key = RsaPublicKeyComponents { n: number("n")?, e: number("e")? };
                let how =
                    if alg == "RS256" { &RSA_PKCS1_2048_8192_SHA256 } else { &RSA_PSS_2048_8192_SHA256 };
                key.verify(how, input, &self.signature).is_ok()
            }
            _ => return None,
        };
        Some(good)
    }

    /// By a shared secret (`HS256`).
    pub(in crate::simulator) fn is_by_secret(&self, secret: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        self.header["alg"] == "HS256" && hmac::verify(&key, self.input.as_bytes(), &self.signature).is_ok()
    }
}

/// RFC 7638: which key this is. `None` if it is of an unknown kind or private.
pub(in crate::simulator) fn thumbprint(jwk: &Value) -> Option<String> {
    if jwk.get("d").is_some() {
        return None;
    }
    let text = |name: &str| jwk[name].as_str();
    // serde_json keeps members in the order of the alphabet, as RFC 7638 §3 wants them.
    let canonical = match text("kty")? {
        "EC" => json!({"crv": text("crv")?, "kty": "EC", "x": text("x")?, "y": text("y")?}),
        "OKP" => json!({"crv": text("crv")?, "kty": "OKP", "x": text("x")?}),
        "RSA" => json!({"e": text("e")?, "kty": "RSA", "n": text("n")?}),
        _ => return None,
    };
    Some(BASE64URL.encode(sha256(canonical.to_string().as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_that_of_rfc_7638() {
        let jwk = json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK\
                  RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAt\
                  aSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPks\
                  INHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        assert_eq!(thumbprint(&jwk).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(thumbprint(&json!({"kty": "OKP", "crv": "Ed25519", "x": "a", "d": "b"})), None);
    }

    #[test]
    fn the_tokens_of_rfc_7515_and_8037_verify_and_others_do_not() {
        // RFC 8037 appendix A.4.
        let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
                     hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        // Its payload is text, not claims: only the signature is looked at.
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signed = SignedBy {
            header: json!({"alg": "EdDSA"}),
            claims: json!({}),
            input: input.to_owned(),
            signature: BASE64URL.decode(signature).unwrap(),
        };
        assert_eq!(signed.is_by(&jwk), Some(true));
        assert!(signed.is_by_one_of(&json!({"keys": [{"kty": "oct"}, jwk]})));
        let other = SignedBy { input: format!("{input}x"), ..signed };
        assert_eq!(other.is_by(&jwk), Some(false));
        // RFC 7515 appendix A.3.
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p\
                     c19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        let signed = SignedBy::read(token).unwrap();
        assert_eq!((signed.is_by(&jwk), signed.text("iss")), (Some(true), Some("joe")));
        assert!(!signed.is_by_secret("joe"));
        assert!(signed.is_fresh(1_300_819_379, 60) && !signed.is_fresh(1_300_819_380, 60));
        assert!(!signed.is_fresh(1_300_000_000, 60), "too far ahead");
    }
}
