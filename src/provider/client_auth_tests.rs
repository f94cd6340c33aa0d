//! How each method makes a request its client's.

use super::*;
use crate::{
    domain::{profile::SigningAlg, token::ClientSecret},
    egress::TlsIdentity,
    provider::{certificates::self_signed, keys::SigningKey, rig},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use std::collections::{BTreeMap, HashSet};

const SECRET: &str = "s e+c/r%t, which is long enough for an HMAC";

fn shared() -> Proof {
    Proof::Shared(ClientSecret(Secret::new(SECRET)))
}

fn key() -> SigningKey {
    SigningKey::from_pem(&SigningKey::generate(SigningAlg::Es256).unwrap(), None, Some("kid-1")).unwrap()
}

fn certificate() -> TlsIdentity {
    let ((certificate, _), key) =
        self_signed("c", SigningAlg::Es256, Duration::from_hours(1), rig::NOW).unwrap();
    TlsIdentity::new(&certificate, &key)
}

fn profile(lines: &str) -> Profile {
    let top = "token_endpoint = \"http://127.0.0.1:9/token\"";
    rig::profile("generic-oauth2", &format!("{top}\n{lines}"))
}

fn form(outgoing: &Outgoing) -> BTreeMap<String, String> {
    let pairs: Vec<_> = form_urlencoded::parse(&outgoing.body).into_owned().collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "no parameter twice (RFC 6749 section 3.2)");
    map
}

fn request(path: &str) -> Outgoing {
    let url = Url::parse(&format!("http://127.0.0.1:9/{path}")).unwrap();
    let body = b"grant_type=x&client_id=other&client_secret=planted&a=1".to_vec();
    Outgoing { method: Method::POST, url, headers: HeaderMap::new(), body, presenting: None }
}

/// Written by the client `cli:ent` with one proof.
fn authenticated(profile: &Profile, auth: ClientAuth, proof: Option<Proof>) -> Result<Outgoing, NotSpoken> {
    let credential = proof.map(|proof| Credential { id: Uuid::from_u128(1), proof });
    let asking =
        Asking { client_id: "cli:ent", auth, credential: credential.as_ref(), profile, now: rig::NOW };
    let mut outgoing = request("par");
    asking.authenticate(&mut outgoing).map(|()| outgoing)
}

#[test]
fn each_method_says_who_asks_once_and_in_its_own_way() {
    let profile = profile("");
    let names = |outgoing: &Outgoing| form(outgoing).into_keys().collect::<Vec<_>>().join(" ");
    let basic = authenticated(&profile, ClientAuth::ClientSecretBasic, Some(shared())).unwrap();
    assert_eq!(names(&basic), "a grant_type");
    // §2.3.1: both halves are form-encoded before they are joined.
    let encoded = STANDARD.encode("cli%3Aent:s+e%2Bc%2Fr%25t%2C+which+is+long+enough+for+an+HMAC");
    assert_eq!(basic.headers["authorization"], format!("Basic {encoded}"));
    assert!(basic.headers["authorization"].is_sensitive());

    let post = authenticated(&profile, ClientAuth::ClientSecretPost, Some(shared())).unwrap();
    assert_eq!(names(&post), "a client_id client_secret grant_type");
    assert_eq!((&*form(&post)["client_id"], &*form(&post)["client_secret"]), ("cli:ent", SECRET));

    let public = authenticated(&profile, ClientAuth::None, None).unwrap();
    assert_eq!((names(&public), &*form(&public)["client_id"]), ("a client_id grant_type".into(), "cli:ent"));

    for auth in [ClientAuth::TlsClientAuth, ClientAuth::SelfSignedTlsClientAuth] {
        let tls = authenticated(&profile, auth, Some(Proof::Certificate(certificate()))).unwrap();
        assert_eq!((names(&tls), tls.presenting.is_some()), ("a client_id grant_type".into(), true));
    }
    for written in [&basic, &post, &public] {
        assert!(written.presenting.is_none());
    }
    for written in [&post, &public] {
        assert!(written.headers.get("authorization").is_none());
    }
}

#[test]
fn a_form_becomes_a_request_and_may_name_the_client_where_the_header_is_the_proof() {
    let profile = profile("");
    let client = rig::client(ClientAuth::ClientSecretBasic, &[SECRET]);
    let asking = tries(&profile, &client, rig::NOW).next().unwrap();
    let mut asked = Form::new();
    asked.put("client_id", "client-1").put("scope", "a b");
    let endpoint = profile.token_endpoint.clone().unwrap();
    let request = asking.request(&endpoint, asked).unwrap();
    assert_eq!((&request.method, &request.url), (&Method::POST, &endpoint));
    assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(request.headers["accept"], "application/json");
    assert_eq!(String::from_utf8(request.body).unwrap(), "client_id=client-1&scope=a+b");
}

#[test]
fn a_client_with_a_certificate_goes_to_the_addresses_for_such() {
    let profile = profile("");
    let (usual, alias) = (Url::parse("https://a.example").unwrap(), Url::parse("https://m.example").unwrap());
    for auth in ClientAuth::ALL {
        let asking =
            Asking { client_id: "c", auth: *auth, credential: None, profile: &profile, now: rig::NOW };
        let tls = matches!(auth, ClientAuth::TlsClientAuth | ClientAuth::SelfSignedTlsClientAuth);
        let want = if tls { &alias } else { &usual };
        assert_eq!(asking.endpoint(Some(&usual), Some(&alias)), Some(want), "{auth}");
        assert_eq!(asking.endpoint(Some(&usual), None), Some(&usual), "{auth}");
    }
}

