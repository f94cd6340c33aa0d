//! Clients: registrations at providers, and their secrets.

use super::{Admin, AdminError, Kind, Listing, Page, check_etag, credentials::NewSecret, tenant_missing};
use crate::{
    domain::{
        client::{Client, Environment},
        connection::Connection,
        names::{ClientName, ConnectionName, Owner, ProviderName},
        profile::{ClientAuth, GrantKind},
    },
    store::{
        StoreError,
        ledger::{Loaded, Sifted, Wrote},
        records::{CLIENTS, CONNECTIONS, Record, prefix},
    },
};
use uuid::Uuid;

#[derive(Debug)]
pub struct NewClient {
    pub name: ClientName,
    pub provider: ProviderName,
    pub client_id: String,
    pub auth: Option<ClientAuth>,
    pub allowed_grants: Vec<GrantKind>,
    pub allowed_scopes: Vec<String>,
    pub environment: Environment,
    pub secret: Option<NewSecret>,
}

/// What a caller may change of a client; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct ClientPatch {
    pub client_id: Option<String>,
    pub auth: Option<ClientAuth>,
    pub allowed_grants: Option<Vec<GrantKind>>,
    pub allowed_scopes: Option<Vec<String>>,
}

impl Admin {
    pub async fn create_client(&self, new: NewClient) -> Result<Client, AdminError> {
        if let Owner::Tenant(tenant) = &new.name.owner {
            self.tenant(tenant).await?;
        }
        let auth = self.auth_of(&new.provider, new.auth)?;
        if new.secret.is_none() && auth.needs().is_some() {
            let problem = format!("is needed for {auth}");
            return Err(AdminError::Invalid { field: "client_secret", problem });
        }
        let now = self.clock.now();
        let mut client = Client {
            uid: self.new_uid(),
            revision: 0,
            created_at: now,
            updated_at: now,
            provider: new.provider,
            client_id: new.client_id,
            auth,
            allowed_grants: new.allowed_grants,
            allowed_scopes: new.allowed_scopes,
            environment: new.environment,
            secrets: Vec::new(),
            preferred: None,
            rotation: None,
            hold: None,
            endings: Vec::new(),
            name: new.name,
        };
        if let Some(secret) = &new.secret {
            let secret = self.credential(&client, &[], secret).await?;
            client.add_secret(secret, now)?;
        }
        client.revision = 1;
        match self.ledger.create(&client).await? {
            Wrote::Done(_) => Ok(client),
            Wrote::Conflict => {
                Err(AdminError::AlreadyExists { kind: Kind::Client, name: client.name.to_string() })
            }
        }
    }

    /// The provider must offer the method, and this version must have it. Without a wish, the provider's first.
    fn auth_of(&self, provider: &ProviderName, wanted: Option<ClientAuth>) -> Result<ClientAuth, AdminError> {
        let profile = self
            .catalogue
            .get(provider)
            .ok_or_else(|| AdminError::NotFound { kind: Kind::Provider, name: provider.to_string() })?;
        let offered = || profile.client_auth.iter().map(|auth| auth.word()).collect::<Vec<_>>().join(", ");
        let refused = |problem| Err(AdminError::Invalid { field: "client.auth_method", problem });
        let auth = match (wanted, profile.client_auth.first()) {
            (Some(auth), _) if profile.client_auth.contains(&auth) => auth,
            (None, Some(first)) => *first,
            (Some(_), _) | (None, None) => {
                return refused(format!("is not offered by {provider}, which takes: {}", offered()));
            }
        };
        Ok(auth)
    }

    pub async fn client(&self, name: &ClientName) -> Result<Loaded<Client>, AdminError> {
        let found = self.ledger.read::<Client>(name).await.map_err(|err| tenant_missing(err, &name.owner))?;
        found.ok_or_else(|| client_missing(name))
    }

    /// The client that a connection is of. Another provider's of the same name is none.
    pub(super) async fn client_of(&self, connection: &Connection) -> Result<Client, AdminError> {
        let found = self.client(&connection.client).await?.record;
        if found.serves(connection) { Ok(found) } else { Err(client_missing(&connection.client)) }
    }

    pub async fn clients(&self, listing: Listing<'_, Client>) -> Result<Page<Client>, AdminError> {
        if let Some(Owner::Tenant(tenant)) = listing.owner {
            self.tenant(tenant).await?;
        }
        self.page(CLIENTS, listing).await
    }

