//! Keys come in or are refused with the mend, and what they sign holds before another library.

use super::*;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::Jwk};

fn on(curve: &'static EcdsaSigningAlgorithm) -> Secret {
    let der = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap();
    Secret::new(pem("PRIVATE KEY", der.as_ref()))
}

fn theirs(algorithm: SigningAlg) -> Algorithm {
    match algorithm {
        SigningAlg::Es256 => Algorithm::ES256,
        SigningAlg::Ps256 => Algorithm::PS256,
        SigningAlg::Rs256 => Algorithm::RS256,
        SigningAlg::EdDsa => Algorithm::EdDSA,
    }
}

#[test]
fn what_is_signed_holds_by_the_public_key_that_is_shown() {
    for algorithm in SigningAlg::ALL {
        let pem = SigningKey::generate(*algorithm).unwrap();
        let key = SigningKey::from_pem(&pem, Some(*algorithm), None).unwrap();
        let token = key.jwt("JWT", &json!({ "sub": "c", "exp": 4_000_000_000_u64 })).unwrap();
        let header = decode_header(token.expose()).unwrap();
        let public = key.public();
        assert_eq!(header.alg, theirs(*algorithm));
        assert_eq!(header.kid.as_deref(), Some(&*public.key_id));
        let jwk: Jwk = serde_json::from_str(&public.jwk).unwrap();
        assert_eq!(jwk.common.key_id.as_deref(), Some(&*public.key_id));
        let by = DecodingKey::from_jwk(&jwk).unwrap();
        let claims = decode::<Value>(token.expose(), &by, &Validation::new(header.alg)).unwrap().claims;
        assert_eq!(claims["sub"], "c");
        let other = SigningKey::from_pem(&SigningKey::generate(*algorithm).unwrap(), Some(*algorithm), None);
        let other: Jwk = serde_json::from_value(other.unwrap().public_jwk()).unwrap();
        let by = DecodingKey::from_jwk(&other).unwrap();
        assert!(decode::<Value>(token.expose(), &by, &Validation::new(header.alg)).is_err(), "{algorithm}");
        // What is published has nothing of the private half.
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.public_jwk().get(private).is_none(), "{algorithm} {private}");
        }
    }
}

#[test]
fn a_shared_secret_signs_by_hmac() {
    let secret = ClientSecret(Secret::new("a shared secret of some length, as RFC 7518 asks"));
    let token = hs256(&secret, &json!({ "sub": "c", "exp": 4_000_000_000_u64 }));
    let by = |secret: &[u8]| {
        let by = DecodingKey::from_secret(secret);
        decode::<Value>(token.expose(), &by, &Validation::new(Algorithm::HS256)).is_ok()
    };
    assert!(by(secret.0.expose().as_bytes()));
    assert!(!by(b"another"));
}

#[test]
fn a_key_that_cannot_be_used_is_refused_with_the_mend() {
    use SigningAlg as A;
    let (ec, small) = (on(&ECDSA_P256_SHA256_FIXED_SIGNING), include_str!("keys_tests/rsa_1024.pem"));
    let cases: Vec<(Secret, Option<A>, KeyError)> = vec![
        (Secret::new("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), None, KeyError::Encrypted),
        (Secret::new("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"), None, KeyError::Encrypted),
        (Secret::new("a password"), None, KeyError::NotPem),
        (Secret::new("x".repeat(KEY_PEM_MAX + 1)), None, KeyError::TooLong),
        (Secret::new(small), None, KeyError::RsaTooSmall),
        (Secret::new(include_str!("keys_tests/rsa_6144.pem")), None, KeyError::RsaTooLarge),
        (on(&ECDSA_P384_SHA384_FIXED_SIGNING), None, KeyError::WrongCurve),
        (on(&ECDSA_P521_SHA512_FIXED_SIGNING), None, KeyError::WrongCurve),
        (Secret::new(pem("PRIVATE KEY", b"\x30\x00")), None, KeyError::Unusable),
        (ec.clone(), Some(A::Ps256), KeyError::WrongAlgorithm),
        (ec, Some(A::EdDsa), KeyError::WrongAlgorithm),
        (Secret::new(include_str!("keys_tests/rsa_2048.pem")), Some(A::Es256), KeyError::WrongAlgorithm),
    ];
    for (number, (pem, algorithm, want)) in cases.into_iter().enumerate() {
        assert_eq!(SigningKey::from_pem(&pem, algorithm, None).unwrap_err(), want, "case {number}");
    }
}

#[test]
fn keys_of_other_tools_are_taken() {
    // Written by `openssl genpkey`, `openssl ecparam -genkey` and `openssl genrsa -traditional`.
    let cases = [
        (include_str!("keys_tests/ed25519.pem"), SigningAlg::EdDsa),
        (include_str!("keys_tests/p256.pem"), SigningAlg::Es256),
        (include_str!("keys_tests/p256_sec1.pem"), SigningAlg::Es256),
        (include_str!("keys_tests/rsa_2048.pem"), SigningAlg::Ps256),
        (include_str!("keys_tests/rsa_2048_pkcs1.pem"), SigningAlg::Ps256),
    ];
    for (pem, want) in cases {
        let key = SigningKey::from_pem(&Secret::new(pem), None, Some("mine")).unwrap();
        assert_eq!((key.algorithm(), key.public().key_id.as_str()), (want, "mine"));
    }
}

/// RFC 7638 §3.1 and RFC 8037 appendix A.3.
#[test]
fn a_thumbprint_is_that_of_the_rfc() {
    let rsa = json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRX\
              jBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqz\
              s8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-\
              G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    });
    assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    assert_eq!(thumbprint(&ed), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn a_key_shows_nothing_of_itself() {
    let pem = SigningKey::generate(SigningAlg::Es256).unwrap();
    let key = SigningKey::from_pem(&pem, None, Some("kid-1")).unwrap();
    assert_eq!(format!("{key:?}"), "[ES256 key kid-1]");
}
