//! What can be done to one record, as a table: how it is forged, and what comes of it.

use super::loot::Doc;
use crate::support::api::reason;
use bursar::store::record::{Client, Connection, Envelope};
use prost::Message;
use tonic::Status;

/// What an attack comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// RECORD_BROKEN to whoever asks; nothing is sent and nothing is handed out.
    Broken,
    /// RECORD_ROLLED_BACK, likewise.
    RolledBack,
    /// It is not there any more.
    Gone,
    /// Everything is as it was.
    Harmless,
    /// The old state is taken for the present one.
    Works,
}

impl Outcome {
    /// What callers are told, or the reason that no attack may lead to.
    pub(super) fn of(status: &Status) -> Result<Self, String> {
        match reason(status).as_str() {
            "RECORD_BROKEN" => Ok(Self::Broken),
            "RECORD_ROLLED_BACK" => Ok(Self::RolledBack),
            "CONNECTION_NOT_FOUND" | "CLIENT_NOT_FOUND" => Ok(Self::Gone),
            other => Err(other.to_owned()),
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Broken => "`RECORD_BROKEN`",
            Self::RolledBack => "`RECORD_ROLLED_BACK`",
            Self::Gone => "not found",
            Self::Harmless => "no effect",
            Self::Works => "**the old state is used**",
        }
    }
}

/// Whose record is forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// A connection that was refreshed a moment ago.
    Connection,
    /// A connection that was disabled a moment ago.
    Disabled,
    /// A connection that was deleted a moment ago.
    Deleted,
    /// The client of a connection.
    Client,
}

pub(super) struct Attack {
    pub(super) what: &'static str,
    pub(super) aim: Aim,
    /// Of a broker that has seen the record before, over Redis.
    pub(super) running: Outcome,
    /// Of a broker that was started afterwards, whatever the store.
    pub(super) fresh: Outcome,
    /// `None` takes the record away.
    pub(super) forge: fn(&Forging) -> Option<Doc>,
}

/// What an attacker has at hand.
pub(super) struct Forging {
    /// The victim as it is.
    pub(super) own: Option<Doc>,
    /// The connection before its last change.
    pub(super) before: Option<Doc>,
    /// Another connection of the same tenant.
    pub(super) peer: Doc,
    /// A connection of another tenant.
    pub(super) foreign: Doc,
    pub(super) other_client: Doc,
    /// A connection of the same name in the attacker's own deployment.
    pub(super) alien: Doc,
    /// An address where the attacker listens.
    pub(super) trap: String,
    /// An address that the provider's profile lists, and that is not the connection's.
    pub(super) elsewhere: String,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what an attack on a record gives: nothing, where it is deleted"
)]
impl Forging {
    fn mine(&self) -> Doc {
        self.own.clone().unwrap()
    }

    /// The record with one thing changed, under its old stamp.
    fn changed(&self, change: impl FnOnce(&mut Connection)) -> Option<Doc> {
        Some(rewritten(&self.mine(), change))
    }

    fn changed_client(&self, change: impl FnOnce(&mut Client)) -> Option<Doc> {
        Some(rewritten(&self.mine(), change))
    }

    fn bytes(&self, body: impl Into<Vec<u8>>) -> Option<Doc> {
        Some(Doc { version: self.mine().version, body: body.into() })
    }
}

fn envelope(doc: &Doc) -> Envelope {
    Envelope::decode(doc.body.as_slice()).unwrap()
}

fn record<R: Message + Default>(doc: &Doc) -> R {
    R::decode(envelope(doc).record.as_slice()).unwrap()
}

fn rewritten<R: Message + Default>(doc: &Doc, change: impl FnOnce(&mut R)) -> Doc {
    let mut envelope = envelope(doc);
    let mut record: R = record(doc);
    change(&mut record);
    assert_ne!(record.encode_to_vec(), envelope.record, "an attack that changes nothing is none");
    envelope.record = record.encode_to_vec();
    Doc { version: doc.version, body: envelope.encode_to_vec() }
}

