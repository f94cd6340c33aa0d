//! Which tokens are refused, as a table; how keys come and go; what is asked of whom how often, in exact counts.

use super::{scene::*, *};
use crate::{
    access::ClientCertificate,
    audit::{
        Event,
        event::{Outcome, Reloaded},
    },
    domain::issuer::{Algorithm, Binding, TokenType},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};
use tokio::time::sleep;

#[expect(clippy::unnecessary_wraps, reason = "compared with what became of a token")]
fn told(refusal: Refusal) -> Option<String> {
    Some(refusal.to_string())
}

fn b64(text: impl AsRef<[u8]>) -> String {
    BASE64URL.encode(text)
}

#[tokio::test(start_paused = true)]
async fn a_good_token_names_its_caller() {
    let (rsa, ec) = (Signer::rsa("r"), Signer::p256("e"));
    let scene = Scene::new(&[&rsa, &ec], issuer()).await;
    for signer in [&rsa, &ec] {
        let caller =
            scene.call(&signer.token(&with("groups", json!(["Domain Users", "ops"])))).await.unwrap();
        assert_eq!(caller.id(), format!("oidc:cluster:{SUBJECT}"));
        assert_eq!(caller.transport(), Transport::Tls);
        assert_eq!(*caller.groups(), set(&["oidc:cluster:Domain Users", "oidc:cluster:ops"]));
    }
    // Whatever a token says of where its keys are, nobody looks there.
    let own = Signer::p256("e");
    for extra in [
        json!({ "jwk": own.jwk() }),
        json!({ "jku": "https://evil.test/keys", "x5u": "https://evil.test/crt", "x5c": ["MIIB"], "x5t": "x" }),
        json!({ "typ": "JWT" }),
        json!({ "typ": "application/at+jwt" }),
    ] {
        let mut header = ec.header();
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert_eq!(scene.refusal(&ec.of_header(&header)).await, None, "{header}");
        assert_eq!(scene.refusal(&own.of_header(&header)).await, told(Refusal::Signature), "{header}");
    }
    for claims in [
        with("aud", json!("other.test")),
        with("aud", json!(["a", AUDIENCE])),
        with("nbf", Value::Null),
        with("exp", json!(1_800_000_100.5)),
        with("exp", json!(NOW.as_secs() - 9)),
        with("iat", json!(NOW.as_secs() + 10)),
        with("groups", json!("ops")),
        with("groups", Value::Null),
    ] {
        assert_eq!(scene.refusal(&ec.token(&claims)).await, None, "{claims}");
    }
    assert_eq!(scene.published.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_signed_in_any_other_way_than_pinned_is_refused() {
    let all = [Signer::rsa("r"), Signer::p256("e"), Signer::p384("f"), Signer::ed25519("o")];
    let every: Vec<_> = all.iter().collect();
    for allowed in Algorithm::ALL {
        let scene = Scene::new(&every, Issuer { algorithms: [allowed].into(), ..issuer() }).await;
        for (signer, algorithm) in
            all.iter().flat_map(|signer| Algorithm::ALL.map(|algorithm| (signer, algorithm)))
        {
            let header = json!({ "alg": algorithm.word(), "kid": signer.kid });
            let rsa = algorithm.word().ends_with(['6', '4', '2']) && !algorithm.word().starts_with('E');
            let able = if signer.kid == "r" { rsa } else { signer.algorithm() == algorithm };
            let want = match (algorithm == allowed, able) {
                (true, true) => None,
                // The key of this id is of another kind.
                (true, false) => told(Refusal::UnknownKey),
                (false, _) => told(Refusal::Algorithm),
            };
            assert_eq!(scene.refusal(&signer.of_header(&header)).await, want, "{allowed} {header}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_algorithm_and_no_secret_will_do() {
    use aws_lc_rs::hmac;
    let rsa = Signer::rsa("r");
    let scene = Scene::new(&[&rsa], issuer()).await;
    let n = rsa.jwk()["n"].as_str().unwrap().to_owned();
    // The public key in every form that somebody may take for a secret.
    for secret in [
        n.clone().into_bytes(),
        BASE64URL.decode(&n).unwrap(),
        rsa.jwk().to_string().into_bytes(),
        Vec::new(),
    ] {
        for (alg, kind) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            let signed = format!(
                "{}.{}",
                b64(json!({ "alg": alg, "kid": "r" }).to_string()),
                b64(claims().to_string())
            );
            let tag = hmac::sign(&hmac::Key::new(kind, &secret), signed.as_bytes());
            let token = format!("{signed}.{}", b64(tag.as_ref()));
            assert_eq!(scene.refusal(&token).await, told(Refusal::Algorithm), "{alg}");
        }
    }
    let good = rsa.token(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let payload = signed.split_once('.').unwrap().1;
    for alg in ["none", "None", "NONE", "nOnE", "rs256", "RS256 ", "", "ES256K", "RS1", "HS256", "dir"] {
        let header = b64(json!({ "alg": alg, "kid": "r" }).to_string());
        assert_eq!(
            scene.refusal(&format!("{header}.{payload}.{signature}")).await,
            told(Refusal::Algorithm),
            "{alg}"
        );
        assert_eq!(scene.refusal(&format!("{header}.{payload}.")).await, told(Refusal::Algorithm), "{alg}");
    }
    let other = Signer::p256("r");
    assert_eq!(
        scene.refusal(&other.token(&claims())).await,
        told(Refusal::UnknownKey),
        "a key of another kind"
    );
    assert_eq!(scene.bearers.signatures(), 0, "none of it was worth a look at a key");
    // One bit of each part.
    for at in [3, signed.len() - 3, good.len() - 8] {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(scene.refusal(&String::from_utf8(bytes).unwrap()).await.is_some(), "{at}");
    }
    assert_eq!(scene.refusal(&good).await, None);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn what_is_no_plain_signed_jwt_is_refused() {
    let ec = Signer::p256("e");
    let scene = Scene::new(&[&ec], issuer()).await;
    let good = ec.token(&claims());
    let parts: Vec<_> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    let (all, of) = (claims().to_string(), ec.header());
    let header_with = |name: &str, value: Value| {
        let mut header = of.clone();
        header[name] = value;
        ec.of_header(&header)
    };
    let twice_header = ec.sign(r#"{"alg":"ES256","kid":"e","alg":"ES256"}"#, &all);
    let twice = all.replacen('{', &format!("{{\"sub\":\"{SUBJECT}\","), 1);
    let deep = with("x", json!({ "a": { "b": 1 } })).to_string().replacen("\"b\":1", "\"b\":1,\"b\":2", 1);
    let unreadable = with("x", json!(0)).to_string().replacen(
        "\"x\":0",
        &format!("\"x\":{}0{}", "[".repeat(200), "]".repeat(200)),
        1,
    );
    let large = ec.token(&with("x", json!("x".repeat(TOKEN_MAX))));
    let nested = ec.sign(&json!({ "alg": "ES256", "kid": "e", "cty": "JWT" }).to_string(), &good);
    let malformed = [
        String::new(),
        "opaque".into(),
        "..".into(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}..{signature}"),
        format!("{good}="),
        format!("{good} "),
        format!("{good}\n"),
        format!("{header}==.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}!"),
        format!("{}.{payload}.{signature}", header.replace('e', "+")),
        format!("{header}.{}.{signature}", b64("[]")),
        format!("{header}.{}.{signature}", b64("\"x\"")),
        format!("{header}.{}.{signature}", b64(format!("{all}x"))),
        format!("{header}.{}.{signature}", b64(&all[..all.len() - 1])),
        format!("{header}.{}.{signature}", b64([0xff_u8, 0xfe])),
        format!("{}.{payload}.{signature}", b64("null")),
        ec.sign(r#"{"kid":"e"}"#, &all),
        ec.sign(r#"{"alg":1,"kid":"e"}"#, &all),
        ec.sign(r#"{"alg":["ES256"],"kid":"e"}"#, &all),
        ec.sign(r#"{"alg":null,"kid":"e"}"#, &all),
        twice_header,
        ec.sign(&of.to_string(), &twice),
        ec.sign(&of.to_string(), &deep),
        ec.sign(&of.to_string(), &unreadable),
        header_with("kid", json!(1)),
        header_with("kid", json!("k".repeat(257))),
        header_with("typ", json!(["JWT"])),
        header_with("zip", json!("DEF")),
        header_with("enc", json!("A128GCM")),
    ];
    for token in malformed {
        assert_eq!(scene.refusal(&token).await, told(Refusal::Malformed), "{token}");
    }
    let others = [
        (large, Refusal::TooLarge),
        ("a".repeat(1 << 20), Refusal::TooLarge),
        (format!("{good}.{signature}.{signature}"), Refusal::Encrypted),
        ("....".into(), Refusal::Encrypted),
        (nested, Refusal::Nested),
        (header_with("cty", json!("JWT")), Refusal::Nested),
        (header_with("crit", json!(["exp"])), Refusal::Critical),
        (header_with("crit", json!([])), Refusal::Critical),
        (header_with("crit", json!(null)), Refusal::Critical),
        (header_with("b64", json!(false)), Refusal::Critical),
        (header_with("typ", json!("dpop+jwt")), Refusal::Type),
        (header_with("typ", json!("logout+jwt")), Refusal::Type),
        (header_with("typ", json!("")), Refusal::Type),
    ];
    for (token, want) in others {
        assert_eq!(scene.refusal(&token).await, told(want), "{}", &token[..token.len().min(99)]);
    }
    assert_eq!(scene.bearers.signatures(), 0);
    assert_eq!(scene.published.asked(), 1, "nobody was asked for a key");
    let strict = Scene::new(&[&ec], Issuer { token_type: TokenType::AccessToken, ..issuer() }).await;
    assert_eq!(strict.refusal(&good).await, told(Refusal::Type));
    assert_eq!(strict.refusal(&header_with("typ", json!("JWT"))).await, told(Refusal::Type));
    assert_eq!(strict.refusal(&header_with("typ", json!("at+jwt"))).await, None);
}

#[tokio::test(start_paused = true)]
async fn claims_that_do_not_fit_are_refused() {
    let (ec, now) = (Signer::p256("e"), NOW.as_secs());
    let scene =
        Scene::new(&[&ec], Issuer { subject_prefix: "system:serviceaccount:".into(), ..issuer() }).await;
    let at = |seconds: i64| json!(i64::try_from(now).unwrap() + seconds);
    let groups: Vec<_> = (0..257).map(|number| number.to_string()).collect();
    let many: Vec<_> = (0..65).map(|_| AUDIENCE).collect();
    let cases = [
        ("iss", json!("https://other.test"), Refusal::Issuer),
        ("iss", json!("https://issuer.test/"), Refusal::Issuer),
        ("iss", json!("HTTPS://issuer.test"), Refusal::Issuer),
        ("iss", json!([ISSUER]), Refusal::Claim("iss")),
        ("iss", Value::Null, Refusal::Claim("iss")),
        ("aud", json!("else"), Refusal::Audience),
        ("aud", json!(["else", "bursar.test.evil"]), Refusal::Audience),
        ("aud", json!([]), Refusal::Audience),
        ("aud", json!(""), Refusal::Audience),
        ("aud", json!({ "bursar.test": 1 }), Refusal::Claim("aud")),
        ("aud", json!([AUDIENCE, 1]), Refusal::Claim("aud")),
        ("aud", json!(many), Refusal::Claim("aud")),
        ("aud", Value::Null, Refusal::Claim("aud")),
        ("exp", at(-10), Refusal::Expired),
        ("exp", at(-86_400), Refusal::Expired),
        ("exp", json!(0), Refusal::Expired),
        ("exp", Value::Null, Refusal::Claim("exp")),
        ("exp", json!((now + 60).to_string()), Refusal::Claim("exp")),
        ("exp", json!(-1), Refusal::Claim("exp")),
        ("exp", json!(1e300), Refusal::Claim("exp")),
        ("exp", json!(true), Refusal::Claim("exp")),
        ("exp", at(86_401), Refusal::Lifetime),
        ("nbf", at(11), Refusal::NotYet),
        ("nbf", json!("0"), Refusal::Claim("nbf")),
        ("iat", at(11), Refusal::NotYet),
        ("iat", Value::Null, Refusal::Claim("iat")),
        ("iat", at(-90_000), Refusal::Lifetime),
        ("sub", Value::Null, Refusal::Claim("sub")),
        ("sub", json!(""), Refusal::Claim("sub")),
        ("sub", json!(7), Refusal::Claim("sub")),
        ("sub", json!("system:node:x"), Refusal::Subject),
        ("sub", json!("system:serviceaccount:a b"), Refusal::Subject),
        ("sub", json!("system:serviceaccount:ä"), Refusal::Subject),
        ("sub", json!("system:serviceaccount:\""), Refusal::Subject),
        ("sub", json!(format!("system:serviceaccount:{}", "x".repeat(1024))), Refusal::Subject),
        ("groups", json!(groups), Refusal::Groups),
        ("groups", json!([1]), Refusal::Groups),
        ("groups", json!({ "a": 1 }), Refusal::Groups),
        ("groups", json!([""]), Refusal::Groups),
        ("groups", json!(["a\n"]), Refusal::Groups),
        ("groups", json!(["x".repeat(257)]), Refusal::Groups),
        ("cnf", json!({ "jkt": "x" }), Refusal::Confirmation),
        ("cnf", json!({}), Refusal::Confirmation),
        ("cnf", json!("x"), Refusal::Confirmation),
        ("cnf", json!({ "x5t#S256": "short" }), Refusal::Confirmation),
        ("cnf", json!({ "x5t#S256": b64([7_u8; 32]), "jkt": "x" }), Refusal::Confirmation),
    ];
    for (name, value, want) in cases {
        let refused = scene.refusal(&ec.token(&with(name, value.clone()))).await;
        assert_eq!(refused, told(want), "{name} {value}");
        let repeated = value.as_str().filter(|value| value.len() > 4);
        assert!(repeated.is_none_or(|value| !refused.unwrap().contains(value)), "{name} is repeated");
    }
    assert_eq!(scene.bearers.signatures(), 0);
    assert_eq!(scene.refusal(&ec.token(&claims())).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_when_it_says_so_however_lately_it_was_verified() {
    let ec = Signer::p256("e");
    let scene = Scene::new(&[&ec], issuer()).await;
    let token = ec.token(&with("exp", json!(NOW.as_secs() + 20)));
    // What its bearer opens ends with it, too.
    let end = Instant::now() + Duration::from_secs(20) + issuer().leeway;
    let caller = scene.call_over(&Peer::Tls(None), &token, AuditClass::Read).await.unwrap();
    assert_eq!(caller.proof_ends(), Some(end));
    assert_eq!(scene.refusal(&token).await, None);
    sleep(Duration::from_millis(29_900)).await;
    assert_eq!(scene.refusal(&token).await, None, "within the leeway");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(scene.refusal(&token).await, told(Refusal::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_verified_token_is_not_looked_at_again_for_a_minute_and_a_refused_one_is() {
    let (ec, other) = (Signer::p256("e"), Signer::p256("e"));
    let scene = Scene::new(&[&ec], issuer()).await;
    let (one, two) = (ec.token(&claims()), ec.token(&with("jti", json!("other"))));
    for _ in 0..1000 {
        assert_eq!(scene.refusal(&one).await, None);
    }
    assert_eq!(scene.bearers.signatures(), 1);
    assert_eq!(scene.refusal(&two).await, None);
    assert_eq!(scene.bearers.signatures(), 2);
    // How it comes in is part of who the caller is.
    let unix = Peer::Unix { uid: 1, gid: 1 };
    let caller = scene.call_over(&unix, &one, AuditClass::Read).await.unwrap();
    assert_eq!(
        (caller.transport(), caller.id()),
        (Transport::Unix, "oidc:cluster:system:serviceaccount:shop:web")
    );
    assert_eq!(scene.bearers.signatures(), 3);
    sleep(Duration::from_secs(59)).await;
    assert_eq!(scene.refusal(&one).await, None);
    assert_eq!(scene.bearers.signatures(), 3);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.refusal(&one).await, None);
    assert_eq!(scene.bearers.signatures(), 4);
    for count in 5..8 {
        assert_eq!(scene.refusal(&other.token(&claims())).await, told(Refusal::Signature));
        assert_eq!(scene.bearers.signatures(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_taken_at_once_and_a_removed_one_is_refused_with_all_that_it_signed() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let scene = Scene::new(&[&old], issuer()).await;
    let (before, after) = (old.token(&claims()), new.token(&claims()));
    assert_eq!(scene.refusal(&before).await, None);
    scene.published.say(&[&old, &new]);
    assert_eq!(scene.refusal(&after).await, None);
    assert_eq!(scene.published.asked(), 2);
    assert_eq!(scene.refusal(&before).await, None);
    scene.published.say(&[&new]);
    assert_eq!(scene.refusal(&before).await, None, "nobody has said so yet");
    sleep(Duration::from_secs(301)).await;
    assert_eq!(scene.published.asked(), 3, "by the schedule");
    assert_eq!(scene.refusal(&before).await, told(Refusal::UnknownKey));
    assert_eq!(scene.refusal(&after).await, None);
    let done = Event::Reload { what: Reloaded::Jwks, outcome: Outcome::Done };
    assert_eq!(scene.reloads(), [done.clone(), done]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_asks_the_issuer_once_an_interval() {
    let (ec, stranger, new) = (Signer::p256("e"), Signer::p256("x"), Signer::p256("new"));
    let scene = Scene::new(&[&ec], issuer()).await;
    *scene.published.takes.lock() = Duration::from_millis(500);
    let flood = stranger.token(&claims());
    // Of a thousand at once some wait for the one answer, and the others are told to come again.
    let refusals = join_all((0..1000).map(|_| scene.refusal(&flood))).await;
    let waited = refusals.iter().filter(|refused| **refused == told(Refusal::UnknownKey)).count();
    assert_eq!(waited, keeper::WAITING_MAX);
    let others = refusals.iter().flatten().filter(|refused| refused.starts_with("unavailable: "));
    assert_eq!(others.count(), 1000 - waited);
    assert_eq!(scene.published.asked(), 2);
    for _ in 0..90 {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(scene.refusal(&flood).await, told(Refusal::UnknownKey));
    }
    assert_eq!(scene.published.asked(), 2, "9.5 s after it was asked");
    scene.published.say(&[&ec, &new]);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.refusal(&flood).await, told(Refusal::UnknownKey));
    assert_eq!(scene.published.asked(), 3);
    // What the flood was answered with serves those who are honest.
    assert_eq!(scene.refusal(&new.token(&claims())).await, None);
    assert_eq!(scene.published.asked(), 3);
    for _ in 0..600 {
        sleep(Duration::from_millis(100)).await;
        let _ = scene.refusal(&flood).await;
    }
    assert_eq!(scene.published.asked(), 9, "in a minute, once every ten seconds");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_had_begun_before_the_key_was_there_is_followed_by_another() {
    let (ec, new) = (Signer::p256("e"), Signer::p256("new"));
    let scene = Scene::new(&[&ec], issuer()).await;
    *scene.published.takes.lock() = Duration::from_secs(2);
    // The schedule has begun to ask; the answer is still without the new key.
    sleep(Duration::from_millis(300_500)).await;
    assert_eq!(scene.published.asked(), 2);
    let token = new.token(&claims());
    let call = scene.refusal(&token);
    let publish = async {
        sleep(Duration::from_millis(1_600)).await;
        scene.published.say(&[&ec, &new]);
    };
    let (refused, ()) = tokio::join!(call, publish);
    assert_eq!((refused, scene.published.asked()), (None, 3));
}

#[tokio::test(start_paused = true)]
async fn whoever_hangs_up_does_not_take_the_fetch_with_it() {
    let (ec, new) = (Signer::p256("e"), Signer::p256("new"));
    let scene = Scene::new(&[&ec], issuer()).await;
    scene.published.say(&[&ec, &new]);
    *scene.published.takes.lock() = Duration::from_secs(2);
    let token = new.token(&claims());
    assert!(timeout(Duration::from_secs(1), scene.call(&token)).await.is_err());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.refusal(&token).await, None);
    assert_eq!(scene.published.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn old_keys_serve_while_the_issuer_is_away_and_not_for_ever() {
    let ec = Signer::p256("e");
    let scene = Scene::new(&[&ec], issuer()).await;
    let fresh = |secs: u64| ec.token(&with("exp", json!(NOW.as_secs() + secs)));
    let (early, late) = (fresh(3600), fresh(20_000));
    *scene.published.answer.lock() = None;
    sleep(Duration::from_secs(3500)).await;
    assert_eq!(scene.refusal(&early).await, None);
    sleep(Duration::from_secs(101)).await;
    let refused = scene.refusal(&late).await.unwrap();
    assert!(refused.starts_with("unavailable: the keys of the token's issuer cannot be had"), "{refused}");
    // It is back: the first call that needs it brings the keys.
    scene.published.say(&[&ec]);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(scene.refusal(&late).await, None);
    assert_eq!(scene.reloads(), [], "the keys are the same");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_key_set_leaves_the_old_in_use_and_is_on_record_once() {
    let ec = Signer::p256("e");
    let scene = Scene::new(&[&ec], issuer()).await;
    *scene.published.answer.lock() = Some(r#"{"keys":[]}"#.to_owned());
    sleep(Duration::from_secs(1000)).await;
    assert_eq!(scene.refusal(&ec.token(&claims())).await, None);
    assert_eq!(scene.reloads(), [Event::Reload { what: Reloaded::Jwks, outcome: Outcome::Refused }]);
    assert!(scene.published.asked() > 5, "it is asked again sooner");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_at_the_start_is_waited_for_by_those_who_need_it() {
    let ec = Signer::p256("e");
    let scene = Scene::unprepared(None);
    scene.bearers.replace(vec![issuer()]).await.unwrap();
    let token = ec.token(&claims());
    let refused = scene.call(&token).await.unwrap_err();
    let Unauthenticated::Unavailable { word: "issuer_away", retry_in, .. } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(retry_in, RETRY);
    // Those who bring nothing of that issuer's are told so all the same.
    assert_eq!(scene.refusal("opaque").await, told(Refusal::Malformed));
    scene.published.say(&[&ec]);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(scene.refusal(&token).await, None);
}

#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_told_apart_verify_nothing() {
    let (one, two, other) = (Signer::p256("same"), Signer::p256("same"), Signer::rsa("same"));
    let scene = Scene::new(&[&one, &two, &other], issuer()).await;
    for signer in [&one, &two] {
        assert_eq!(scene.refusal(&signer.token(&claims())).await, told(Refusal::AmbiguousKey));
    }
    assert_eq!(scene.refusal(&other.token(&claims())).await, None, "the only one of its kind");
    let nameless = json!({ "alg": "ES256" });
    assert_eq!(scene.refusal(&one.of_header(&nameless)).await, told(Refusal::AmbiguousKey));
    let alone = Scene::new(&[&one, &other], issuer()).await;
    assert_eq!(alone.refusal(&one.of_header(&nameless)).await, None);
    assert_eq!(alone.refusal(&one.of_header(&json!({ "alg": "ES256", "kid": "" }))).await, None);
    assert_eq!(
        alone.refusal(&one.of_header(&json!({ "alg": "ES256", "kid": "else" }))).await,
        told(Refusal::UnknownKey)
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_bound_to_a_certificate_is_good_on_its_connections_alone() {
    let ec = Signer::p256("e");
    let scene = Scene::new(&[&ec], issuer()).await;
    let shows = |thumbprint: u8| {
        let identity = Identity::Spiffe("spiffe://example.org/sidecar".into());
        Peer::Tls(Some(ClientCertificate { identity, thumbprint: [thumbprint; 32] }))
    };
    let bound = ec.token(&with("cnf", json!({ "x5t#S256": b64([7_u8; 32]) })));
    let free = ec.token(&claims());
    let refusal = async |scene: &Scene, peer: &Peer, token: &str| {
        scene.call_over(peer, token, AuditClass::Read).await.err().map(|refused| refused.to_string())
    };
    let other = told(Refusal::OtherCertificate);
    assert_eq!(refusal(&scene, &shows(7), &bound).await, None);
    assert_eq!(refusal(&scene, &shows(8), &bound).await, other, "also when it was verified before");
    assert_eq!(refusal(&scene, &Peer::Tls(None), &bound).await, other);
    assert_eq!(refusal(&scene, &Peer::Unix { uid: 0, gid: 0 }, &bound).await, other);
    // The token names the caller, whoever has made the connection.
    let caller = scene.call_over(&shows(8), &free, AuditClass::Read).await.unwrap();
    assert_eq!(
        (caller.id(), caller.transport()),
        (format!("oidc:cluster:{SUBJECT}").as_str(), Transport::Mtls)
    );
    let strict = Scene::new(&[&ec], Issuer { binding: Binding::Required, ..issuer() }).await;
    assert_eq!(refusal(&strict, &shows(7), &free).await, told(Refusal::Unbound));
    assert_eq!(refusal(&strict, &shows(7), &bound).await, None);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_a_connection_speaks_for_itself_and_in_plain_text_no_token_is_taken() {
    let ec = Signer::p256("e");
    let scene = Scene::new(&[&ec], issuer()).await;
    let bare = async |peer: &Peer| scene.bearers.authenticate(peer, None, AuditClass::Change).await;
    assert_eq!(bare(&Peer::Unix { uid: 7, gid: 1 }).await.unwrap().id(), "unix:7");
    let refused = bare(&Peer::Tls(None)).await.unwrap_err();
    assert_eq!(refused, Unauthenticated::no_credential("bring a token, or a client certificate"));
    let refused = scene.call_over(&Peer::Loopback, &ec.token(&claims()), AuditClass::Read).await.unwrap_err();
    assert!(matches!(refused, Unauthenticated::Refused { word: "token_in_plain_text", .. }), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn issuers_are_replaced_without_asking_again_for_keys_that_are_known() {
    let (ec, filed) = (Signer::p256("e"), Signer::p256("f"));
    let scene = Scene::new(&[&ec], issuer()).await;
    let token = ec.token(&claims());
    assert_eq!(scene.refusal(&token).await, None);
    let narrower = Issuer { audiences: set(&["other.test"]), ..issuer() };
    assert_eq!(scene.bearers.replace(vec![narrower.clone()]).await, Ok(Replaced::Issuers));
    assert_eq!(scene.refusal(&token).await, told(Refusal::Audience), "verified tokens are judged anew");
    assert_eq!(scene.published.asked(), 1);
    // Another one, with keys in a file; then only those change.
    let with_file = |text: String| Issuer {
        name: "filed".parse().unwrap(),
        issuer: "https://filed.test".into(),
        keys: KeySource::Text(text),
        ..issuer()
    };
    let both = |text: String| vec![issuer(), with_file(text)];
    assert_eq!(scene.bearers.replace(both(jwks(&[&ec]))).await, Ok(Replaced::Issuers));
    let of_file = filed.token(&with("iss", json!("https://filed.test")));
    assert_eq!(scene.refusal(&of_file).await, told(Refusal::UnknownKey));
    assert_eq!(scene.bearers.replace(both(jwks(&[&filed]))).await, Ok(Replaced::Keys));
    assert_eq!(scene.refusal(&of_file).await, None);
    let unusable = scene.bearers.replace(both("{}".into())).await.unwrap_err();
    assert!(unusable.to_string().starts_with("issuer filed: jwks_file holds no key set"), "{unusable}");
    assert_eq!((scene.refusal(&of_file).await, scene.refusal(&token).await), (None, None));
    assert_eq!(scene.bearers.replace(vec![issuer()]).await, Ok(Replaced::Issuers));
    assert_eq!(scene.refusal(&of_file).await, told(Refusal::Issuer));
    assert_eq!(scene.published.asked(), 1);
    scene.stop.cancel();
    scene.tasks.close();
    scene.tasks.wait().await;
}
