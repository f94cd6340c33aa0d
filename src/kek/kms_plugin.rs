//! A KEK behind a Kubernetes KMS v2 plugin, on its Unix socket (KEP-3299). The protocol has no additional data, so that
//! key and context go in as one plaintext. Which key the plugin used, and what it wants back, are kept with the
//! ciphertext.

mod wire;

use crate::{
    domain::failure::harmless,
    seal::{
        KEK_ANNOTATIONS_MAX, KEK_KEY_ID_MAX, Kek, KekError, KekKey, KekKind, KeyBytes, Wrapped, bound,
        unbound,
    },
};
use async_trait::async_trait;
use std::{path::Path, time::Duration};
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;
use wire::key_management_service_client::KeyManagementServiceClient as Client;
use zeroize::Zeroizing;

/// Longest call, connecting included: twice what Kubernetes gives a plugin by default, and a little less than half of a
/// minute for the three calls of a heartbeat.
pub const CALL_MAX: Duration = Duration::from_secs(6);
/// Longest ciphertext, in bytes, by the protocol's contract.
const CIPHERTEXT_MAX: usize = 1024;
/// Longest answer, in bytes: every field at its own bound, and room for the framing.
const ANSWER_MAX: usize = 64 * 1024;
/// What a plugin may call the protocol.
const VERSIONS: [&str; 2] = ["v2", "v2beta1"];
/// Longest name of an annotation, in bytes (RFC 1123 §2.1).
const DOMAIN_MAX: usize = 253;
/// Longest label of a domain name, in bytes (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// A plugin. Connects when it is first asked, and again when the connection is gone.
pub struct KmsPlugin {
    client: Client<Channel>,
}

/// What a status code says about the key service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Away,
    Forbidden,
    OtherProtocol,
    /// Plugins answer anything for anything: many know one code only. Something else has to decide.
    Unclear,
}

impl KmsPlugin {
    /// Does not connect yet, so that it cannot fail for a plugin that is down.
    pub fn at(socket: &Path) -> Result<Self, KekError> {
        let address = socket.to_str().map(|path| format!("unix:{path}"));
        let endpoint = address.and_then(|address| Endpoint::from_shared(address).ok());
        let endpoint = endpoint.ok_or_else(|| KekError::Refused {
            mend: "name the plugin's socket by a path in UTF-8".to_owned(),
        })?;
        Ok(Self::over(endpoint.connect_lazy()))
    }

    fn over(channel: Channel) -> Self {
        Self { client: Client::new(channel).max_decoding_message_size(ANSWER_MAX) }
    }

    async fn status(&self) -> Result<KekKey, KekError> {
        let mut client = self.client.clone();
        let said = timed(client.status(wire::StatusRequest {})).await.map_err(|status| failure(&status))?;
        status_holds(said)
    }

    async fn encrypt(&self, plaintext: &[u8]) -> Result<Wrapped, KekError> {
        let mut client = self.client.clone();
        let request = wire::EncryptRequest { plaintext: plaintext.to_vec(), uid: uid() };
        let answer = timed(client.encrypt(request)).await.map_err(|status| failure(&status))?;
        encrypted(answer)
    }

    async fn decrypt(&self, wrapped: Wrapped) -> Result<Zeroizing<Vec<u8>>, Status> {
        let mut client = self.client.clone();
        let Wrapped { key: KekKey { id: key_id, .. }, ciphertext, annotations } = wrapped;
        let request = wire::DecryptRequest { ciphertext, uid: uid(), key_id, annotations };
        let answer = timed(client.decrypt(request)).await?;
        Ok(Zeroizing::new(answer.plaintext))
    }

    /// What it means that the plugin did not open something: if it opens what it encrypts now, then it is the key, or
    /// the value, that is wrong; if it does not, nothing can be said about either.
    async fn why_not(&self, wanted: KekKey) -> KekError {
        match self.probe().await {
            Ok(now) if now == wanted => KekError::Broken,
            Ok(_) => KekError::Unknown { wanted },
            Err(KekError::Broken) => KekError::Misbehaved { what: "it does not open what it encrypted" },
            Err(err) => err,
        }
    }
}

#[async_trait]
impl Kek for KmsPlugin {
    fn kind(&self) -> KekKind {
        KekKind::KmsPlugin
    }

    async fn present(&self) -> Result<KekKey, KekError> {
        self.status().await
    }

