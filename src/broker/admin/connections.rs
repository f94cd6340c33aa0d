//! Connections: started with a grant that is exchanged at once, and led through their states.

use super::{
    Admin, AdminError, Kind, Listing, Page,
    binding::{self, NewKey},
    check_etag, etag,
    grants::{NewGrant, allowed},
    tenant_missing,
};
use crate::{
    broker::refresher::RefreshError,
    domain::{
        attempt::{Ask, Seen},
        client::Client,
        connection::{Connection, Narrowing, State},
        labels::LabelPatch,
        lifecycle::Moment,
        names::{ClientName, ConnectionName, Owner},
        profile::GrantKind,
        token::Secret,
    },
    provider::Grant,
    store::{
        StoreError,
        ledger::{Loaded, Wrote},
        records::CONNECTIONS,
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A connection whose creator vanished before its first exchange is taken up after this long.
pub(super) const TAKEN_UP_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct NewConnection {
    pub name: ConnectionName,
    pub client: ClientName,
    pub requested_scopes: Vec<String>,
    /// RFC 8707.
    pub requested_resources: Vec<String>,
    pub narrowing: Narrowing,
    pub labels: BTreeMap<String, String>,
    pub grant: NewGrant,
    /// The key to bind its tokens to, in PEM; without one, a new one is made where the provider binds all tokens.
    pub dpop_key: Option<Secret>,
}

/// What a caller may change of a connection; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct ConnectionPatch {
    pub labels: Option<LabelPatch>,
    pub requested_scopes: Option<Vec<String>>,
    pub requested_resources: Option<Vec<String>>,
    pub narrowing: Option<Narrowing>,
}

/// Whether deleting asks the provider to revoke first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoking {
    First,
    Skipped,
}

impl Admin {
    /// The grant is exchanged at once. What the provider refuses is not kept; where it did not answer, an
    /// imported refresh token is kept as PENDING and tried again. What a person has to consent to is PENDING until then.
    pub async fn create_connection(&self, mut new: NewConnection) -> Result<Connection, AdminError> {
        let owner = new.name.owner();
        self.tenant(&new.name.tenant).await?;
        if let Owner::Tenant(tenant) = &new.client.owner
            && *tenant != new.name.tenant
        {
            // Another tenant's client is as good as none.
            return Err(AdminError::NotFound { kind: Kind::Client, name: new.client.to_string() });
        }
        let client = self.client(&new.client).await?.record;
        let profile = self.catalogue.get(&client.provider).ok_or_else(|| AdminError::NotFound {
            kind: Kind::Provider,
            name: client.provider.to_string(),
        })?;
        let kind = new.grant.kind();
        allowed(&new.grant, &new.requested_scopes, &client, &profile)?;
        let api_base_url = new.grant.base_url(&profile)?;
        let dpop_key = binding::key(new.dpop_key.take(), &profile)?;
        let person = matches!(new.grant, NewGrant::Person(_));
        let (mut connection, one_time) = self.pending(new, &client, api_base_url, dpop_key).await?;
        if person {
            connection.await_person(self.ledger.now());
        }
        let (name, seen) = (connection.name.clone(), connection.seen());
        match self.ledger.create(&connection).await.map_err(|err| tenant_missing(err, &owner))? {
            Wrote::Done(_) => {}
            Wrote::Conflict => {
                return Err(AdminError::AlreadyExists { kind: Kind::Connection, name: name.to_string() });
            }
        }
        if person {
            tracing::info!(connection = %name, grant = %kind, "connection created; it waits for a person");
            return Ok(connection);
        }
        let outcome = match one_time {
            Some(grant) => self.refresher.bootstrap(&name, seen, grant).await,
            None => self.refresher.refreshed(&name, seen, Ask::Operator).await,
        };
        match outcome {
            Ok(loaded) => {
                tracing::info!(connection = %name, grant = %kind, "connection created");
                Ok(loaded.record.clone())
            }
            Err(err) => self.not_started(&name, seen, kind, err).await,
        }
    }

