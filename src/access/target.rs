//! What an action is done to, and what is known of it.

use crate::domain::{
    client::{Client, Environment},
    connection::Connection,
    names::{ClientName, ConnectionName, Owner, ProviderName, TenantName},
};
use std::{collections::BTreeMap, fmt, str::FromStr};
use uuid::Uuid;

/// What an action is done to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// What belongs to no tenant: lists of all.
    Deployment,
    Provider(ProviderName),
    Tenant(TenantName),
    Client(ClientName),
    Connection(ConnectionName),
    KeyChain(Chain),
}

/// Whose keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Chain {
    /// `keyChains/kek`.
    Kek,
    /// `keyChains/root`.
    Root,
    /// `platform/keyChain` or `tenants/{tenant}/keyChain`.
    Of(Owner),
}

/// What a policy can know of a target besides its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// There is nothing else to know; or there is no such thing.
    Nothing,
    Client(ClientFacts),
    Connection(Box<ConnectionFacts>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFacts {
    pub provider: ProviderName,
    pub environment: Environment,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// Which record this was read from; `None`: there is none yet.
    pub record: Option<RecordId>,
    pub provider: ProviderName,
    pub client: ClientName,
    /// Its client's; `None`: the client cannot be read.
    pub environment: Option<Environment>,
    pub labels: BTreeMap<String, String>,
}

/// One state of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId {
    pub uid: Uuid,
    pub version: u64,
}

/// What a call asks for besides its target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Scopes of the token; empty: all that were granted.
    pub scopes: Vec<String>,
    /// Whom the token is for; empty: nobody in particular.
    pub audience: String,
    /// For whom the caller says that it works; empty: for itself.
    pub on_behalf_of: String,
    /// Whose connection a client is to be used for.
    pub tenant: Option<TenantName>,
}

impl Target {
    /// Whose it is, or would be.
    pub fn owner(&self) -> Owner {
        match self {
            Self::Deployment | Self::Provider(_) | Self::KeyChain(Chain::Kek | Chain::Root) => {
                Owner::Platform
            }
            Self::Tenant(tenant) => Owner::Tenant(tenant.clone()),
            Self::Client(name) => name.owner.clone(),
            Self::Connection(name) => name.owner(),
            Self::KeyChain(Chain::Of(owner)) => owner.clone(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment => f.write_str("platform"),
            Self::Provider(name) => name.fmt(f),
            Self::Tenant(name) => name.fmt(f),
            Self::Client(name) => name.fmt(f),
            Self::Connection(name) => name.fmt(f),
            Self::KeyChain(chain) => chain.fmt(f),
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kek => f.write_str("keyChains/kek"),
            Self::Root => f.write_str("keyChains/root"),
            Self::Of(owner) => write!(f, "{owner}/keyChain"),
        }
    }
}

/// The text names no key chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no key chain: keyChains/kek, keyChains/root, platform/keyChain or tenants/{{tenant}}/keyChain")]
pub struct NoChain;

impl FromStr for Chain {
    type Err = NoChain;

    fn from_str(name: &str) -> Result<Self, NoChain> {
        match (name, name.strip_suffix("/keyChain")) {
            ("keyChains/kek", _) => Ok(Self::Kek),
            ("keyChains/root", _) => Ok(Self::Root),
            (_, Some(owner)) => owner.parse().map(Self::Of).map_err(|_| NoChain),
            (_, None) => Err(NoChain),
        }
    }
}

impl From<&Client> for ClientFacts {
    fn from(client: &Client) -> Self {
        Self { provider: client.provider.clone(), environment: client.environment }
    }
}

impl ConnectionFacts {
    pub fn of(connection: &Connection, version: u64, environment: Option<Environment>) -> Self {
        Self {
            record: Some(RecordId { uid: connection.uid, version }),
            provider: connection.provider.clone(),
            client: connection.client.clone(),
            environment,
            labels: connection.labels.clone(),
        }
    }
}

impl From<ProviderName> for Target {
    fn from(name: ProviderName) -> Self {
        Self::Provider(name)
    }
}

impl From<TenantName> for Target {
    fn from(name: TenantName) -> Self {
        Self::Tenant(name)
    }
}

impl From<ClientName> for Target {
    fn from(name: ClientName) -> Self {
        Self::Client(name)
    }
}

impl From<ConnectionName> for Target {
    fn from(name: ConnectionName) -> Self {
        Self::Connection(name)
    }
}

impl From<Chain> for Target {
    fn from(chain: Chain) -> Self {
        Self::KeyChain(chain)
    }
}
