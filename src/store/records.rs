//! Which nouns are kept as documents, under which keys, and whose keys protect them.

use super::{
    Key, StoreError,
    codec::{self, CodecError},
};
use crate::{
    clock::Timestamp,
    domain::{
        audit::{AuditKeyName, KeptAuditKey},
        client::{Client, Tenant},
        connection::Connection,
        kek_log::{KekLog, KekLogName},
        names::{ClientName, ConnectionName, Id, Owner, TenantName},
        walk::{Of, Shelf, Task, Walk, WalkName},
    },
};
use std::fmt::Display;
use uuid::Uuid;

/// Where an owner's word stands in a key for the platform's own things. No id has an underscore.
const PLATFORM: &str = "_platform";

/// Where the root keys' word stands in a key.
const ROOT_WORD: &str = "_root";

/// When a record may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// While its owner's keys are in use.
    InUse,
    /// Also while its owner is deleted and can be restored.
    Always,
}

/// Something that is kept as a document.
pub trait Record: Sized + Clone + Send + Sync {
    type Name: Display + Clone + Send + Sync;

    const OPENED: Opened = Opened::InUse;

    fn name(&self) -> &Self::Name;
    fn key_of(name: &Self::Name) -> Result<Key, StoreError>;
    /// The name that a key stands for; `None` for keys of other kinds.
    fn name_of(key: &Key) -> Option<Self::Name>;
    fn owner_of(name: &Self::Name) -> Owner;
    /// Its uid, and when it was made: what tells it from another one of the same name.
    fn born(&self) -> (Uuid, Timestamp);
    fn encode(&self) -> Vec<u8>;
    fn decode(name: &Self::Name, bytes: &[u8]) -> Result<Self, CodecError>;

    /// When it is due, by the store's clock.
    fn due(&self) -> Option<Timestamp> {
        None
    }
}

/// `kind/owner/id` with the owner as its id or [`PLATFORM`].
fn owned_key(kind: &str, owner: &Owner, id: &Id) -> Result<Key, StoreError> {
    match owner {
        Owner::Platform => Key::new(format!("{kind}/{PLATFORM}/{id}")),
        Owner::Tenant(tenant) => Key::new(format!("{kind}/{}/{id}", tenant.0)),
    }
}

fn owned_name(kind: &str, key: &Key) -> Option<(Owner, Id)> {
    let (owner, id) = key.as_str().strip_prefix(kind)?.strip_prefix('/')?.split_once('/')?;
    let owner = match owner {
        PLATFORM => Owner::Platform,
        tenant => Owner::Tenant(TenantName(tenant.parse().ok()?)),
    };
    Some((owner, id.parse().ok()?))
}

/// What a scan of one owner's records of a kind begins with; all owners' when there is none.
pub fn prefix(kind: &str, owner: Option<&Owner>) -> String {
    match owner {
        None => format!("{kind}/"),
        Some(Owner::Platform) => format!("{kind}/{PLATFORM}/"),
        Some(Owner::Tenant(tenant)) => format!("{kind}/{}/", tenant.0),
    }
}

pub const CONNECTIONS: &str = "connection";
pub const CLIENTS: &str = "client";
pub const TENANTS: &str = "tenant";
pub const KEYS: &str = "keys";
pub const AUDIT_KEY: &str = "audit-key";
pub const KEK_LOG: &str = "kek";
pub const WALKS: &str = "walk";
pub const ENDED_WALKS: &str = "walked";

/// A part of what is sealed or stamped by the keys of one owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    Connections(String),
    Clients(String),
    Tenant(String),
    AuditKey(String),
    KekLog(String),
    Walks(String),
}

impl Holding {
    /// What its documents' keys begin with.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Connections(prefix)
            | Self::Clients(prefix)
            | Self::Tenant(prefix)
            | Self::AuditKey(prefix)
            | Self::KekLog(prefix)
            | Self::Walks(prefix) => prefix,
        }
    }
}

/// All that an owner's keys seal or stamp: whatever is kept is in here, or its key could not be rotated.
pub fn holdings(owner: &Owner) -> Vec<Holding> {
    match owner {
        Owner::Tenant(tenant) => vec![
            Holding::Tenant(format!("{TENANTS}/{}", tenant.0)),
            Holding::Clients(prefix(CLIENTS, Some(owner))),
            Holding::Connections(prefix(CONNECTIONS, Some(owner))),
        ],
        Owner::Platform => vec![
            Holding::AuditKey(format!("{AUDIT_KEY}/")),
            Holding::Clients(prefix(CLIENTS, Some(owner))),
            Holding::KekLog(format!("{KEK_LOG}/")),
            Holding::Walks(format!("{WALKS}/")),
            Holding::Walks(format!("{ENDED_WALKS}/")),
        ],
    }
}

/// Whose keys lie under this key.
pub fn owner_of_chain(key: &Key) -> Option<Owner> {
    match key.as_str().strip_prefix(KEYS)?.strip_prefix('/')? {
        PLATFORM => Some(Owner::Platform),
        tenant => tenant.parse().ok().map(|id| Owner::Tenant(TenantName(id))),
    }
}

/// Where an owner's wrapped keys lie.
pub fn key_chain_key(owner: &Owner) -> Result<Key, StoreError> {
    match owner {
        Owner::Platform => Key::new(format!("{KEYS}/{PLATFORM}")),
        Owner::Tenant(tenant) => Key::new(format!("{KEYS}/{}", tenant.0)),
    }
}

impl Record for Connection {
    type Name = ConnectionName;

    fn name(&self) -> &ConnectionName {
        &self.name
    }

