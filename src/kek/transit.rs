//! A KEK in the Transit engine of OpenBao or Vault, over HTTP. The context is bound twice: as associated data where the
//! key's cipher takes any, and inside the plaintext always. Which version wrapped is in the ciphertext.

mod answer;
mod session;

pub use session::{Login, SecretSource};

use self::{
    answer::{Ciphertext, Op},
    session::Session,
};
use crate::{
    domain::{
        failure::{Evidence, Trouble},
        profile::{HostPattern, MinimumTls},
        token::Secret,
    },
    egress::{Destination, Egress, Outgoing, Reply, Roots},
    seal::{Kek, KekError, KekKey, KekKind, KeyBytes, Wrapped, bound, unbound},
};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};
use parking_lot::Mutex;
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// Longest request, from connecting to the last byte of the answer.
pub const CALL_MAX: Duration = Duration::from_secs(6);
/// What is wrapped to learn which version wraps. Nothing unwraps it.
const QUESTION: &[u8] = b"bursar/present";
/// Kept beside a ciphertext that was made with associated data.
const WITH_DATA: &str = "associated-data";

/// Where the engine is and who asks it.
pub struct Settings {
    /// `https`, or `http` to this machine; without a path.
    pub address: Url,
    /// Where the engine is mounted, as `transit`.
    pub mount: String,
    pub key: String,
    pub namespace: Option<String>,
    /// PEM of the only authorities that may vouch for the server; `None`: those of the system.
    pub ca: Option<String>,
    pub login: Login,
}

/// One key of a Transit engine.
pub struct Transit {
    server: Server,
    key: String,
    mount: String,
    session: Session,
    /// What the key's cipher is known to take. Asked by trying.
    data: Mutex<AssociatedData>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AssociatedData {
    /// AES-GCM and ChaCha20-Poly1305.
    Taken,
    /// RSA: the context is inside the plaintext only.
    Refused,
}

impl AssociatedData {
    /// What goes along with a plaintext.
    fn of(self, context: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Taken => Some(context),
            Self::Refused => None,
        }
    }
}

/// An HTTP API of OpenBao or Vault.
struct Server {
    egress: Egress,
    address: Url,
    hosts: Vec<HostPattern>,
    namespace: Option<HeaderValue>,
    ca: Option<String>,
}

impl Transit {
    /// Sends nothing yet, so that it cannot fail for a server that is down.
    pub fn new(egress: Egress, settings: Settings) -> Result<Self, KekError> {
        let Settings { address, mount, key, namespace, ca, login } = settings;
        let namespace = namespace.map(HeaderValue::try_from).transpose();
        let namespace = namespace
            .map_err(|_| KekError::Refused { mend: "write keys.transit.namespace as one line".to_owned() })?;
        let host = match (address.host_str(), address.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let server = Server { egress, address, hosts: vec![HostPattern(host)], namespace, ca };
        let data = Mutex::new(AssociatedData::Taken);
        Ok(Self { server, key, mount, session: Session::new(login), data })
    }

    /// A version of this key.
    fn named(&self, version: u32) -> KekKey {
        KekKey { kind: KekKind::Transit, id: format!("{}/{}:v{version}", self.mount, self.key) }
    }

    async fn encrypt(&self, context: &[u8], key: &KeyBytes) -> Result<Wrapped, KekError> {
        let plaintext = Zeroizing::new(BASE64.encode(bound(context, key)));
        let mut data = *self.data.lock();
        let mut reply = self.ask(Op::Encrypt, body("plaintext", &plaintext, data.of(context))).await?;
        if data == AssociatedData::Taken && reply.status == 400 {
            // Perhaps for the associated data. If it is for something else, it is refused again.
            data = AssociatedData::Refused;
            reply = self.ask(Op::Encrypt, body("plaintext", &plaintext, None)).await?;
        }
        let reply = answer::judged(Op::Encrypt, &self.mount, &self.key, reply)?;
        *self.data.lock() = data;
        let Ciphertext { text, version } = answer::ciphertext(&reply)?;
        let annotations = data.of(context).map(|_| (WITH_DATA.to_owned(), Vec::new())).into_iter().collect();
        Ok(Wrapped { key: self.named(version), ciphertext: text.into_bytes(), annotations })
    }

    /// Logs in again once where the answer may mean that the token has ended.
    async fn ask(&self, op: Op, body: Zeroizing<Vec<u8>>) -> Result<Reply, KekError> {
        let path = [self.mount.as_str(), op.word(), &self.key].join("/");
        let token = self.session.token(&self.server).await?;
        let mut reply = self.server.post(&path, &body, Some(&token)).await?;
        if reply.status == 403
            && let Some(token) = self.session.token_after(&self.server, &token).await?
        {
            reply = self.server.post(&path, &body, Some(&token)).await?;
        }
        Ok(reply)
    }
}

#[async_trait]
impl Kek for Transit {
    fn kind(&self) -> KekKind {
        KekKind::Transit
    }

