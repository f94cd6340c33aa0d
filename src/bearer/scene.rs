//! An issuer for tests: keys of every kind, whatever token is asked of it, a server that is scripted and counted.

use super::*;
use crate::{
    access::Permit,
    audit::{Audit, AuditDown, Event, Leaving},
    clock::TokioClock,
    domain::{
        issuer::{Algorithm, Binding, KeyAddress, KeyServer, Route, TokenType},
        token::AccessToken,
    },
};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{LazyLock, atomic::AtomicUsize},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// When the tests are: 2027-01-15.
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(super) const ISSUER: &str = "https://issuer.test";
pub(super) const AUDIENCE: &str = "bursar.test";
pub(super) const SUBJECT: &str = "system:serviceaccount:shop:web";

/// Slow to make, so there is one for all tests.
static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

/// A key that tokens are signed with.
pub(super) struct Signer {
    pub(super) kid: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(&'static RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub(super) fn rsa(kid: &'static str) -> Self {
        Self { kid, pair: Pair::Rsa(&RSA) }
    }

    pub(super) fn p256(kid: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid, pair: Pair::Ec(pair, "P-256") }
    }

    pub(super) fn p384(kid: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self { kid, pair: Pair::Ec(pair, "P-384") }
    }

    pub(super) fn ed25519(kid: &'static str) -> Self {
        Self { kid, pair: Pair::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    /// The public half.
    pub(super) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64URL.encode(bytes);
        match &self.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let [n, e] = [public.modulus(), public.exponent()]
                    .map(|number| text(number.big_endian_without_leading_zero()));
                json!({ "kty": "RSA", "kid": self.kid, "use": "sig", "n": n, "e": e })
            }
            Pair::Ec(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": curve, "kid": self.kid, "x": text(x), "y": text(y) })
            }
            Pair::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": text(pair.public_key().as_ref()) })
            }
        }
    }

    /// What the key signs by itself.
    pub(super) fn algorithm(&self) -> Algorithm {
        match &self.pair {
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::Ec(_, "P-256") => Algorithm::Es256,
            Pair::Ec(..) => Algorithm::Es384,
            Pair::Ed(_) => Algorithm::EdDsa,
        }
    }

    fn signature(&self, algorithm: Algorithm, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &'static dyn signature::RsaEncoding = match algorithm {
                    Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
                    Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
                    Algorithm::Rs256 | Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => {
                        &signature::RSA_PKCS1_SHA256
                    }
                };
                let mut made = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, signed, &mut made).unwrap();
                made
            }
            Pair::Ec(pair, _) => pair.sign(&random, signed).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(signed).as_ref().to_vec(),
        }
    }

    /// A token with exactly this in it.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
        let algorithm = serde_json::from_str::<Value>(header)
            .ok()
            .and_then(|header| header["alg"].as_str()?.parse().ok());
        let made = self.signature(algorithm.unwrap_or(self.algorithm()), signed.as_bytes());
        format!("{signed}.{}", BASE64URL.encode(made))
    }

    pub(super) fn header(&self) -> Value {
        json!({ "alg": self.algorithm().word(), "kid": self.kid })
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    pub(super) fn of_header(&self, header: &Value) -> String {
        self.sign(&header.to_string(), &claims().to_string())
    }
}

/// As Kubernetes writes them, good for an hour.
pub(super) fn claims() -> Value {
    let now = NOW.as_secs();
    json!({
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "sub": SUBJECT,
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "jti": "c1d5",
        "kubernetes.io": { "namespace": "shop", "serviceaccount": { "name": "web", "uid": "u" } },
    })
}

/// The same with one claim changed; `null`: without it.
pub(super) fn with(name: &str, value: Value) -> Value {
    let mut all = claims();
    match value {
        Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
        value => all[name] = value,
    }
    all
}

