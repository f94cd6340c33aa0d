//! Hands out tokens: the sentences of the product. A caller and the scheduler walk the same path; they differ only
//! in how much life they ask of a token.

pub mod admin;
pub mod bells;
pub mod follower;
pub mod keys;
pub mod outage;
pub mod refresher;
pub mod scheduler;
pub mod warm;

use crate::{
    access::Permit,
    audit::{self, Audit, AuditDown, Released},
    clock::Clock,
    domain::{
        attempt::Ask,
        connection::{Connection, Narrowing, State, StateReason, Token},
        lifecycle::{self, Degraded, Verdict, judge},
        names::ConnectionName,
        profile::Overlap,
        token::AccessToken,
    },
    seal::{Place, SealBroken},
    store::{
        StoreError,
        ledger::{Ledger, Loaded},
    },
};
use keys::Keyring;
use outage::Outage;
use refresher::{RefreshError, Refresher};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use warm::{Found, WarmCopies};

/// How long a caller without a deadline waits for a refresh while its present token would still do.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is left of a caller's deadline for the answer itself.
const ANSWER_SPARE: Duration = Duration::from_millis(50);

pub struct Broker {
    pub ledger: Arc<Ledger>,
    pub keys: Arc<Keyring>,
    pub warm: Arc<WarmCopies>,
    pub refresher: Refresher,
    pub audit: Arc<dyn Audit>,
    pub clock: Arc<dyn Clock>,
    pub outage: Outage,
}

/// What a caller wants of a token.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// How long it has to live; see [`lifecycle::min_lifetime`] for what holds without one.
    pub min_lifetime: Option<Duration>,
    /// Empty asks for all that was granted.
    pub scopes: Vec<String>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

/// A token on its way out, with what was true of its connection when it was taken.
pub struct Handed {
    pub released: Released,
    pub connection: Arc<Loaded<Connection>>,
    pub degraded: Option<Degraded>,
}

#[derive(Debug, thiserror::Error)]
pub enum GetTokenError {
    #[error("connection does not exist")]
    NotFound,
    #[error("connection is {state}")]
    Ended { state: State, reason: Option<StateReason> },
    /// No token of this provider lives so long.
    #[error("the provider's tokens live {lifetime:?}, which is less than what was asked")]
    TooLong { lifetime: Duration },
    /// The freshest token there is lives shorter.
    #[error("the freshest token lives {remaining:?} more, which is less than what was asked")]
    TooYoung { remaining: Duration },
    /// Scopes beyond what was granted.
    #[error("scope `{scope}` was not granted to this connection")]
    ScopeNotGranted { scope: String },
    /// The provider gives tokens for all granted scopes only, and the connection does not allow serving those.
    #[error("this connection serves tokens for all its scopes only")]
    NotNarrowable,
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealBroken),
    #[error(transparent)]
    Audit(#[from] AuditDown),
}

impl Broker {
    /// Returns a token that satisfies the wish, refreshing first if there is none.
    pub async fn get_token(&self, permit: &Permit, wish: &Wish) -> Result<Handed, GetTokenError> {
        let name = permit.connection();
        let (mut connection, store_lost) = self.look(name).await?;
        let mut refreshed = None;
        // A second turn judges what a refresh brought; a third is never needed.
        for _ in 0..2 {
            let now = self.ledger.now();
            let verdict = judge(&connection.record, now, wish.min_lifetime);
            let seen = connection.record.seen();
            match verdict {
                Verdict::Serve => return self.hand(permit, wish, connection, store_lost).await,
                Verdict::ServeAndRefresh => {
                    self.refresher.start(name, seen, Ask::Caller);
                    return self.hand(permit, wish, connection, store_lost).await;
                }
                Verdict::RefreshElseServe if refreshed.is_some() => {
                    return self.hand(permit, wish, connection, store_lost).await;
                }
                Verdict::RefreshElseServe => {
                    let flight = self.refresher.refreshed(name, seen, Ask::Caller);
                    let outcome = match overlap(&connection.record) {
                        Overlap::OldAccessTokenSurvives => {
                            tokio::time::timeout_at(patience(wish), flight).await.ok()
                        }
                        // It may be dead as soon as the request is out: nothing is served beside the exchange.
                        Overlap::Dies => Some(flight.await),
                    };
                    match outcome {
                        Some(Ok(renewed)) => connection = renewed,
                        // The warm copy may not know it yet: the change feed tells of an outage when it is over.
                        Some(Err(RefreshError::Store(StoreError::Unavailable { .. } | StoreError::Full))) => {
                            let lost = Some(Degraded::StoreUnavailable);
                            return self.hand(permit, wish, connection, lost).await;
                        }
                        Some(Err(_)) => connection = self.after_failure(connection).await,
                        None => {
                            return self.hand(permit, wish, connection, Some(Degraded::RefreshSlow)).await;
                        }
                    }
                    refreshed = Some(());
                }
                Verdict::RefreshFirst => {
                    connection = self.refresher.refreshed(name, seen, Ask::Caller).await?;
                    refreshed = Some(());
                }
                Verdict::Held { until } => {
                    let failure = connection.record.last_failure.clone();
                    return Err(RefreshError::Held { at: now, until, failure }.into());
                }
                Verdict::TooLong { lifetime } => return Err(GetTokenError::TooLong { lifetime }),
                Verdict::TooYoung { remaining } => return Err(GetTokenError::TooYoung { remaining }),
                Verdict::Ended(state) => {
                    let reason = connection.record.reason.clone();
                    return Err(GetTokenError::Ended { state, reason });
                }
            }
        }
        // The provider's fresh token lives shorter than was asked, or is due again at once.
        let remaining =
            connection.record.token.as_ref().map(|token| self.clock.now().until(token.expires_at));
        Err(GetTokenError::TooYoung { remaining: remaining.unwrap_or_default() })
    }

