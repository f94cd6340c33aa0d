//! What policies may know of connections and clients, mostly from warm copies. Decides nothing.

use super::{Broker, GetTokenError};
use crate::{
    access::{ClientFacts, ConnectionFacts, Facts, RecordId},
    domain::{
        client::{Client, Environment},
        connection::Connection,
        names::{ClientName, ConnectionName},
    },
    store::{StoreError, Version, ledger::Loaded},
};
use quick_cache::sync::Cache;
use std::sync::Arc;
use uuid::Uuid;

/// Most connections whose environment is remembered.
const ENVIRONMENTS_MAX: usize = 250_000;

pub struct Knowing {
    broker: Arc<Broker>,
    /// By the connection's uid.
    environments: Cache<Uuid, Known>,
}

/// A connection keeps the name of its client, and what bears that name may have been deleted and made anew: what is known
/// is good for one version of the connection, which has one token at most.
#[derive(Debug, Clone, Copy)]
struct Known {
    environment: Environment,
    version: Version,
}

impl Knowing {
    pub fn new(broker: Arc<Broker>) -> Self {
        Self { broker, environments: Cache::new(ENVIRONMENTS_MAX) }
    }

    /// The connection as it is known now; `None`: there is none.
    pub async fn meet(
        &self,
        name: &ConnectionName,
    ) -> Result<Option<Arc<Loaded<Connection>>>, GetTokenError> {
        match self.broker.look(name).await {
            Ok((loaded, _)) => Ok(Some(loaded)),
            Err(GetTokenError::NotFound) => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// What is true of a connection that was met.
    pub async fn facts(&self, loaded: &Loaded<Connection>) -> Result<Facts, StoreError> {
        let record = &loaded.record;
        let environment = match self.environments.get(&record.uid) {
            Some(known) if known.version == loaded.version => Some(known.environment),
            known => self.looked_up(loaded, known).await?,
        };
        Ok(Facts::Connection(Box::new(ConnectionFacts::of(record, loaded.version.0, environment))))
    }

    /// Asks the store for a connection as if it were not known here, and fails as that fails where there is none.
    pub async fn ask_in_vain(&self, name: &ConnectionName) -> Result<(), StoreError> {
        match self.broker.ledger.read::<Connection>(name).await {
            Err(err @ (StoreError::Unavailable { .. } | StoreError::Unusable { .. })) => Err(err),
            // Of what is not there there would be nothing to find wrong.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// While the store is away, what was known before is the best that there is, as it is of the connection itself; and
    /// one at a time looks whether it is back.
    async fn looked_up(
        &self,
        loaded: &Loaded<Connection>,
        before: Option<Known>,
    ) -> Result<Option<Environment>, StoreError> {
        let (record, version) = (&loaded.record, loaded.version);
        let _probe = match (before, self.broker.outage.may_ask()) {
            (Some(known), None) => return Ok(Some(known.environment)),
            (_, probe) => probe,
        };
        let environment = match (self.read(&record.client).await, before) {
            (Ok(Facts::Client(client)), _) if client.provider == record.provider => client.environment,
            (Ok(Facts::Client(_) | Facts::Nothing | Facts::Connection(_)), _) => return Ok(None),
            (Err(lost), Some(known)) if lost.is_outage() => known.environment,
            (Err(err), _) => return Err(err),
        };
        self.environments.insert(record.uid, Known { environment, version });
        Ok(Some(environment))
    }

    /// What is true of a client; nothing, if there is none.
    pub async fn client(&self, name: &ClientName) -> Result<Facts, StoreError> {
        self.read(name).await
    }

    async fn read(&self, name: &ClientName) -> Result<Facts, StoreError> {
        let read = self.broker.ledger.read::<Client>(name).await;
        match &read {
            Err(StoreError::Unavailable { .. }) => self.broker.outage.begun(),
            Ok(_) | Err(_) => self.broker.outage.over(),
        }
        match read {
            Ok(Some(loaded)) => Ok(Facts::Client(ClientFacts::from(&loaded.record))),
            Ok(None) | Err(StoreError::NoKeys { .. }) => Ok(Facts::Nothing),
            Err(err) => Err(err),
        }
    }
}

/// Which state of which record this is.
pub fn record_id(loaded: &Loaded<Connection>) -> RecordId {
    RecordId { uid: loaded.record.uid, version: loaded.version.0 }
}