    async fn wrap(&self, context: &[u8], key: &KeyBytes) -> Result<Vec<u8>, KekError> {
        // A plugin that is not well may encrypt with a key that it will not have tomorrow.
        self.status().await?;
        Ok(self.encrypt(&bound(context, key)).await?.encode())
    }

    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<KeyBytes, KekError> {
        let wrapped = Wrapped::parse(wrapped).filter(|wrapped| wrapped.key.kind == KekKind::KmsPlugin);
        let wrapped = wrapped.ok_or(KekError::Broken)?;
        let wanted = wrapped.key.clone();
        match self.decrypt(wrapped).await {
            Ok(plain) => unbound(context, &plain),
            Err(status) => match fate(status.code()) {
                Fate::Away | Fate::Forbidden | Fate::OtherProtocol => Err(failure(&status)),
                Fate::Unclear => Err(self.why_not(wanted).await),
            },
        }
    }

    /// Not by [`unwrap`](Kek::unwrap), which probes when it is in doubt.
    async fn probe(&self) -> Result<KekKey, KekError> {
        self.status().await?;
        let (context, key) = (b"bursar/probe", KeyBytes::generate());
        let plain = bound(context, &key);
        let wrapped = self.encrypt(&plain).await?;
        let used = wrapped.key.clone();
        let back = self.decrypt(wrapped).await.map_err(|status| failure(&status))?;
        let back = unbound(context, &back)?;
        if back.expose() == key.expose() { Ok(used) } else { Err(KekError::Broken) }
    }
}

async fn timed<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("")),
    }
}

fn uid() -> String {
    Uuid::new_v4().to_string()
}

fn fate(code: Code) -> Fate {
    match code {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::ResourceExhausted
        | Code::Aborted => Fate::Away,
        Code::PermissionDenied | Code::Unauthenticated => Fate::Forbidden,
        Code::Unimplemented => Fate::OtherProtocol,
        _ => Fate::Unclear,
    }
}

/// What a plugin writes beside its code is not repeated.
fn failure(status: &Status) -> KekError {
    match (fate(status.code()), status.code()) {
        (_, Code::DeadlineExceeded) => KekError::Unavailable {
            cause: format!("its plugin did not answer within {} s", CALL_MAX.as_secs()),
        },
        (Fate::Away, Code::Unavailable) => {
            KekError::Unavailable { cause: "its plugin does not answer on keys.kms_plugin.socket".to_owned() }
        }
        (Fate::Away | Fate::Unclear, code) => {
            KekError::Unavailable { cause: format!("its plugin answered {code:?}; see the plugin's log") }
        }
        (Fate::Forbidden, code) => KekError::Refused {
            mend: format!(
                "the plugin answered {code:?}: let the plugin's own identity encrypt and decrypt with its key"
            ),
        },
        (Fate::OtherProtocol, _) => KekError::Misbehaved {
            what: "there is no KMS v2 plugin at keys.kms_plugin.socket (v1 plugins do not do)",
        },
    }
}

/// The key that a healthy plugin encrypts with.
fn status_holds(said: wire::StatusResponse) -> Result<KekKey, KekError> {
    if !VERSIONS.contains(&said.version.as_str()) {
        return Err(KekError::Misbehaved {
            what: "the plugin speaks another version of the protocol than v2",
        });
    }
    if said.healthz != "ok" {
        let words = harmless(&said.healthz).map(|words| format!(": {words}")).unwrap_or_default();
        return Err(KekError::Unavailable {
            cause: format!("its plugin says that it is not healthy{words}"),
        });
    }
    named(said.key_id)
}

fn encrypted(answer: wire::EncryptResponse) -> Result<Wrapped, KekError> {
    let wire::EncryptResponse { ciphertext, key_id, annotations } = answer;
    if ciphertext.is_empty() || ciphertext.len() > CIPHERTEXT_MAX {
        return Err(KekError::Misbehaved { what: "a ciphertext of 1 to 1024 bytes was expected" });
    }
    let size: usize = annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > KEK_ANNOTATIONS_MAX {
        return Err(KekError::Misbehaved { what: "annotations of at most 32 kB were expected" });
    }
    if !annotations.keys().all(|name| is_domain(name)) {
        return Err(KekError::Misbehaved { what: "an annotation is not named by a domain" });
    }
    Ok(Wrapped { key: named(key_id)?, ciphertext, annotations })
}

fn named(id: String) -> Result<KekKey, KekError> {
    if id.is_empty() || id.len() > KEK_KEY_ID_MAX {
        return Err(KekError::Misbehaved { what: "a key id of 1 to 1024 bytes was expected" });
    }
    Ok(KekKey { kind: KekKind::KmsPlugin, id })
}

/// A fully qualified domain name as Kubernetes checks it: at least two labels (RFC 1123 §2.1) in lower case.
fn is_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| match label.as_bytes() {
        [] => false,
        bytes => {
            bytes.len() <= LABEL_MAX
                && bytes.iter().all(|&byte| letter(byte) || byte == b'-')
                && [bytes.first(), bytes.last()].into_iter().flatten().all(|&byte| letter(byte))
        }
    };
    name.len() <= DOMAIN_MAX && name.contains('.') && name.split('.').all(label)
}

#[cfg(test)]
mod tests;