    async fn pending(
        &self,
        new: NewConnection,
        client: &Client,
        api_base_url: Option<String>,
        dpop_key: Option<NewKey>,
    ) -> Result<(Connection, Option<Grant>), AdminError> {
        let now = self.ledger.now();
        let mut connection = Connection {
            uid: self.new_uid(),
            revision: 1,
            created_at: now.here,
            updated_at: now.here,
            provider: client.provider.clone(),
            client: new.client,
            grant: new.grant.kind(),
            principal: None,
            subject: None,
            labels: new.labels,
            requested_scopes: new.requested_scopes,
            requested_resources: new.requested_resources,
            scopes: Vec::new(),
            narrowing: new.narrowing,
            api_base_url,
            state: State::Pending,
            reason: None,
            before: None,
            family: self.new_uid(),
            generation: 0,
            dpop: None,
            refresh_token: None,
            previous_refresh_token: None,
            refresh_expires_at: None,
            token: None,
            attempt: None,
            settled: None,
            suspicion: None,
            ambiguous: None,
            due: Some(now.store.plus(TAKEN_UP_AFTER)),
            failures: 0,
            last_success_at: None,
            last_failure: None,
            authorization: None,
            name: new.name,
        };
        self.bind(&mut connection, dpop_key).await?;
        let one_time = self.start_with(&mut connection, new.grant).await?;
        Ok((connection, one_time))
    }

    /// The first exchange brought nothing. Is the grant still in the caller's hands?
    async fn not_started(
        &self,
        name: &ConnectionName,
        seen: Seen,
        kind: GrantKind,
        err: RefreshError,
    ) -> Result<Connection, AdminError> {
        let (maybe_used, err) = match err {
            RefreshError::Failed(failure) => {
                (failure.leaves_open(), AdminError::GrantRefused { grant: kind, failure })
            }
            err @ (RefreshError::Held { .. }
            | RefreshError::NoProfile(_)
            | RefreshError::NoClient(_)
            | RefreshError::Seal(_)
            | RefreshError::Stopping) => (false, err.into()),
            err @ (RefreshError::Ended(_)
            | RefreshError::Busy
            | RefreshError::Gone
            | RefreshError::Orphaned
            | RefreshError::Replaced
            | RefreshError::Store(_)
            | RefreshError::Lost) => return Err(err.into()),
        };
        let Some(loaded) = self.ledger.read::<Connection>(name).await? else { return Err(err) };
        let is_kept = loaded.record.refresh_token.is_some();
        if loaded.record.seen() != seen || (maybe_used && is_kept) || loaded.record.attempt.is_some() {
            return Ok(loaded.record);
        }
        // Whoever wrote in between keeps what it made of it.
        self.ledger.delete(&loaded).await?;
        self.warm.forget(name);
        Err(err)
    }

    pub async fn connection(&self, name: &ConnectionName) -> Result<Loaded<Connection>, AdminError> {
        let owner = name.owner();
        let found = self.ledger.read::<Connection>(name).await;
        match found {
            Ok(found) => found.ok_or_else(|| missing(name)),
            Err(err) => Err(match tenant_missing(err, &owner) {
                AdminError::NotFound { .. } => missing(name),
                other => other,
            }),
        }
    }

    pub async fn connections(
        &self,
        listing: Listing<'_, Connection>,
    ) -> Result<Page<Connection>, AdminError> {
        if let Some(Owner::Tenant(tenant)) = listing.owner {
            self.tenant(tenant).await?;
        }
        self.page(CONNECTIONS, listing).await
    }

    /// `judged` is the etag of the state for which the change was permitted. The caller did not choose that one: where
    /// there is another by now, it may ask again.
    pub async fn update_connection(
        &self,
        name: &ConnectionName,
        given_etag: &str,
        judged: Option<&str>,
        patch: &ConnectionPatch,
    ) -> Result<Connection, AdminError> {
        let client = self.client_of(&self.connection(name).await?.record).await?;
        if let Some(scope) =
            patch.requested_scopes.as_deref().and_then(|scopes| client.forbidden_scope(scopes))
        {
            return Err(AdminError::ScopeNotAllowed { scope: scope.clone() });
        }
        self.amend(name, given_etag, |connection, now| {
            if judged.is_some_and(|judged| judged != etag(connection.uid, connection.revision)) {
                // It was judged by a copy that is out of date.
                self.warm.forget(name);
                return Err(StoreError::Contended { name: name.to_string() }.into());
            }
            if let Some(labels) = &patch.labels {
                labels.apply(&mut connection.labels);
            }
            if let Some(scopes) = &patch.requested_scopes {
                connection.requested_scopes.clone_from(scopes);
            }
            if let Some(resources) = &patch.requested_resources {
                connection.requested_resources.clone_from(resources);
            }
            if let Some(narrowing) = patch.narrowing {
                connection.narrowing = narrowing;
            }
            connection.revision += 1;
            connection.updated_at = now.here;
            Ok(())
        })
        .await
    }

