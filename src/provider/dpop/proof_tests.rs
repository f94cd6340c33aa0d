//! Proofs that are none, each wrong in one way.

use super::*;
use crate::{
    domain::{credential::SigningAlgorithm, token::Secret},
    provider::{dpop::DpopKey, keys::SigningKey},
};
use serde_json::json;

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const CONNECTION: &str = "tenants/t/connections/c";

struct Rig {
    pem: Secret,
    key: DpopKey,
}

impl Rig {
    fn new() -> Self {
        let pem = DpopKey::generate().unwrap();
        let key = DpopKey::from_pem(&pem).unwrap();
        Self { pem, key }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { jkt: self.key.thumbprint(), connection: CONNECTION, at: NOW }
    }

    /// A good proof, spoilt by `change` before it is signed.
    fn proof(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let signing = SigningKey::from_pem(&self.pem, Some(SigningAlgorithm::Es256), None).unwrap();
        let jwk = signing.public_jwk();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": jwk["x"], "y": jwk["y"] });
        let mut header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let mut claims = json!({
            "jti": "j1", "htm": "POST", "htu": format!("bursar:{CONNECTION}"), "iat": NOW.as_secs()
        });
        change(&mut header, &mut claims);
        signing.signed(&header, &claims).unwrap().expose().to_owned()
    }
}

#[test]
fn the_proof_that_we_make_ourselves_is_one() {
    let rig = Rig::new();
    let made = rig.key.prove("POST", &format!("bursar:{CONNECTION}"), NOW, None).unwrap();
    assert!(check(made.expose(), &rig.wanted()).is_ok());
    assert_eq!(check(&rig.proof(|_, _| ()), &rig.wanted()), Ok("j1".to_owned()));
}

#[test]
fn a_proof_that_is_wrong_in_one_way_is_none() {
    let rig = Rig::new();
    let other = Rig::new();
    let spoilt = |change: &dyn Fn(&mut Value, &mut Value)| rig.proof(|header, claims| change(header, claims));
    let iat = |seconds: i64| {
        let at = i64::try_from(NOW.as_secs()).unwrap() + seconds;
        rig.proof(move |_, claims| claims["iat"] = json!(at))
    };
    let good = rig.proof(|_, _| ());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let unsigned = format!("{signed}.");
    let other_signature = other.proof(|_, _| ());
    let transplanted = format!("{signed}.{}", other_signature.rsplit_once('.').unwrap().1);
    let cases = [
        ("nothing", String::new(), ProofError::Missing),
        ("no JWT", "canary".into(), ProofError::Malformed),
        ("four parts", format!("{good}.x"), ProofError::Malformed),
        ("too long", format!("{good}{}", "A".repeat(PROOF_MAX)), ProofError::Malformed),
        ("wrong typ", spoilt(&|header, _| header["typ"] = json!("JWT")), ProofError::Type),
        (
            "no typ",
            spoilt(&|header, _| drop(header.as_object_mut().unwrap().remove("typ"))),
            ProofError::Type,
        ),
        ("alg none", spoilt(&|header, _| header["alg"] = json!("none")), ProofError::Algorithm),
        ("symmetric alg", spoilt(&|header, _| header["alg"] = json!("HS256")), ProofError::Algorithm),
        ("other alg", spoilt(&|header, _| header["alg"] = json!("RS256")), ProofError::Algorithm),
        (
            "no alg",
            spoilt(&|header, _| drop(header.as_object_mut().unwrap().remove("alg"))),
            ProofError::Algorithm,
        ),
        ("no jwk", spoilt(&|header, _| drop(header.as_object_mut().unwrap().remove("jwk"))), ProofError::Key),
        (
            "symmetric jwk",
            spoilt(&|header, _| header["jwk"] = json!({ "kty": "oct", "k": "AA" })),
            ProofError::PrivateKey,
        ),
        ("private jwk", spoilt(&|header, _| header["jwk"]["d"] = json!("AA")), ProofError::PrivateKey),
        ("short coordinate", spoilt(&|header, _| header["jwk"]["x"] = json!("AA")), ProofError::Key),
        ("other curve", spoilt(&|header, _| header["jwk"]["crv"] = json!("P-384")), ProofError::Key),
        ("wrong key", other_signature.clone(), ProofError::OtherKey),
        ("no signature", unsigned, ProofError::Signature),
        ("another's signature", transplanted, ProofError::Signature),
        ("wrong htm", spoilt(&|_, claims| claims["htm"] = json!("GET")), ProofError::Method),
        (
            "wrong htu",
            spoilt(&|_, claims| claims["htu"] = json!("bursar:tenants/t/connections/other")),
            ProofError::Uri,
        ),
        (
            "htu of an API",
            spoilt(&|_, claims| claims["htu"] = json!("https://api.example/x")),
            ProofError::Uri,
        ),
        ("no htu", spoilt(&|_, claims| drop(claims.as_object_mut().unwrap().remove("htu"))), ProofError::Uri),
        ("stale", iat(-61), ProofError::Stale),
        ("from the future", iat(61), ProofError::Stale),
        ("iat as text", spoilt(&|_, claims| claims["iat"] = json!("now")), ProofError::Stale),
        ("no jti", spoilt(&|_, claims| drop(claims.as_object_mut().unwrap().remove("jti"))), ProofError::Id),
        ("long jti", spoilt(&|_, claims| claims["jti"] = json!("j".repeat(JTI_MAX + 1))), ProofError::Id),
    ];
    for (what, proof, want) in cases {
        assert_eq!(check(&proof, &rig.wanted()), Err(want), "{what}");
    }
    for seconds in [-60, 60] {
        assert!(check(&iat(seconds), &rig.wanted()).is_ok(), "{seconds}");
    }
}

#[test]
fn a_proof_is_good_once() {
    let rig = Rig::new();
    let (shown, proof) = (Shown::default(), rig.proof(|_, _| ()));
    assert_eq!(shown.accept(&proof, &rig.wanted()), Ok(()));
    assert_eq!(shown.accept(&proof, &rig.wanted()), Err(ProofError::Replayed));
    let later = Wanted { at: NOW.plus(FRESH), ..rig.wanted() };
    assert_eq!(shown.accept(&proof, &later), Err(ProofError::Replayed));
    let another = rig.proof(|_, claims| claims["jti"] = json!("j2"));
    assert_eq!(shown.accept(&another, &rig.wanted()), Ok(()));
    let bad = rig.proof(|_, claims| {
        claims["jti"] = json!("j3");
        claims["htm"] = json!("GET");
    });
    assert_eq!(shown.accept(&bad, &rig.wanted()), Err(ProofError::Method));
    assert_eq!(shown.0.lock().len(), 2, "what is no proof is not remembered");
}