    pub async fn update_client(
        &self,
        name: &ClientName,
        given_etag: &str,
        patch: &ClientPatch,
    ) -> Result<Client, AdminError> {
        if let Some(auth) = patch.auth {
            let provider = self.client(name).await?.record.provider;
            self.auth_of(&provider, Some(auth))?;
        }
        self.amend_client(name, given_etag, |client, now| {
            if let Some(client_id) = &patch.client_id {
                client.client_id.clone_from(client_id);
            }
            if let Some(auth) = patch.auth {
                if !client.can_use(auth) {
                    let problem = format!("{auth} needs a secret of another kind: add one first");
                    return Err(AdminError::Invalid { field: "client.auth_method", problem });
                }
                client.auth = auth;
            }
            if let Some(grants) = &patch.allowed_grants {
                client.allowed_grants.clone_from(grants);
            }
            if let Some(scopes) = &patch.allowed_scopes {
                client.allowed_scopes.clone_from(scopes);
            }
            client.hold = None;
            client.changed(now);
            Ok(())
        })
        .await
    }

    pub async fn add_client_secret(
        &self,
        name: &ClientName,
        given_etag: &str,
        secret: &NewSecret,
    ) -> Result<Client, AdminError> {
        let client = self.client(name).await?.record;
        let profile = self.catalogue.get(&client.provider);
        let others = profile.as_ref().map(|profile| profile.client_auth.as_slice()).unwrap_or_default();
        let sealed = self.credential(&client, others, secret).await?;
        self.amend_client(name, given_etag, |client, now| Ok(client.add_secret(sealed.clone(), now)?)).await
    }

    pub async fn retire_client_secret(
        &self,
        name: &ClientName,
        given_etag: &str,
        secret: Uuid,
    ) -> Result<Client, AdminError> {
        self.amend_client(name, given_etag, |client, now| Ok(client.retire_secret(secret, now)?)).await
    }

    pub(super) async fn amend_client(
        &self,
        name: &ClientName,
        given_etag: &str,
        change: impl Fn(&mut Client, crate::clock::Timestamp) -> Result<(), AdminError>,
    ) -> Result<Client, AdminError> {
        self.client(name).await?;
        let changed = self.ledger.amend(
            name,
            || client_missing(name),
            |client: &mut Client, now| {
                check_etag(given_etag, client.uid, client.revision, name)?;
                change(client, now.here)
            },
        );
        Ok(changed.await?.record)
    }

    pub async fn delete_client(&self, name: &ClientName, given_etag: &str) -> Result<(), AdminError> {
        let loaded = self.client(name).await?;
        check_etag(given_etag, loaded.record.uid, loaded.record.revision, name)?;
        if let Some(connection) = self.connection_of(name).await? {
            return Err(AdminError::ClientInUse { name: name.to_string(), connection });
        }
        match self.ledger.delete(&loaded).await? {
            Wrote::Done(_) => Ok(()),
            Wrote::Conflict => Err(AdminError::EtagMismatch { name: name.to_string() }),
        }
    }

    /// Some connection that uses the client, also of a tenant that is deleted and can be restored; or that may use it,
    /// because its record cannot be read. A tenant's client is used within its tenant only.
    async fn connection_of(&self, name: &ClientName) -> Result<Option<String>, AdminError> {
        let owner = match &name.owner {
            Owner::Platform => None,
            owner @ Owner::Tenant(_) => Some(owner),
        };
        let (prefix, mut after) = (prefix(CONNECTIONS, owner), None);
        loop {
            let found = self.ledger.sift::<Connection>(&prefix, after.as_ref(), super::pages::STEP).await?;
            if let Some(user) = found.iter().find_map(|sifted| user(sifted, name)) {
                return Ok(Some(user.to_string()));
            }
            if found.len() < super::pages::STEP {
                return Ok(None);
            }
            after = found.last().map(|last| last.key.clone());
        }
    }
}

/// The connection, if it uses the client or nobody can say that it does not.
fn user(sifted: &Sifted<Connection>, client: &ClientName) -> Option<ConnectionName> {
    match &sifted.found {
        Ok(loaded) => (loaded.record.client == *client).then(|| loaded.record.name.clone()),
        // Its tenant is gone for good: nothing opens it any more.
        Err(StoreError::NoKeys { .. }) => None,
        Err(err) => {
            tracing::warn!(record = %sifted.key, cause = %err, "a connection may use a client: its record cannot be read");
            Connection::name_of(&sifted.key)
        }
    }
}

fn client_missing(name: &ClientName) -> AdminError {
    AdminError::NotFound { kind: Kind::Client, name: name.to_string() }
}