#[test]
fn a_proof_that_does_not_fit_the_method_writes_no_request() {
    let profile = profile("");
    for auth in ClientAuth::ALL {
        let needs = auth.needs();
        let proofs = [None, Some(shared()), Some(Proof::Key(key())), Some(Proof::Certificate(certificate()))];
        for proof in proofs {
            let kind = proof.as_ref().map(|proof| match proof {
                Proof::Shared(_) => crate::domain::credential::SecretKind::SharedSecret,
                Proof::Key(_) => crate::domain::credential::SecretKind::PrivateKey,
                Proof::Certificate(_) => crate::domain::credential::SecretKind::Certificate,
            });
            assert_eq!(authenticated(&profile, *auth, proof).is_ok(), kind == needs, "{auth} {kind:?}");
        }
    }
}

fn claims_of(outgoing: &Outgoing, by: &DecodingKey, algorithm: Algorithm) -> serde_json::Value {
    let mut validation = Validation::new(algorithm);
    // Times are looked at below, by the clock of the test.
    validation.validate_exp = false;
    validation.validate_aud = false;
    decode::<serde_json::Value>(&form(outgoing)["client_assertion"], by, &validation).unwrap().claims
}

#[test]
fn an_assertion_is_for_the_issuer_for_a_minute_and_for_one_request() {
    let signing = key();
    let jwk = serde_json::from_value(signing.public_jwk()).unwrap();
    let by = DecodingKey::from_jwk(&jwk).unwrap();
    let credential = Credential { id: Uuid::from_u128(1), proof: Proof::Key(signing) };
    let issuers = [
        ("issuer = \"https://issuer.example/tenant\"", "https://issuer.example/tenant"),
        ("", "http://127.0.0.1:9/token"),
        (
            "issuer = \"https://issuer.example\"\nassertion_audience = \"token_endpoint\"",
            "http://127.0.0.1:9/token",
        ),
    ];
    let mut ids = HashSet::new();
    for (lines, audience) in issuers {
        let profile = profile(lines);
        let (auth, credential) = (ClientAuth::PrivateKeyJwt, Some(&credential));
        let asking = Asking { client_id: "cli:ent", auth, credential, profile: &profile, now: rig::NOW };
        for path in ["token", "par", "device", "revoke", "introspect"] {
            let mut outgoing = request(path);
            asking.authenticate(&mut outgoing).unwrap();
            let sent = form(&outgoing);
            assert_eq!((&*sent["client_id"], &*sent["client_assertion_type"]), ("cli:ent", ASSERTION_TYPE));
            assert!(!sent.contains_key("client_secret"));
            let claims = claims_of(&outgoing, &by, Algorithm::ES256);
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("cli:ent"), &json!("cli:ent")));
            assert_eq!(claims["aud"], audience, "the same wherever it goes");
            assert_eq!(claims["iat"], rig::NOW.as_secs());
            assert_eq!(claims["exp"], rig::NOW.as_secs() + 60);
            assert!(ids.insert(claims["jti"].as_str().unwrap().to_owned()), "signed anew each time");
        }
    }
    let hmac = authenticated(&profile(""), ClientAuth::ClientSecretJwt, Some(shared())).unwrap();
    let claims = claims_of(&hmac, &DecodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256);
    assert_eq!(claims["sub"], "cli:ent");
    assert!(!String::from_utf8(hmac.body).unwrap().contains("long+enough"), "the secret itself stays here");
}

#[test]
fn the_credentials_that_fit_are_tried_in_order_and_what_was_said_of_them_is_kept() {
    let proofs = vec![Proof::Key(key()), shared(), shared(), shared()];
    let client = rig::identity(ClientAuth::ClientSecretPost, proofs);
    let profile = profile("");
    let tried: Vec<_> = tries(&profile, &client, rig::NOW).collect();
    let ids: Vec<_> = tried.iter().map(|asking| asking.credential.unwrap().id.as_u128()).collect();
    assert_eq!(ids, [2, 3], "of the kind that the method needs, and no more than two");
    let refused: Result<(), _> = Err(crate::provider::line::local(Class::Client, ""));
    let down: Result<(), _> = Err(crate::provider::line::local(Class::Down, ""));
    assert_eq!(client.heard(&tried[0], &down), Next::Settled);
    assert_eq!(client.verdicts.all(), [], "a server that is down says nothing of a secret");
    assert_eq!(client.heard(&tried[0], &refused), Next::TryAnother);
    assert_eq!(client.heard(&tried[1], &Ok(())), Next::Settled);
    let said: Vec<_> = client.verdicts.all().iter().map(|v| (v.secret.as_u128(), v.said)).collect();
    assert_eq!(said, [(2, Said::Refused), (3, Said::Accepted)]);
    let public = rig::client(ClientAuth::None, &["s"]);
    assert_eq!(tries(&profile, &public, rig::NOW).count(), 1);
}