    /// One exchange now, whatever the schedule says. A connection that waits for a person gets another chance.
    pub async fn refresh_connection(&self, name: &ConnectionName) -> Result<Connection, AdminError> {
        let seen = self.connection(name).await?.record.seen();
        match self.refresher.refreshed(name, seen, Ask::Operator).await {
            Ok(refreshed) => Ok(refreshed.record.clone()),
            Err(err @ RefreshError::Held { .. }) => {
                let record = self.connection(name).await?.record;
                let (grant, renewed) = (record.grant, record.lasts() || record.token.is_none());
                Err(if renewed { err.into() } else { AdminError::NothingRenews { grant } })
            }
            Err(err) => Err(err.into()),
        }
    }

    pub async fn disable_connection(
        &self,
        name: &ConnectionName,
        given_etag: &str,
    ) -> Result<Connection, AdminError> {
        self.amend(name, given_etag, |connection, now| match connection.state {
            State::Disabled => Ok(()),
            State::Pending | State::Active | State::NeedsReauthorization => {
                connection.disable(now);
                Ok(())
            }
            state @ (State::Revoking | State::Revoked) => Err(AdminError::WrongState { state }),
        })
        .await
    }

    pub async fn enable_connection(
        &self,
        name: &ConnectionName,
        given_etag: &str,
    ) -> Result<Connection, AdminError> {
        self.amend(name, given_etag, |connection, now| match connection.state {
            State::Disabled => {
                connection.enable(now);
                Ok(())
            }
            State::Pending | State::Active | State::NeedsReauthorization => Ok(()),
            state @ (State::Revoking | State::Revoked) => Err(AdminError::WrongState { state }),
        })
        .await
    }

    async fn amend(
        &self,
        name: &ConnectionName,
        given_etag: &str,
        change: impl Fn(&mut Connection, Moment) -> Result<(), AdminError>,
    ) -> Result<Connection, AdminError> {
        self.connection(name).await?;
        let watch = self.warm.watch(name);
        let changed = self.ledger.amend(
            name,
            || missing(name),
            |connection: &mut Connection, now| {
                check_etag(given_etag, connection.uid, connection.revision, name)?;
                change(connection, now)
            },
        );
        let changed = changed.await?;
        self.warm.keep(watch, &Arc::new(changed.clone()));
        Ok(changed.record)
    }

    /// Revokes at the provider, then forgets.
    pub async fn delete_connection(
        &self,
        name: &ConnectionName,
        given_etag: &str,
        revoking: Revoking,
    ) -> Result<(), AdminError> {
        let loaded = match (self.connection(name).await, revoking) {
            // What cannot be read cannot be revoked, and must not stay for ever.
            (
                Err(AdminError::Store(StoreError::Forged { .. } | StoreError::Broken { .. })),
                Revoking::Skipped,
            ) => {
                tracing::warn!(connection = %name, "connection whose record cannot be read is deleted");
                return Ok(self.ledger.purge::<Connection>(name).await?);
            }
            (loaded, _) => loaded?,
        };
        check_etag(given_etag, loaded.record.uid, loaded.record.revision, name)?;
        match (revoking, loaded.record.state) {
            (Revoking::First, State::Revoked) | (Revoking::Skipped, _) => {}
            (
                Revoking::First,
                State::Pending
                | State::Active
                | State::NeedsReauthorization
                | State::Disabled
                | State::Revoking,
            ) => {
                self.revoke_connection(name, given_etag).await?;
            }
        }
        let loaded = self.connection(name).await?;
        match self.ledger.delete(&loaded).await? {
            Wrote::Done(_) => {
                self.warm.forget(name);
                tracing::info!(connection = %name, "connection deleted");
                Ok(())
            }
            Wrote::Conflict => Err(AdminError::EtagMismatch { name: name.to_string() }),
        }
    }
}

pub(super) fn missing(name: &ConnectionName) -> AdminError {
    AdminError::NotFound { kind: Kind::Connection, name: name.to_string() }
}
