//! Which nouns are kept as documents, under which keys, and whose keys protect them.

use super::{
    Key, StoreError,
    codec::{self, CodecError},
};
use crate::{
    clock::Timestamp,
    domain::{
        client::{Client, Tenant},
        connection::Connection,
        names::{ClientName, ConnectionName, Id, Owner, TenantName},
    },
};
use std::fmt::Display;

/// Where an owner's word stands in a key for the platform's own things. No id has an underscore.
const PLATFORM: &str = "_platform";

/// Something that is kept as a document.
pub trait Record: Sized + Clone + Send + Sync {
    type Name: Display + Clone + Send + Sync;

    fn name(&self) -> &Self::Name;
    fn key_of(name: &Self::Name) -> Result<Key, StoreError>;
    /// The name that a key stands for; `None` for keys of other kinds.
    fn name_of(key: &Key) -> Option<Self::Name>;
    fn owner_of(name: &Self::Name) -> Owner;
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

    fn encode(&self) -> Vec<u8> {
        codec::encode_connection(self)
    }

    fn decode(name: &ConnectionName, bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_connection(name, bytes)
    }

    fn due(&self) -> Option<Timestamp> {
        self.due
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

    fn encode(&self) -> Vec<u8> {
        codec::encode_client(self)
    }

    fn decode(name: &ClientName, bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_client(name, bytes)
    }
}

impl Record for Tenant {
    type Name = TenantName;

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

    fn encode(&self) -> Vec<u8> {
        codec::encode_tenant(self)
    }

    fn decode(name: &TenantName, bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_tenant(name, bytes)
    }
}
