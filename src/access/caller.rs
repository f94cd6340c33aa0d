//! Who asks: what a connection or a token proves about the other side.

use super::rpcs::AuditClass;
use crate::domain::spiffe::SpiffeId;
use async_trait::async_trait;
use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Somebody who was recognised. Cheap to clone. The same one whatever it proved itself with, and until when.
#[derive(Clone)]
pub struct Caller {
    parts: Arc<Parts>,
    proof_ends: Option<Instant>,
}

#[derive(PartialEq, Eq)]
struct Parts {
    id: String,
    identity: Identity,
    transport: Transport,
    groups: BTreeSet<String>,
}

/// What a caller has proved to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A process on this machine that proved nothing: the loopback listener of one that serves nobody else.
    Local,
    /// The URI of an X.509-SVID, as `spiffe://trust-domain/path`.
    Spiffe(String),
    /// A DNS name of a client certificate.
    Dns(String),
    /// A signed token; `issuer` is the name that the configuration gives to who signed it.
    Token { issuer: String, subject: String },
    /// A process on this machine, as the kernel knows it.
    Unix { uid: u32, gid: u32 },
}

/// How a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Plain text on this machine.
    Loopback,
    Unix,
    /// The server proved itself.
    Tls,
    /// Both sides did.
    Mtls,
}

/// The other end of a connection, before any token is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    Loopback,
    Unix {
        uid: u32,
        gid: u32,
    },
    /// With what its certificate proves, if it brought one.
    Tls(Option<ClientCertificate>),
}

/// A client certificate that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub identity: Identity,
    /// SHA-256 of its DER: what a token is bound to that is for it alone (RFC 8705 section 3.1).
    pub thumbprint: [u8; 32],
}

/// The text is no caller's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no id of a caller: write spiffe://TRUST-DOMAIN/PATH, dns:NAME, oidc:ISSUER:SUBJECT, unix:UID or `local`"
)]
pub struct NoIdentity;

/// Nobody was recognised. The texts are for the caller and name no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// What was brought proves nothing, or nothing was. `word` is for the audit trail.
    #[error("{mend}")]
    Refused { word: &'static str, mend: String },
    /// Whoever knows is away.
    #[error("{mend}")]
    Unavailable { word: &'static str, mend: String, retry_in: Duration },
}

/// Recognises callers.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// `bearer` is what came after `Bearer` in the header `authorization` (RFC 6750 section 2.1). `class` is that of
    /// the method: what changes something may be held to more.
    async fn authenticate(
        &self,
        peer: &Peer,
        bearer: Option<&str>,
        class: AuditClass,
    ) -> Result<Caller, Unauthenticated>;
}

/// Takes peers for what their connection says; no tokens.
#[derive(Debug, Default)]
pub struct ByConnection;

impl Caller {
    pub fn new(identity: Identity, transport: Transport, groups: BTreeSet<String>) -> Self {
        let parts = Arc::new(Parts { id: identity.to_string(), identity, transport, groups });
        Self { parts, proof_ends: None }
    }

    /// With a proof that ends before its connection does.
    #[must_use]
    pub fn until(self, proof_ends: Instant) -> Self {
        Self { proof_ends: Some(proof_ends), ..self }
    }

    /// From then on the same proof is refused. `None`: it is good for as long as the connection.
    pub fn proof_ends(&self) -> Option<Instant> {
        self.proof_ends
    }

    /// The one text by which policies, limits and the audit trail know the caller.
    pub fn id(&self) -> &str {
        &self.parts.id
    }

    pub fn identity(&self) -> &Identity {
        &self.parts.identity
    }

    pub fn transport(&self) -> Transport {
        self.parts.transport
    }

    pub fn groups(&self) -> &BTreeSet<String> {
        &self.parts.groups
    }
}

impl Transport {
    pub const ALL: [Self; 4] = [Self::Loopback, Self::Unix, Self::Tls, Self::Mtls];

    /// As policies and the audit trail write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Unix => "unix",
            Self::Tls => "tls",
            Self::Mtls => "mtls",
        }
    }
}

impl Identity {
    /// How it comes in, as a rule.
    pub fn usual_transport(&self) -> Transport {
        match self {
            Self::Local => Transport::Loopback,
            Self::Spiffe(_) | Self::Dns(_) => Transport::Mtls,
            Self::Token { .. } => Transport::Tls,
            Self::Unix { .. } => Transport::Unix,
        }
    }
}

impl Peer {
    pub fn transport(&self) -> Transport {
        match self {
            Self::Loopback => Transport::Loopback,
            Self::Unix { .. } => Transport::Unix,
            Self::Tls(None) => Transport::Tls,
            Self::Tls(Some(_)) => Transport::Mtls,
        }
    }

    /// Of the client certificate, if there is one.
    pub fn thumbprint(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Tls(Some(certificate)) => Some(&certificate.thumbprint),
            Self::Tls(None) | Self::Loopback | Self::Unix { .. } => None,
        }
    }
}

impl Unauthenticated {
    pub fn no_credential(mend: &str) -> Self {
        Self::Refused { word: "no_credential", mend: mend.to_owned() }
    }
}

/// Who a connection proves to be there, without any token.
pub fn by_connection(peer: &Peer) -> Option<Caller> {
    let identity = match peer {
        Peer::Loopback => Identity::Local,
        Peer::Unix { uid, gid } => Identity::Unix { uid: *uid, gid: *gid },
        Peer::Tls(Some(certificate)) => certificate.identity.clone(),
        Peer::Tls(None) => return None,
    };
    Some(Caller::new(identity, peer.transport(), BTreeSet::new()))
}