const fn broken(what: &'static str, forge: fn(&Forging) -> Option<Doc>) -> Attack {
    Attack { what, aim: Aim::Connection, running: Outcome::Broken, fresh: Outcome::Broken, forge }
}

const fn broken_client(what: &'static str, forge: fn(&Forging) -> Option<Doc>) -> Attack {
    Attack { what, aim: Aim::Client, running: Outcome::Broken, fresh: Outcome::Broken, forge }
}

const fn old(what: &'static str, aim: Aim) -> Attack {
    Attack { what, aim, running: Outcome::RolledBack, fresh: Outcome::Works, forge: |f| f.before.clone() }
}

/// Milliseconds since the epoch in the year 2100.
const FAR: u64 = 4_102_444_800_000;

pub(super) const ATTACKS: &[Attack] = &[
    // Moving.
    broken("put another connection's record in its place", |f| Some(f.peer.clone())),
    broken("the same, with its own version set", |f| f.bytes(f.peer.body.clone())),
    broken("put a connection of another tenant in its place", |f| f.bytes(f.foreign.body.clone())),
    broken("put another connection's sealed tokens into the record", |f| {
        let peer: Connection = record(&f.peer);
        f.changed(|own| (own.refresh_token, own.token) = (peer.refresh_token, peer.token))
    }),
    broken("put another connection's grant in: tokens, family and generation", |f| {
        let peer: Connection = record(&f.peer);
        f.changed(|own| {
            (own.refresh_token, own.token) = (peer.refresh_token, peer.token);
            (own.family, own.generation, own.uid) = (peer.family, peer.generation, peer.uid);
        })
    }),
    broken("put the sealed refresh token where the access token lies", |f| {
        f.changed(|own| own.token.as_mut().unwrap().sealed = own.refresh_token.clone().unwrap())
    }),
    broken("swap access token and refresh token", |f| {
        f.changed(|own| {
            let refresh_token = own.refresh_token.as_mut().unwrap();
            std::mem::swap(refresh_token, &mut own.token.as_mut().unwrap().sealed);
        })
    }),
    // Going back.
    old("put an old record back (before a refresh)", Aim::Connection),
    old("put an old record back (before it was disabled)", Aim::Disabled),
    old("put a deleted record back", Aim::Deleted),
    broken("put an old record back under the present version", |f| f.bytes(f.before.clone().unwrap().body)),
    broken("raise the version of the record", |f| {
        Some(Doc { version: f.mine().version + 1, body: f.mine().body })
    }),
    broken("put the old refresh token into the present record", |f| {
        let before: Connection = record(&f.before.clone().unwrap());
        f.changed(|own| own.refresh_token = before.refresh_token)
    }),
    // Damaging.
    broken("cut it in half", |f| f.bytes(&f.mine().body[..f.mine().body.len() / 2])),
    broken("cut off its last byte", |f| f.bytes(&f.mine().body[..f.mine().body.len() - 1])),
    broken("empty it", |f| f.bytes([])),
    broken("flip a bit in the middle", |f| {
        let mut body = f.mine().body;
        let middle = body.len() / 2;
        body[middle] ^= 1;
        f.bytes(body)
    }),
    broken("flip a bit of the stamp", |f| {
        let mut envelope = envelope(&f.mine());
        envelope.stamp[7] ^= 0x80;
        f.bytes(envelope.encode_to_vec())
    }),
    broken("take the stamp away", |f| {
        let envelope = Envelope { stamp: Vec::new(), ..envelope(&f.mine()) };
        f.bytes(envelope.encode_to_vec())
    }),
    broken("name a key version that does not exist", |f| {
        let envelope = Envelope { stamp_key_version: u32::MAX, ..envelope(&f.mine()) };
        f.bytes(envelope.encode_to_vec())
    }),
    broken("claim a newer format, so that the record is passed on unread", |f| {
        let mut envelope = Envelope { format: 99, ..envelope(&f.mine()) };
        envelope.record[0] ^= 1;
        f.bytes(envelope.encode_to_vec())
    }),
    broken("fill it with 8 MiB of zeros", |f| f.bytes(vec![0; 8 << 20])),
    broken("fill it with other bytes", |f| f.bytes(vec![0xa5; 4096])),
    Attack {
        what: "delete it",
        aim: Aim::Connection,
        running: Outcome::Gone,
        fresh: Outcome::Gone,
        forge: |_| None,
    },
    // Forging what is in the clear.
    broken("send callers elsewhere: the API's base URL is the attacker's", |f| {
        f.changed(|own| own.api_base_url = Some(f.trap.clone()))
    }),
    broken("send the grant to another host that the profile lists", |f| {
        f.changed(|own| own.api_base_url = Some(f.elsewhere.clone()))
    }),
    broken("name another client", |f| f.changed(|own| own.client = "tenants/other/clients/concur".into())),
    broken("name another provider, and with it another token endpoint", |f| {
        f.changed(|own| own.provider = "providers/generic-oauth2".into())
    }),
    broken("add a scope", |f| f.changed(|own| own.scopes.push("admin".into()))),
    broken("let it live longer", |f| {
        f.changed(|own| {
            let token = own.token.as_mut().unwrap();
            (token.expires_at, token.soft_at, token.hard_at) = (FAR, FAR, FAR);
        })
    }),
    broken("have it refreshed now", |f| f.changed(|own| own.due = Some(1))),
    broken("have it never refreshed", |f| f.changed(|own| own.due = None)),
    broken("change its labels", |f| {
        f.changed(|own| drop(own.labels.insert("environment".into(), "sandbox".into())))
    }),
    broken("end it", |f| f.changed(|own| own.state = "revoked".into())),
    Attack {
        what: "enable it again",
        aim: Aim::Disabled,
        running: Outcome::Broken,
        fresh: Outcome::Broken,
        forge: |f| f.changed(|own| (own.state, own.before, own.reason) = ("active".into(), None, None)),
    },
    broken("say that it is somebody else's", |f| {
        f.changed(|own| own.subject = Some("ceo@example.com".into()))
    }),
    broken("take away what its tokens are bound to", |f| {
        f.changed(|own| own.token.as_mut().unwrap().bound_to = Some("nobody".into()))
    }),
    broken("lower its generation", |f| f.changed(|own| own.generation -= 1)),
    broken("hold it as if another replica were at it", |f| {
        f.changed(|own| {
            own.attempt = Some(bursar::store::record::Attempt {
                id: vec![7; 16],
                replica: "ghost".into(),
                lease_until: FAR,
                ..Default::default()
            });
        })
    }),
    // The attacker's own.
    broken("put in a record that the attacker's own deployment made for the same name", |f| {
        Some(f.alien.clone())
    }),
    broken("the same, with the victim's version and stamp", |f| {
        let envelope = Envelope { record: envelope(&f.alien).record, ..envelope(&f.mine()) };
        f.bytes(envelope.encode_to_vec())
    }),
    // Its client.
    broken_client("give it the secrets of another client", |f| {
        let other: Client = record(&f.other_client);
        f.changed_client(|own| own.secrets = other.secrets)
    }),
    broken_client("put another client in its place", |f| f.bytes(f.other_client.body.clone())),
    broken_client("point it at another provider", |f| {
        f.changed_client(|own| own.provider = "providers/generic-oauth2".into())
    }),
    broken_client("present another client id", |f| f.changed_client(|own| own.client_id = "evil".into())),
    broken_client("call the sandbox production", |f| {
        f.changed_client(|own| own.environment = "production".into())
    }),
    broken_client("allow more grants", |f| {
        f.changed_client(|own| own.allowed_grants.push("device_code".into()))
    }),
    broken_client("bring a retired secret back", |f| {
        f.changed_client(|own| own.secrets[0].retired_at = Some(1))
    }),
];