pub(super) fn jwks(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

pub(super) fn issuer() -> Issuer {
    Issuer {
        name: "cluster".parse().unwrap(),
        issuer: ISSUER.to_owned(),
        audiences: [AUDIENCE.to_owned(), "other.test".to_owned()].into(),
        algorithms: [Algorithm::Rs256, Algorithm::Es256].into(),
        keys: KeySource::Server(Box::new(KeyServer {
            at: KeyAddress::Known("https://issuer.test/keys".parse().unwrap()),
            ca: None,
            credential: None,
            route: Route::Direct,
            refresh: Duration::from_secs(300),
            max_age: Duration::from_secs(3600),
        })),
        leeway: Duration::from_secs(10),
        max_lifetime: Duration::from_secs(86_400),
        token_type: TokenType::Jwt,
        subject_prefix: String::new(),
        groups_claim: Some("groups".to_owned()),
        binding: Binding::IfPresent,
    }
}

/// What an issuer's server says.
#[derive(Default)]
pub(super) struct Published {
    pub(super) answer: Mutex<Option<String>>,
    /// How long it takes to say it.
    pub(super) takes: Mutex<Duration>,
    pub(super) asked: AtomicUsize,
}

impl Published {
    pub(super) fn say(&self, signers: &[&Signer]) {
        *self.answer.lock() = Some(jwks(signers));
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Fetch for Published {
    async fn fetch(&self) -> Result<Vec<u8>, NotFetched> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let takes = *self.takes.lock();
        tokio::time::sleep(takes).await;
        let answer = self.answer.lock().clone();
        answer.map(String::into_bytes).ok_or_else(|| NotFetched("its server answered 503".to_owned()))
    }
}

#[derive(Default)]
pub(super) struct Heard(pub(super) Mutex<Vec<Event>>);

#[async_trait]
impl Audit for Heard {
    async fn release(&self, _: &Permit, _: &Leaving<'_>, _: &AccessToken) -> Result<(), AuditDown> {
        Ok(())
    }

    async fn record(&self, event: Event) -> Result<(), AuditDown> {
        self.0.lock().push(event);
        Ok(())
    }
}

/// Recognises callers by the tokens of one issuer, whose server is [`Published`].
pub(super) struct Scene {
    pub(super) bearers: Arc<Bearers>,
    pub(super) published: Arc<Published>,
    pub(super) heard: Arc<Heard>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Scene {
    pub(super) async fn new(signers: &[&Signer], issuer: Issuer) -> Self {
        let scene = Self::unprepared(None);
        scene.published.say(signers);
        scene.bearers.replace(vec![issuer]).await.unwrap();
        scene
    }

    pub(super) fn unprepared(reviews: Option<Reviews>) -> Self {
        let (published, heard) = (Arc::new(Published::default()), Arc::new(Heard::default()));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let around = Surroundings { audit: heard.clone(), tasks: tasks.clone(), stop: stop.clone() };
        let server = published.clone();
        let sources: Sources = Box::new(move |issuer| match issuer.keys {
            KeySource::Server(_) => Some(server.clone() as Arc<dyn Fetch>),
            KeySource::Text(_) => None,
        });
        let clock = Arc::new(TokioClock::starting_at(NOW));
        let bearers = Arc::new(Bearers::new(sources, reviews, clock, around));
        Self { bearers, published, heard, tasks, stop }
    }

    pub(super) async fn call(&self, token: &str) -> Result<Caller, Unauthenticated> {
        self.call_over(&Peer::Tls(None), token, AuditClass::Release).await
    }

    pub(super) async fn call_over(
        &self,
        peer: &Peer,
        token: &str,
        class: AuditClass,
    ) -> Result<Caller, Unauthenticated> {
        self.bearers.authenticate(peer, Some(token), class).await
    }

    /// Why a token is refused; `None`: it is not.
    pub(super) async fn refusal(&self, token: &str) -> Option<String> {
        match self.call(token).await {
            Ok(_) => None,
            Err(Unauthenticated::Refused { mend, .. }) => Some(mend),
            Err(Unauthenticated::Unavailable { mend, .. }) => Some(format!("unavailable: {mend}")),
        }
    }

    pub(super) fn reloads(&self) -> Vec<Event> {
        self.heard.0.lock().clone()
    }
}

/// One audience or several.
pub(super) fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