    /// By a question that needs no more rights than wrapping does.
    async fn present(&self) -> Result<KekKey, KekError> {
        Ok(self.encrypt(QUESTION, &KeyBytes::generate()).await?.key)
    }

    async fn wrap(&self, context: &[u8], key: &KeyBytes) -> Result<Vec<u8>, KekError> {
        Ok(self.encrypt(context, key).await?.encode())
    }

    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<KeyBytes, KekError> {
        let wrapped = Wrapped::parse(wrapped).filter(|wrapped| wrapped.key.kind == KekKind::Transit);
        let Wrapped { key: wanted, ciphertext, annotations } = wrapped.ok_or(KekError::Broken)?;
        let (text, version) = answer::checked(&ciphertext).ok_or(KekError::Broken)?;
        let with_data = annotations.contains_key(WITH_DATA).then_some(context);
        let reply = self.ask(Op::Decrypt, body("ciphertext", text, with_data)).await?;
        let reply = answer::judged(Op::Decrypt, &self.mount, &self.key, reply);
        let reply = reply.map_err(|failure| match failure {
            // What another key wrapped does not open, and the engine does not say why.
            KekError::Broken if wanted != self.named(version) => KekError::Unknown { wanted },
            failure => failure,
        })?;
        unbound(context, &answer::plaintext(&reply)?)
    }
}

/// Base64 and ciphertexts need no escapes in JSON. The exact capacity, so that no growth leaves a copy behind.
fn body(name: &str, value: &str, context: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    let data = context.map(|context| BASE64.encode(context));
    let data = data.map(|data| format!(",\"associated_data\":\"{data}\"")).unwrap_or_default();
    let pieces = ["{\"", name, "\":\"", value, "\"", &data, "}"];
    let mut body = Zeroizing::new(Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum()));
    for piece in pieces {
        body.extend_from_slice(piece.as_bytes());
    }
    body
}

impl Server {
    async fn post(&self, path: &str, body: &[u8], token: Option<&Secret>) -> Result<Reply, KekError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Asked for by agents and proxies of Vault, against requests that a browser is led to send.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert("x-vault-namespace", namespace.clone());
        }
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(token.expose()).map_err(|_| KekError::Refused {
                mend: "the token file holds more than a token: write the token alone into it".to_owned(),
            })?;
            value.set_sensitive(true);
            headers.insert("x-vault-token", value);
        }
        let mut url = self.address.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().push("v1").extend(path.split('/'));
        }
        let destination = Destination {
            hosts: &self.hosts,
            roots: self.ca.as_deref().map_or(Roots::System, Roots::Only),
            minimum_tls: MinimumTls::Tls12,
            networks: &[],
        };
        let outgoing = Outgoing { method: Method::POST, url, headers, body: body.to_vec(), presenting: None };
        self.egress.send(&destination, outgoing, CALL_MAX).await.map_err(|evidence| unsent(&evidence))
    }
}

/// A request without an answer. Nothing of it is worth telling but why.
fn unsent(evidence: &Evidence) -> KekError {
    let away = |cause: &str| KekError::Unavailable { cause: cause.to_owned() };
    match evidence {
        Evidence::NotSent(Trouble::Tls) => KekError::Refused {
            mend: "its certificate is not believed: name its authority in keys.transit.ca_file".to_owned(),
        },
        Evidence::NotSent(Trouble::Dns) => away("the name in keys.transit.address does not resolve"),
        Evidence::NotSent(Trouble::Timeout) | Evidence::Lost(Trouble::Timeout) => {
            away("the server at keys.transit.address did not answer in time")
        }
        Evidence::HostRefused { .. } => KekError::Refused {
            mend:
                "keys.transit.address leads to a place that nothing may be sent to, as a metadata service is"
                    .to_owned(),
        },
        Evidence::Unreadable { .. } => KekError::Misbehaved { what: "the answer is larger than any may be" },
        Evidence::NotSent(_)
        | Evidence::Lost(_)
        | Evidence::Redirected { .. }
        | Evidence::Unusable(_)
        | Evidence::Refused(_) => away("the server at keys.transit.address does not answer"),
    }
}

#[cfg(test)]
mod tests;
