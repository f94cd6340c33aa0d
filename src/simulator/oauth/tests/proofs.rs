//! What is signed: clients that assert who they are, assertions as grants, exchanged tokens, proofs of possession.

use super::*;
use crate::simulator::signing::foreign::thumbprint;
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use std::time::Duration;

const ISSUER: &str = "http://as.test";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

struct Signer {
    pair: EcdsaKeyPair,
    jwk: Value,
}

impl Signer {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let (x, y) = (BASE64URL.encode(&point[1..33]), BASE64URL.encode(&point[33..]));
        Self { pair, jwk: json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}) }
    }

    fn jwks(&self) -> Value {
        json!({"keys": [self.jwk]})
    }

    fn sign(&self, mut header: Value, claims: &Value) -> String {
        header["alg"] = "ES256".into();
        let input =
            format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", BASE64URL.encode(signature.as_ref()))
    }

    /// For `POST /token` at this moment; members given replace its own.
    fn proof(&self, jti: &str, change: &Value) -> String {
        let mut claims =
            json!({"htm": "POST", "htu": format!("{ISSUER}/token"), "iat": NOW.as_secs(), "jti": jti});
        lay_over(&mut claims, change);
        self.sign(json!({"typ": "dpop+jwt", "jwk": self.jwk}), &claims)
    }
}

fn lay_over(claims: &mut Value, change: &Value) {
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
}

fn assertion(client: &str, jti: &str) -> Value {
    json!({"iss": client, "sub": client, "aud": ISSUER, "exp": NOW.as_secs() + 60, "jti": jti})
}

fn with_assertion(jwt: &str) -> Request {
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let form =
        [("grant_type", "client_credentials"), ("client_assertion_type", kind), ("client_assertion", jwt)];
    request("/token", &form)
}

fn with_proof(mut request: Request, proof: &str) -> Request {
    request.headers.insert("dpop", HeaderValue::from_str(proof).unwrap());
    request
}

fn error(answer: &Answer) -> String {
    if answer.status == 200 { String::new() } else { text(&body(answer)["error"]) }
}

#[test]
fn a_client_asserts_who_it_is_with_a_key_or_a_secret_and_never_twice() {
    let (mut bench, signer) = (bench(), Signer::new());
    let of = |id: &str, authentication, jwks| NewClient {
        id: Some(id.to_owned()),
        authentication,
        jwks,
        ..NewClient::default()
    };
    bench.world.put_client(of("keyed", Authentication::PrivateKeyJwt, Some(signer.jwks()))).unwrap();
    let shared = bench.world.put_client(of("shared", Authentication::ClientSecretJwt, None)).unwrap();
    let sign = |claims: &Value| signer.sign(json!({}), claims);
    let good = sign(&assertion("keyed", "1"));
    assert_eq!(error(&bench.answer(&with_assertion(&good))), "");
    assert_eq!(error(&bench.answer(&with_assertion(&good))), "invalid_client", "replayed");
    let changed = |change: &Value| {
        let mut claims = assertion("keyed", "2");
        lay_over(&mut claims, change);
        sign(&claims)
    };
    let bad = [
        changed(&json!({"aud": "http://as.test/token"})),
        changed(&json!({"aud": [ISSUER, "http://other.test"]})),
        changed(&json!({"exp": NOW.as_secs()})),
        changed(&json!({"exp": NOW.as_secs() + 3600})),
        changed(&json!({"jti": null})),
        changed(&json!({"iss": "shared", "sub": "shared"})),
        Signer::new().sign(json!({}), &assertion("keyed", "2")),
    ];
    for (at, jwt) in bad.iter().enumerate() {
        assert_eq!(error(&bench.answer(&with_assertion(jwt))), "invalid_client", "case {at}");
    }
    assert_eq!(error(&bench.answer(&with_assertion(&changed(&json!({"sub": "other"}))))), "invalid_request");
    assert_eq!(error(&bench.answer(&with_assertion(&changed(&json!({}))))), "", "the claims were the fault");

    let input = [json!({"alg": "HS256"}), assertion("shared", "3")]
        .map(|part| BASE64URL.encode(part.to_string()))
        .join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, shared.secrets[0].as_bytes());
    let jwt = format!("{input}.{}", BASE64URL.encode(hmac::sign(&key, input.as_bytes()).as_ref()));
    assert_eq!(error(&bench.answer(&with_assertion(&jwt))), "");
    let ways: Vec<_> =
        bench.world.basics.journal().events().map(|event| event.auth.clone().unwrap()).collect();
    assert_eq!((ways[0].as_str(), ways.last().unwrap().as_str()), ("private_key_jwt", "client_secret_jwt"));
}

