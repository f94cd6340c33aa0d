//! An issuer of callers' tokens as a test needs it: keys that sign, and a server that behaves as the published API of a
//! Kubernetes API server says (service account issuer discovery, TokenReview).

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

pub(crate) const AUDIENCE: &str = "bursar.test";
/// What the broker has to show before the server says anything.
pub(crate) const OWN_TOKEN: &str = "own-service-account-token";

/// A key pair, P-256.
pub(crate) struct SigningKey {
    kid: String,
    pair: KeyPair,
}

impl SigningKey {
    pub(crate) fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: KeyPair::generate().unwrap() }
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key_raw()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": BASE64URL.encode(x), "y": BASE64URL.encode(y),
        })
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        // As Kubernetes writes it: without `typ`.
        let header = Header { typ: None, kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).unwrap()
    }

    /// The projected token of a pod of the service account `shop/web`, good for an hour.
    pub(crate) fn pod(&self, issuer: &str, pod: &str) -> String {
        #[expect(clippy::disallowed_methods, reason = "a process of its own compares it with its clock")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.sign(&json!({
            "iss": issuer,
            "aud": [AUDIENCE],
            "sub": "system:serviceaccount:shop:web",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "jti": "8a3c6c5e",
            "kubernetes.io": {
                "namespace": "shop",
                "pod": { "name": pod, "uid": "b6d1" },
                "serviceaccount": { "name": "web", "uid": "77aa" },
            },
        }))
    }
}

pub(crate) fn jwks(keys: &[&SigningKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

#[derive(Default)]
struct Cluster {
    issuer: String,
    jwks: Value,
    pods: BTreeSet<String>,
    /// Answers nothing but an error.
    broken: bool,
    asked: BTreeMap<&'static str, usize>,
}

type Shared = Arc<Mutex<Cluster>>;

/// Serves until the test's runtime ends.
pub(crate) struct ApiServer {
    /// What its tokens say in `iss`, and where it is.
    pub(crate) issuer: String,
    cluster: Shared,
}

impl ApiServer {
    pub(crate) async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let cluster = Cluster { issuer: issuer.clone(), jwks: jwks(keys), ..Cluster::default() };
        let cluster = Arc::new(Mutex::new(cluster));
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/openid/v1/jwks", get(published))
            .route("/apis/authentication.k8s.io/v1/tokenreviews", post(review))
            .with_state(cluster.clone());
        TaskTracker::new().spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { issuer, cluster }
    }

    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        self.cluster.lock().jwks = jwks(keys);
    }

    pub(crate) fn create_pod(&self, name: &str) {
        self.cluster.lock().pods.insert(name.to_owned());
    }

    pub(crate) fn delete_pod(&self, name: &str) {
        self.cluster.lock().pods.remove(name);
    }

    pub(crate) fn break_down(&self, broken: bool) {
        self.cluster.lock().broken = broken;
    }

    /// How often it was asked so.
    pub(crate) fn asked(&self, what: &str) -> usize {
        self.cluster.lock().asked.get(what).copied().unwrap_or_default()
    }
}

fn admitted(cluster: &Shared, headers: &HeaderMap, what: &'static str) -> Result<(), StatusCode> {
    let mut cluster = cluster.lock();
    *cluster.asked.entry(what).or_default() += 1;
    if cluster.broken {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let own = format!("Bearer {OWN_TOKEN}");
    let known = headers.get("authorization").is_some_and(|value| value.as_bytes() == own.as_bytes());
    if known { Ok(()) } else { Err(StatusCode::UNAUTHORIZED) }
}

async fn metadata(State(cluster): State<Shared>, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    admitted(&cluster, &headers, "metadata")?;
    let issuer = cluster.lock().issuer.clone();
    Ok(Json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })))
}

async fn published(State(cluster): State<Shared>, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    admitted(&cluster, &headers, "jwks")?;
    Ok(Json(cluster.lock().jwks.clone()))
}

async fn review(
    State(cluster): State<Shared>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    admitted(&cluster, &headers, "review")?;
    assert_eq!(
        (&asked["apiVersion"], &asked["kind"]),
        (&json!("authentication.k8s.io/v1"), &json!("TokenReview"))
    );
    assert_eq!(asked["spec"]["audiences"], json!([AUDIENCE]));
    let payload = asked["spec"]["token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&BASE64URL.decode(payload).unwrap()).unwrap();
    let pod = claims["kubernetes.io"]["pod"]["name"].as_str().unwrap();
    let status = if cluster.lock().pods.contains(pod) {
        json!({
            "authenticated": true,
            "user": {
                "username": claims["sub"],
                "uid": "77aa",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
                "extra": { "authentication.kubernetes.io/pod-name": [pod] },
            },
            "audiences": claims["aud"],
        })
    } else {
        json!({ "user": {}, "error": "[invalid bearer token, service account token has been invalidated]" })
    };
    let mut answer = asked;
    answer["status"] = status;
    Ok((StatusCode::CREATED, Json(answer)))
}
