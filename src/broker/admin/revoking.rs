//! The end of a connection: at the provider first, then here.

use super::{Admin, AdminError, check_etag, connections::missing};
use crate::{
    broker::refresher::RefreshError,
    domain::{
        attempt::Ask,
        connection::{Connection, State},
        failure::Class,
        lifecycle::Moment,
        names::ConnectionName,
        profile::{Profile, Revocation as Kind},
        token::{AccessToken, RefreshToken},
    },
    provider::{Endpoint, Revocation, Revoked},
    seal::{Place, SealError},
    store::ledger::Loaded,
};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// An access token that is to be used for revoking must last at least this long.
const USABLE: Duration = Duration::from_secs(10);
/// How often an exchange under way is waited for before revoking.
const WAITS_MAX: u32 = 4;

/// Whether there is anything left at the provider.
enum Left {
    Something,
    Nothing,
}

impl Admin {
    /// Asks the provider to forget the grant, then wipes what is kept of it. Where the provider cannot be
    /// asked, the connection stays REVOKING: nothing is handed out any more, and the call may be repeated.
    pub async fn revoke_connection(
        &self,
        name: &ConnectionName,
        given_etag: &str,
    ) -> Result<Connection, AdminError> {
        let loaded = self.connection(name).await?;
        check_etag(given_etag, loaded.record.uid, loaded.record.revision, name)?;
        match loaded.record.state {
            State::Revoked => return Ok(loaded.record),
            State::Pending
            | State::Active
            | State::NeedsReauthorization
            | State::Disabled
            | State::Revoking => {}
        }
        let profile = self
            .catalogue
            .get(&loaded.record.provider)
            .ok_or_else(|| RefreshError::NoProfile(loaded.record.provider.clone()))?;
        // Where the server says how to revoke is not known, it is taken for one that can: nothing is served from now on,
        // and the call may be repeated.
        let resolved = self.provider.resolved(&profile, Endpoint::Revocation).await;
        let kind = resolved.as_ref().map_or(Kind::Rfc7009, |profile| profile.revocation);
        let left = self.usable(loaded, kind).await?;
        // An exchange that began since would bring a token that nobody revokes.
        let begin = |connection: &mut Connection, now: Moment| {
            if connection.live_attempt(now.store).is_some() {
                Err(AdminError::Refresh(RefreshError::Busy))
            } else {
                connection.revoking(now);
                Ok(())
            }
        };
        let revoking = self.enter(name, begin).await?;
        match left {
            Left::Something => {
                let profile = resolved.map_err(AdminError::RevocationRefused)?;
                self.revoke_at_provider(&revoking.record, &profile).await?;
            }
            Left::Nothing => {}
        }
        tracing::info!(connection = %name, "grant revoked");
        let end = |connection: &mut Connection, now: Moment| {
            connection.revoked(now);
            Ok(())
        };
        Ok(self.enter(name, end).await?.record.clone())
    }

    async fn enter(
        &self,
        name: &ConnectionName,
        step: impl FnMut(&mut Connection, Moment) -> Result<(), AdminError>,
    ) -> Result<Arc<Loaded<Connection>>, AdminError> {
        let watch = self.warm.watch(name);
        let changed = Arc::new(self.ledger.amend(name, || missing(name), step).await?);
        self.warm.keep(watch, &changed);
        Ok(changed)
    }

    /// Waits for an exchange under way; and where revoking takes an access token, makes sure there is one.
    async fn usable(&self, mut loaded: Loaded<Connection>, kind: Kind) -> Result<Left, AdminError> {
        let name = loaded.record.name.clone();
        for _ in 0..WAITS_MAX {
            let bell = self.bells.listen(&name);
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable();
            loaded = self.connection(&name).await?;
            let now = self.ledger.now_of(&loaded);
            if let Some(attempt) = loaded.record.live_attempt(now.store) {
                let left = now.store.until(attempt.lease_until);
                drop(tokio::time::timeout(left, rung).await);
                continue;
            }
            let token = loaded.record.token.as_ref();
            let living = token.is_some_and(|token| now.here.plus(USABLE) < token.expires_at);
            match kind {
                // Nobody to ask: forgetting is all that can be done.
                Kind::None => return Ok(Left::Nothing),
                Kind::ConcurDelete if !living => {}
                Kind::ConcurDelete | Kind::Rfc7009 => return Ok(Left::Something),
            }
            match self.refresher.refreshed(&name, loaded.record.seen(), Ask::Revocation).await {
                Ok(_) => {}
                // The provider has forgotten it already, or there is nothing that it could be asked with.
                Err(RefreshError::Failed(failure)) if failure.class == Class::Suspect => {
                    return Ok(Left::Nothing);
                }
                Err(err) => return Err(err.into()),
            }
        }
        Ok(Left::Something)
    }

    async fn revoke_at_provider(&self, connection: &Connection, profile: &Profile) -> Result<(), AdminError> {
        let client = self.client_of(connection).await?;
        let identity = self.refresher.identity(&client).await?;
        let keys = self.keys.keys(&connection.name.owner()).await?;
        let resource = connection.name.to_string();
        let place = |generation| Place { resource: &resource, family: connection.family, generation };
        let refresh_token: Option<RefreshToken> = connection
            .refresh_token
            .as_ref()
            .map(|sealed| keys.open(&place(connection.generation), sealed))
            .transpose()
            .map_err(SealError::from)?;
        // One that has expired is nothing that a server could still forget.
        let living = connection.token.as_ref().filter(|token| self.clock.now() < token.expires_at);
        let access_token: Option<AccessToken> = living
            .map(|token| keys.open(&place(token.generation), &token.sealed))
            .transpose()
            .map_err(SealError::from)?;
        let revocation = Revocation {
            profile,
            client: &identity,
            refresh_token: refresh_token.as_ref(),
            access_token: access_token.as_ref(),
            api_base_url: connection.api_base_url.as_deref(),
            correlation_id: Uuid::new_v4(),
        };
        let revoked = self.provider.revoke(&revocation).await.map_err(AdminError::RevocationRefused)?;
        told(connection, &revoked);
        Ok(())
    }
}

/// The grant is gone either way; who revoked it has to know for how long its last token still opens doors.
fn told(connection: &Connection, revoked: &Revoked) {
    let lives_until = connection.token.as_ref().map(|token| token.expires_at.to_string());
    match revoked {
        Revoked::Whole => {}
        Revoked::AccessTokenLives(None) => {
            tracing::info!(connection = %connection.name, lives_until,
                "provider does not revoke access tokens: the last one lives until it expires");
        }
        Revoked::AccessTokenLives(Some(failure)) => {
            tracing::warn!(connection = %connection.name, lives_until,
                class = %failure.class, code = failure.code, correlation_id = failure.correlation_id,
                "grant is revoked, but its access token could not be: it lives until it expires");
        }
    }
}