#[test]
fn an_assertion_of_a_trusted_issuer_is_a_grant() {
    let (mut bench, signer) = (bench(), Signer::new());
    bench.world.trusted.insert("https://idp.test".to_owned(), signer.jwks());
    let ask = |bench: &mut Bench, claims: &Value| {
        let jwt = signer.sign(json!({}), claims);
        bench.ask("/token", &[("grant_type", JWT_BEARER), ("assertion", &jwt)])
    };
    let claims = |jti: &str, issuer: &str| json!({"iss": issuer, "sub": "Wanda", "aud": ISSUER, "exp": NOW.as_secs() + 60, "jti": jti});
    let answer = ask(&mut bench, &claims("1", "https://idp.test"));
    assert!(body(&answer)["refresh_token"].is_null());
    let token = text(&body(&answer)["access_token"]);
    assert_eq!(bench.world.basics.key(SITE).unwrap().verify(&token).unwrap()["sub"], "wanda");
    assert_eq!(error(&ask(&mut bench, &claims("1", "https://idp.test"))), "invalid_grant");
    assert_eq!(error(&ask(&mut bench, &claims("2", "https://stranger.test"))), "invalid_grant");
}

#[test]
fn a_token_is_exchanged_for_one_with_fewer_rights_and_an_actor() {
    let mut bench = bench();
    let subject = text(&body(&bench.ask("/token", &[("grant_type", "client_credentials")]))["access_token"]);
    let ask = |bench: &mut Bench, members: &[(&str, &str)]| {
        let good = [
            ("grant_type", EXCHANGE),
            ("subject_token", subject.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        bench.ask("/token", &[&good[..], members].concat())
    };
    let more = [
        ("scope", "read"),
        ("audience", "billing"),
        ("actor_token", &subject),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    let members = body(&ask(&mut bench, &more));
    assert_eq!(members["issued_token_type"], ACCESS_TOKEN);
    let claims = bench.world.basics.key(SITE).unwrap().verify(&text(&members["access_token"])).unwrap();
    assert_eq!((&claims["aud"], &claims["scope"]), (&json!("billing"), &json!("read")));
    assert_eq!(claims["act"]["sub"], "my client");
    assert_eq!(error(&ask(&mut bench, &[("scope", "admin")])), "invalid_scope");
    assert_eq!(error(&ask(&mut bench, &[("requested_token_type", "urn:x")])), "invalid_request");
    bench.now = bench.now.plus(Duration::from_secs(3600));
    assert_eq!(error(&ask(&mut bench, &[])), "invalid_request", "expired");
}

#[test]
fn introspection_and_revocation_know_both_kinds_of_token() {
    for form in ["jwt", "opaque"] {
        let mut bench = bench();
        bench.behave(&json!({"access_token": form}));
        let first = bench.refresh_token.clone();
        let members =
            body(&bench.ask("/token", &[("grant_type", "refresh_token"), ("refresh_token", &first)]));
        let (access, second) = (text(&members["access_token"]), text(&members["refresh_token"]));
        let active = |bench: &mut Bench, token: &str| {
            body(&bench.ask("/introspect", &[("token", token)]))["active"].clone()
        };
        assert_eq!(body(&bench.ask("/introspect", &[("token", &access)]))["sub"], "wanda");
        for (token, want) in [(&first, false), (&second, true), (&access, true), (&"x".to_owned(), false)] {
            assert_eq!(active(&mut bench, token), want, "{form}");
        }
        assert_eq!(bench.ask("/revoke", &[("token", &access)]).status, 200);
        assert_eq!((active(&mut bench, &access), active(&mut bench, &second)), (json!(false), json!(true)));
        assert_eq!(bench.ask("/revoke", &[("token", &second)]).status, 200);
        assert_eq!(active(&mut bench, &second), false);
        assert_eq!(bench.answer(&request("/introspect", &[("token", &access)])).status, 401);
    }
}

#[test]
fn a_proof_binds_the_tokens_and_is_good_once() {
    let (mut bench, signer) = (bench(), Signer::new());
    let public = NewClient {
        id: Some("public".to_owned()),
        authentication: Authentication::None,
        ..NewClient::default()
    };
    bench.world.put_client(public).unwrap();
    bench.world.users.insert("wanda".to_owned(), "pw".to_owned());
    let login = || {
        request(
            "/token",
            &[("client_id", "public"), ("grant_type", "password"), ("username", "wanda"), ("password", "pw")],
        )
    };
    let refresh = |token: &str| {
        request(
            "/token",
            &[("client_id", "public"), ("grant_type", "refresh_token"), ("refresh_token", token)],
        )
    };
    let proof = signer.proof("1", &json!({}));
    let members = body(&bench.answer(&with_proof(login(), &proof)));
    assert_eq!(members["token_type"], "DPoP");
    let claims = bench.world.basics.key(SITE).unwrap().verify(&text(&members["access_token"])).unwrap();
    assert_eq!(claims["cnf"]["jkt"].as_str(), thumbprint(&signer.jwk).as_deref());
    let bad = [
        proof,
        signer.proof("2", &json!({"htm": "GET"})),
        signer.proof("2", &json!({"htu": "http://as.test/other"})),
        signer.proof("2", &json!({"iat": NOW.as_secs() - 301})),
        signer.proof("2", &json!({"jti": null})),
        signer.sign(json!({"typ": "jwt", "jwk": signer.jwk}), &json!({})),
        "nonsense".to_owned(),
    ];
    for (at, proof) in bad.iter().enumerate() {
        assert_eq!(error(&bench.answer(&with_proof(login(), proof))), "invalid_dpop_proof", "case {at}");
    }
    let token = text(&members["refresh_token"]);
    assert_eq!(error(&bench.answer(&refresh(&token))), "invalid_grant");
    let other = Signer::new().proof("3", &json!({}));
    assert_eq!(error(&bench.answer(&with_proof(refresh(&token), &other))), "invalid_grant");
    assert_eq!(error(&bench.answer(&with_proof(refresh(&token), &signer.proof("4", &json!({}))))), "");
    let jkt = bench.world.basics.journal().events().last().unwrap().dpop_jkt.clone();
    assert_eq!(jkt, thumbprint(&signer.jwk));
}

#[test]
fn a_nonce_is_asked_for_renewed_and_in_one_case_never_good() {
    let (mut bench, signer) = (bench(), Signer::new());
    bench.behave(&json!({"dpop": {"nonce": "asked"}}));
    let ask = |bench: &mut Bench, jti: &str, nonce: &Value, iat: u64| {
        let proof = signer.proof(jti, &json!({"nonce": nonce, "iat": iat}));
        let form = basic(
            request("/token", &[("grant_type", "client_credentials")]),
            &encoded("my client"),
            &encoded(SECRET),
        );
        let answer = bench.answer(&with_proof(form, &proof));
        let nonce = answer.headers.iter().find(|(name, _)| *name == "dpop-nonce").unwrap().1.clone();
        (error(&answer), json!(nonce))
    };
    let at = NOW.as_secs();
    let (refused, nonce) = ask(&mut bench, "1", &json!(null), at);
    assert_eq!(refused, "use_dpop_nonce");
    assert_eq!(ask(&mut bench, "2", &nonce, at), (String::new(), nonce.clone()));
    bench.now = bench.now.plus(Duration::from_secs(300));
    let (refused, next) = ask(&mut bench, "3", &nonce, at + 300);
    assert!(refused == "use_dpop_nonce" && next != nonce);
    bench.behave(&json!({"dpop": {"nonce": "never_good"}}));
    let (refused, again) = ask(&mut bench, "4", &next, at + 300);
    assert_eq!(refused, "use_dpop_nonce");
    assert_eq!(ask(&mut bench, "5", &again, at + 300).0, "use_dpop_nonce");
}

#[test]
fn an_answer_may_be_hostile() {
    let mut bench = bench();
    bench.behave(&json!({"extra_scopes": ["admin"], "metadata_issuer": "https://other.test"}));
    let members = body(&bench.ask("/token", &[("grant_type", "client_credentials")]));
    assert_eq!(members["scope"], "read write admin");
    for path in super::super::metadata::PATHS {
        let mut asked = request(path, &[]);
        asked.method = Method::GET;
        assert_eq!(body(&bench.answer(&asked))["issuer"], "https://other.test");
    }
    let redirect = Trouble::Redirect { status: 307, location: "https://thief.test/".to_owned() };
    bench.world.basics.faults().push(Fault::once(redirect)).unwrap();
    let answer = bench.ask("/token", &[("grant_type", "client_credentials")]);
    assert!(answer.status == 307 && answer.headers.contains(&("location", "https://thief.test/".to_owned())));
}
