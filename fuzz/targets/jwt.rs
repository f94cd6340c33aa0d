//! A token of a caller as somebody made it, and a key set as some server wrote it: no token is good without the key, no
//! refusal repeats what a token says, and no key set holds a secret.
#![no_main]

use bursar::{
    bearer::{KeySet, fuzzing::verified},
    clock::Timestamp,
    domain::issuer::{Algorithm, Binding, Issuer, KeySource, TokenType},
};
use libfuzzer_sys::fuzz_target;
use std::{sync::LazyLock, time::Duration};

/// Of RFC 7515 appendix A.3 and RFC 8037 appendix A.2. That their private halves are printed there is no matter: the seeds
/// have no token that is signed with them.
const KEYS: &str = r#"{"keys":[
    {"kty":"EC","crv":"P-256","kid":"e","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    {"kty":"OKP","crv":"Ed25519","kid":"o","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

static SET: LazyLock<KeySet> = LazyLock::new(|| KeySet::parse(KEYS.as_bytes()).expect("a key set"));

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| Issuer {
    name: "fuzz".parse().expect("a label"),
    issuer: "https://issuer.test".into(),
    audiences: ["bursar".to_owned()].into(),
    algorithms: Algorithm::ALL.into(),
    keys: KeySource::Text(KEYS.into()),
    leeway: Duration::from_secs(10),
    max_lifetime: Duration::from_secs(86_400),
    token_type: TokenType::Jwt,
    subject_prefix: String::new(),
    groups_claim: Some("groups".into()),
    binding: Binding::IfPresent,
});

fuzz_target!(|text: &str| {
    let refusal = verified(text, &ISSUER, &SET, Timestamp(1_800_000_000_000)).expect_err("nobody here has a key");
    let shown = refusal.to_string();
    // Shorter ones are words of the language as well.
    let encoded = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let mut words = text.split('.').filter(|word| word.len() >= 16 && word.bytes().all(encoded));
    assert!(!words.any(|word| shown.contains(word)), "{shown}");
    if let Ok(set) = KeySet::parse(text.as_bytes()) {
        assert!((1..=100).contains(&set.count()));
        // It is only parsed here: whatever is in there, a token that names none of it is refused.
        assert!(verified("e30.e30.AA", &ISSUER, &set, Timestamp(0)).is_err());
    }
});