#[async_trait]
impl Authenticate for ByConnection {
    async fn authenticate(
        &self,
        peer: &Peer,
        bearer: Option<&str>,
        _: AuditClass,
    ) -> Result<Caller, Unauthenticated> {
        if bearer.is_some() {
            let mend = "no issuer of tokens is configured here: call without the header `authorization`";
            return Err(Unauthenticated::Refused { word: "token_not_taken", mend: mend.to_owned() });
        }
        by_connection(peer).ok_or_else(|| Unauthenticated::no_credential("bring a client certificate"))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Spiffe(uri) => f.write_str(uri),
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Token { issuer, subject } => write!(f, "oidc:{issuer}:{subject}"),
            Self::Unix { uid, .. } => write!(f, "unix:{uid}"),
        }
    }
}

impl FromStr for Identity {
    type Err = NoIdentity;

    /// The id as policies write it. The group of `unix:1000` is taken to have the same number.
    fn from_str(id: &str) -> Result<Self, NoIdentity> {
        if id == "local" {
            return Ok(Self::Local);
        }
        if id.starts_with("spiffe://") {
            return id.parse::<SpiffeId>().map(|_| Self::Spiffe(id.to_owned())).map_err(|_| NoIdentity);
        }
        let (kind, rest) = id.split_once(':').filter(|(_, rest)| !rest.is_empty()).ok_or(NoIdentity)?;
        match (kind, rest.split_once(':')) {
            ("dns", None) => Ok(Self::Dns(rest.to_owned())),
            ("oidc", Some((issuer, subject))) if !issuer.is_empty() && !subject.is_empty() => {
                Ok(Self::Token { issuer: issuer.to_owned(), subject: subject.to_owned() })
            }
            ("unix", None) => {
                let uid = rest.parse().map_err(|_| NoIdentity)?;
                Ok(Self::Unix { uid, gid: uid })
            }
            _ => Err(NoIdentity),
        }
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for Caller {}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({}, {:?})", self.parts.id, self.parts.transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: [u8; 32] = [7; 32];

    /// Each kind of connection, and whom it proves to be there by what transport.
    fn peers() -> [(Peer, Option<&'static str>, &'static str); 4] {
        let identity = Identity::Dns("web.example.org".to_owned());
        [
            (Peer::Loopback, Some("local"), "loopback"),
            (Peer::Unix { uid: 1000, gid: 7 }, Some("unix:1000"), "unix"),
            (Peer::Tls(None), None, "tls"),
            (
                Peer::Tls(Some(ClientCertificate { identity, thumbprint: CERTIFICATE })),
                Some("dns:web.example.org"),
                "mtls",
            ),
        ]
    }

    #[tokio::test]
    async fn a_connection_proves_what_it_proves() {
        for (peer, id, transport) in peers() {
            assert_eq!(peer.transport().word(), transport);
            assert_eq!(peer.thumbprint(), (transport == "mtls").then_some(&CERTIFICATE));
            let found = by_connection(&peer);
            assert_eq!(found.as_ref().map(Caller::id), id, "{peer:?}");
            let authenticated = ByConnection.authenticate(&peer, None, AuditClass::Read).await;
            match (&found, authenticated) {
                (Some(caller), Ok(same)) => {
                    assert_eq!(same, *caller);
                    assert_eq!((caller.transport().word(), caller.groups()), (transport, &BTreeSet::new()));
                    assert_eq!(caller.transport(), caller.identity().usual_transport());
                    assert_eq!(
                        format!("{caller:?}"),
                        format!("Caller({}, {:?})", id.unwrap(), peer.transport())
                    );
                }
                (None, Err(refused)) => assert_eq!(refused.to_string(), "bring a client certificate"),
                other => panic!("{peer:?}: {other:?}"),
            }
            let refused =
                ByConnection.authenticate(&peer, Some("token"), AuditClass::Read).await.unwrap_err();
            assert!(refused.to_string().starts_with("no issuer of tokens is configured here"), "{refused}");
        }
    }

    #[test]
    fn groups_are_those_that_a_caller_came_with() {
        let groups = BTreeSet::from(["shop".to_owned(), "web".to_owned()]);
        let identity = Identity::Token { issuer: "cluster".to_owned(), subject: "web".to_owned() };
        assert_eq!(identity.usual_transport(), Transport::Tls);
        assert_eq!(Caller::new(identity, Transport::Mtls, groups.clone()).groups(), &groups);
        let spiffe = Identity::Spiffe("spiffe://example.org/web".to_owned());
        assert_eq!(spiffe.usual_transport(), Transport::Mtls);
    }

    #[test]
    fn an_id_stands_for_one_identity() {
        for id in [
            "local",
            "spiffe://example.org/ns/shop/sa/web",
            "dns:web.example.org",
            "oidc:cluster:system:serviceaccount:shop:web",
            "unix:1000",
        ] {
            assert_eq!(id.parse::<Identity>().unwrap().to_string(), id);
        }
        for id in [
            "",
            "web",
            "spiffe://",
            "spiffe://a/../b",
            "dns:",
            "oidc:cluster",
            "oidc::x",
            "unix:me",
            "unix:-1",
        ] {
            assert_eq!(id.parse::<Identity>(), Err(NoIdentity), "{id}");
        }
    }
}