    fn key_of(name: &ConnectionName) -> Result<Key, StoreError> {
        owned_key(CONNECTIONS, &name.owner(), &name.id)
    }

    fn name_of(key: &Key) -> Option<ConnectionName> {
        match owned_name(CONNECTIONS, key)? {
            (Owner::Tenant(tenant), id) => Some(ConnectionName { tenant, id }),
            (Owner::Platform, _) => None,
        }
    }

    fn owner_of(name: &ConnectionName) -> Owner {
        name.owner()
    }

    fn born(&self) -> (Uuid, Timestamp) {
        (self.uid, self.created_at)
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode_connection(self)
    }

    fn decode(name: &ConnectionName, bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_connection(name, bytes)
    }

    fn due(&self) -> Option<Timestamp> {
        self.queued_at()
    }
}

impl Record for Client {
    type Name = ClientName;

    fn name(&self) -> &ClientName {
        &self.name
    }

    fn key_of(name: &ClientName) -> Result<Key, StoreError> {
        owned_key(CLIENTS, &name.owner, &name.id)
    }

    fn name_of(key: &Key) -> Option<ClientName> {
        owned_name(CLIENTS, key).map(|(owner, id)| ClientName { owner, id })
    }

    fn owner_of(name: &ClientName) -> Owner {
        name.owner.clone()
    }

    fn born(&self) -> (Uuid, Timestamp) {
        (self.uid, self.created_at)
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode_client(self)
    }

    fn decode(name: &ClientName, bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_client(name, bytes)
    }
}

impl Record for KeptAuditKey {
    type Name = AuditKeyName;

    fn name(&self) -> &AuditKeyName {
        &AuditKeyName
    }

    fn key_of(_: &AuditKeyName) -> Result<Key, StoreError> {
        Key::new(format!("{AUDIT_KEY}/{PLATFORM}"))
    }

    fn name_of(key: &Key) -> Option<AuditKeyName> {
        (key.as_str().split_once('/') == Some((AUDIT_KEY, PLATFORM))).then_some(AuditKeyName)
    }

    fn owner_of(_: &AuditKeyName) -> Owner {
        Owner::Platform
    }

    fn born(&self) -> (Uuid, Timestamp) {
        (self.uid, self.created_at)
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode_audit_key(self)
    }

    fn decode(_: &AuditKeyName, bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_audit_key(bytes)
    }
}

impl Record for Walk {
    type Name = WalkName;

    fn name(&self) -> &WalkName {
        &self.name
    }

    fn key_of(name: &WalkName) -> Result<Key, StoreError> {
        let shelf = match name.shelf {
            Shelf::Open => WALKS,
            Shelf::Ended => ENDED_WALKS,
        };
        let task = name.task.word();
        match &name.of {
            Of::Root => Key::new(format!("{shelf}/{task}/{ROOT_WORD}")),
            Of::Owner(Owner::Platform) => Key::new(format!("{shelf}/{task}/{PLATFORM}")),
            Of::Owner(Owner::Tenant(tenant)) => Key::new(format!("{shelf}/{task}/{}", tenant.0)),
        }
    }

    fn name_of(key: &Key) -> Option<WalkName> {
        let (shelf, rest) = key.as_str().split_once('/')?;
        let shelf = match shelf {
            WALKS => Shelf::Open,
            ENDED_WALKS => Shelf::Ended,
            _ => return None,
        };
        let (task, word) = rest.split_once('/')?;
        let task = Task::ALL.into_iter().find(|known| known.word() == task)?;
        let of = match word {
            ROOT_WORD => Of::Root,
            PLATFORM => Of::Owner(Owner::Platform),
            tenant => Of::Owner(Owner::Tenant(TenantName(tenant.parse().ok()?))),
        };
        Some(WalkName { shelf, task, of })
    }

    fn owner_of(_: &WalkName) -> Owner {
        Owner::Platform
    }

    fn born(&self) -> (Uuid, Timestamp) {
        (self.uid, self.created_at)
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode_walk(self)
    }

    fn decode(name: &WalkName, bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_walk(name, bytes)
    }
}

impl Record for KekLog {
    type Name = KekLogName;

    fn name(&self) -> &KekLogName {
        &KekLogName
    }

    fn key_of(_: &KekLogName) -> Result<Key, StoreError> {
        Key::new(format!("{KEK_LOG}/{PLATFORM}"))
    }

    fn name_of(key: &Key) -> Option<KekLogName> {
        (key.as_str().split_once('/') == Some((KEK_LOG, PLATFORM))).then_some(KekLogName)
    }

    fn owner_of(_: &KekLogName) -> Owner {
        Owner::Platform
    }

    fn born(&self) -> (Uuid, Timestamp) {
        (self.uid, self.created_at)
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode_kek_log(self)
    }

    fn decode(_: &KekLogName, bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_kek_log(bytes)
    }
}

impl Record for Tenant {
    type Name = TenantName;

    const OPENED: Opened = Opened::Always;

    fn name(&self) -> &TenantName {
        &self.name
    }

    fn key_of(name: &TenantName) -> Result<Key, StoreError> {
        Key::new(format!("{TENANTS}/{}", name.0))
    }

    fn name_of(key: &Key) -> Option<TenantName> {
        key.as_str().strip_prefix(TENANTS)?.strip_prefix('/')?.parse().ok().map(TenantName)
    }

    fn owner_of(name: &TenantName) -> Owner {
        Owner::Tenant(name.clone())
    }

    fn born(&self) -> (Uuid, Timestamp) {
        (self.uid, self.created_at)
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode_tenant(self)
    }

    fn decode(name: &TenantName, bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_tenant(name, bytes)
    }
}