    /// The connection as it is now; or, while the store is away, as it was when it was last seen.
    async fn look(
        &self,
        name: &ConnectionName,
    ) -> Result<(Arc<Loaded<Connection>>, Option<Degraded>), GetTokenError> {
        let doubtful = match self.warm.get(name) {
            Found::Current(copy) => return Ok((copy, None)),
            Found::Doubtful(copy) => Some(copy),
            Found::Nothing => None,
        };
        let _probe = match (&doubtful, self.outage.may_ask()) {
            (Some(copy), None) => return Ok((copy.clone(), Some(Degraded::StoreUnavailable))),
            (_, probe) => probe,
        };
        let watch = self.warm.watch(name);
        let read = self.ledger.read::<Connection>(name).await;
        match &read {
            Err(StoreError::Unavailable { .. }) => self.outage.begun(),
            Ok(_) | Err(_) => self.outage.over(),
        }
        match (read, doubtful) {
            (Ok(Some(loaded)), _) => {
                let loaded = Arc::new(loaded);
                self.warm.keep(watch, &loaded);
                Ok((loaded, None))
            }
            (Ok(None) | Err(StoreError::NoKeys { .. }), _) => {
                self.warm.forget(name);
                Err(GetTokenError::NotFound)
            }
            (Err(StoreError::Unavailable { .. }), Some(copy)) => Ok((copy, Some(Degraded::StoreUnavailable))),
            (Err(err), _) => Err(err.into()),
        }
    }

    /// What a failed refresh made of the connection: it may say why the old token is served.
    async fn after_failure(&self, before: Arc<Loaded<Connection>>) -> Arc<Loaded<Connection>> {
        match self.look(&before.record.name).await {
            Ok((connection, _)) => connection,
            Err(_) => before,
        }
    }

    async fn hand(
        &self,
        permit: &Permit,
        wish: &Wish,
        connection: Arc<Loaded<Connection>>,
        besides: Option<Degraded>,
    ) -> Result<Handed, GetTokenError> {
        let record = &connection.record;
        narrowed(record, &wish.scopes)?;
        let token = record.token.as_ref().ok_or(GetTokenError::NotFound)?;
        let opened = self.open(record, token).await?;
        let released = audit::release(&*self.audit, permit, token.generation, opened)?;
        let degraded = besides.or_else(|| lifecycle::degraded(record, self.clock.now()));
        Ok(Handed { released, connection, degraded })
    }

    async fn open(&self, record: &Connection, token: &Token) -> Result<AccessToken, GetTokenError> {
        let resource = record.name.to_string();
        let place = Place { resource: &resource, family: record.family, generation: token.generation };
        let keys = self.keys.keys(&record.name.owner()).await?;
        Ok(keys.open(&place, &token.sealed)?)
    }
}

fn patience(wish: &Wish) -> Instant {
    let until = Instant::now() + PATIENCE;
    wish.deadline.map_or(until, |deadline| until.min(deadline - ANSWER_SPARE))
}

fn overlap(connection: &Connection) -> Overlap {
    connection.token.as_ref().map(|token| token.overlap).unwrap_or_default()
}

/// A narrower token has to be asked of the provider, which is not done yet: a caller gets all or nothing.
fn narrowed(connection: &Connection, wanted: &[String]) -> Result<(), GetTokenError> {
    if let Some(scope) = wanted.iter().find(|scope| !connection.scopes.contains(scope)) {
        return Err(GetTokenError::ScopeNotGranted { scope: scope.clone() });
    }
    let all = wanted.is_empty() || connection.scopes.iter().all(|scope| wanted.contains(scope));
    match connection.narrowing {
        _ if all => Ok(()),
        Narrowing::ServeWhole => Ok(()),
        Narrowing::Refuse => Err(GetTokenError::NotNarrowable),
    }
}
