//! Hands out tokens: the sentences of the product. A caller and the scheduler walk the same path; they differ only
//! in how much life they ask of a token.

pub mod admin;
pub mod audit_key;
pub mod bells;
pub mod custodian;
pub mod follower;
pub mod heartbeat;
pub mod kept;
pub mod keys;
pub mod knowing;
pub mod outage;
pub mod refresher;
pub mod scheduler;
pub mod shunned;
pub mod slots;
pub mod tally;
pub mod warm;

use crate::{
    access::Permit,
    audit::{self, Audit, AuditDown, Leaving, Released},
    clock::{Clock, Timestamp},
    domain::{
        attempt::Ask,
        connection::{Connection, Narrowing, State, StateReason, Token},
        lifecycle::{self, Degraded, Verdict, judge},
        names::ConnectionName,
        profile::Overlap,
        token::AccessToken,
    },
    limits::{Full, Seat},
    provider::dpop::proof::{ProofError, Shown, Wanted},
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
use tally::Tally;
use tokio::time::Instant;
use warm::{Found, WarmCopies};

/// How long a caller without a deadline waits for a refresh; flights end by themselves long before.
const PATIENCE: Duration = Duration::from_hours(1);
/// The same, while its present token would still do.
const PATIENCE_WITH_TOKEN: Duration = Duration::from_secs(10);
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
    /// Proofs that callers have shown.
    pub shown: Shown,
    pub tally: Tally,
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
    /// Proof that the caller holds the key of a bound token (RFC 9449), and when it came in.
    pub proof: Option<Possession>,
    /// What the call takes up. Before anything is waited for, it has to find a place.
    pub seat: Seat,
}

/// What a caller shows to be given a bound token.
#[derive(Debug, Clone)]
pub struct Possession {
    pub proof: String,
    pub at: Timestamp,
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
    TooYoung { remaining: Duration, retry_in: Option<Duration> },
    /// Scopes beyond what was granted.
    #[error("scope `{scope}` was not granted to this connection")]
    ScopeNotGranted { scope: String },
    /// The provider gives tokens for all granted scopes only, and the connection does not allow serving those.
    #[error("this connection serves tokens for all its scopes only")]
    NotNarrowable,
    /// The token is bound to a key, and the caller did not prove that it holds it.
    #[error("token is bound to a key, and the caller did not prove that it holds it: {problem}")]
    Bound { problem: ProofError, thumbprint: String },
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealBroken),
    #[error(transparent)]
    Audit(#[from] AuditDown),
    /// There is no place to wait in.
    #[error(transparent)]
    Full(#[from] Full),
}

/// What came of waiting for a refresh.
enum Waited {
    Renewed,
    Failed(RefreshError),
    /// It is still under way, and the caller cannot wait any longer.
    Slow,
}

impl Broker {
    /// Returns a token that satisfies the wish, refreshing first if there is none. Whatever was waited for, what is
    /// handed out is judged by the present at the end.
    pub async fn get_token(&self, permit: &Permit, wish: &Wish) -> Result<Handed, GetTokenError> {
        let name = permit.on();
        let (seat, owner) = (&wish.seat, name.owner());
        let (connection, store_lost) = seat.answered(Some(&owner), self.look(name)).await??;
        let seen = connection.record.seen();
        let patience = match judge(&connection.record, self.ledger.now(), wish.min_lifetime) {
            Verdict::Serve => return self.hand(permit, wish, connection, store_lost).await,
            Verdict::ServeAndRefresh => {
                self.refresher.start(name, seen, Ask::Caller);
                return self.hand(permit, wish, connection, store_lost).await;
            }
            Verdict::RefreshElseServe => match connection.record.overlap() {
                Overlap::OldAccessTokenSurvives => PATIENCE_WITH_TOKEN,
                // It may be dead as soon as the request is out: nothing is served beside the exchange.
                Overlap::Dies => PATIENCE,
            },
            Verdict::RefreshFirst => PATIENCE,
            verdict @ (Verdict::Held { .. }
            | Verdict::TooLong { .. }
            | Verdict::TooYoung { .. }
            | Verdict::Ended(_)) => return Err(self.refused(verdict, &connection.record)),
        };
        seat.wait_for(&owner)?;
        let until = Instant::now() + patience;
        let until = wish.deadline.map_or(until, |deadline| until.min(deadline - ANSWER_SPARE));
        let flight = self.refresher.refreshed(name, seen, Ask::Caller);
        let (connection, waited) = match tokio::time::timeout_at(until, flight).await {
            Ok(Ok(renewed)) => (renewed, Waited::Renewed),
            Ok(Err(err)) => (self.look_again(connection).await?, Waited::Failed(err)),
            Err(_) => (self.look_again(connection).await?, Waited::Slow),
        };
        self.after_waiting(permit, wish, connection, waited).await
    }

    async fn after_waiting(
        &self,
        permit: &Permit,
        wish: &Wish,
        connection: Arc<Loaded<Connection>>,
        waited: Waited,
    ) -> Result<Handed, GetTokenError> {
        let verdict = judge(&connection.record, self.ledger.now(), wish.min_lifetime);
        match (verdict, waited) {
            (Verdict::Serve | Verdict::ServeAndRefresh | Verdict::RefreshElseServe, waited) => {
                let besides = match waited {
                    Waited::Slow => Some(Degraded::RefreshSlow),
                    Waited::Failed(RefreshError::Store(
                        StoreError::Unavailable { .. } | StoreError::WritesRefused { .. } | StoreError::Full,
                    )) => Some(Degraded::StoreUnavailable),
                    Waited::Renewed | Waited::Failed(_) => None,
                };
                self.hand(permit, wish, connection, besides).await
            }
            (verdict @ (Verdict::TooLong { .. } | Verdict::TooYoung { .. } | Verdict::Ended(_)), _) => {
                Err(self.refused(verdict, &connection.record))
            }
            (Verdict::RefreshFirst | Verdict::Held { .. }, Waited::Failed(err)) => Err(err.into()),
            (Verdict::RefreshFirst | Verdict::Held { .. }, Waited::Slow) => Err(RefreshError::Busy.into()),
            // The provider's fresh token lives shorter than was asked.
            (Verdict::RefreshFirst | Verdict::Held { .. }, Waited::Renewed) => {
                let token = connection.record.token.as_ref();
                let remaining =
                    token.map(|token| self.clock.now().until(token.expires_at)).unwrap_or_default();
                Err(GetTokenError::TooYoung { remaining, retry_in: None })
            }
        }
    }

    fn refused(&self, verdict: Verdict, record: &Connection) -> GetTokenError {
        match verdict {
            Verdict::Held { until } => {
                let failure = record.last_failure.clone();
                RefreshError::Held { at: self.ledger.now(), until, failure }.into()
            }
            Verdict::TooLong { lifetime } => GetTokenError::TooLong { lifetime },
            Verdict::TooYoung { remaining, renewed_in } => {
                GetTokenError::TooYoung { remaining, retry_in: renewed_in }
            }
            Verdict::Ended(state) => GetTokenError::Ended { state, reason: record.reason.clone() },
            Verdict::Serve | Verdict::ServeAndRefresh | Verdict::RefreshElseServe | Verdict::RefreshFirst => {
                RefreshError::Lost.into()
            }
        }
    }

    /// The connection as it is now; or, while the store is away, as it was when it was last seen.
    pub async fn look(
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
            (Err(err @ StoreError::Deleted { .. }), _) => {
                self.warm.forget(name);
                Err(err.into())
            }
            // A store in a file on a full disk may not even be read.
            (
                Err(StoreError::Unavailable { .. } | StoreError::KeyAway { .. } | StoreError::Full),
                Some(copy),
            ) => Ok((copy, Some(Degraded::StoreUnavailable))),
            (Err(err), _) => Err(err.into()),
        }
    }

    /// What became of the connection while a refresh was waited for; as it was, if the store is away.
    async fn look_again(
        &self,
        before: Arc<Loaded<Connection>>,
    ) -> Result<Arc<Loaded<Connection>>, GetTokenError> {
        match self.look(&before.record.name).await {
            Ok((connection, _)) => Ok(connection),
            Err(GetTokenError::Store(
                StoreError::Unavailable { .. } | StoreError::KeyAway { .. } | StoreError::Full,
            )) => Ok(before),
            Err(err) => Err(err),
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
        if let Some(thumbprint) = &token.bound_to {
            self.proven(&record.name, thumbprint, wish)?;
        }
        let leaving = Leaving {
            connection: &record.name,
            family: record.family,
            generation: token.generation,
            expires_at: token.expires_at,
        };
        let release = async {
            let opened = self.open(record, token).await?;
            Ok::<_, GetTokenError>(audit::release(&*self.audit, permit, &leaving, opened).await?)
        };
        // Keys that are not in memory and lines that are not on the disk are waited for.
        let released = wish.seat.answered(Some(&record.name.owner()), release).await??;
        let here = self.clock.now();
        let degraded = besides.or_else(|| lifecycle::degraded(record, here));
        self.tally.handed(token, degraded, here);
        Ok(Handed { released, connection, degraded })
    }

    /// A bound token is of use to who holds its key only, and so it is given to nobody else: what leaks cannot have
    /// come from here.
    fn proven(&self, name: &ConnectionName, thumbprint: &str, wish: &Wish) -> Result<(), GetTokenError> {
        let connection = name.to_string();
        let outcome = match &wish.proof {
            None => Err(ProofError::Missing),
            Some(shown) => {
                let wanted = Wanted { jkt: thumbprint, connection: &connection, at: shown.at };
                self.shown.accept(&shown.proof, &wanted)
            }
        };
        outcome.map_err(|problem| GetTokenError::Bound { problem, thumbprint: thumbprint.to_owned() })
    }

    async fn open(&self, record: &Connection, token: &Token) -> Result<AccessToken, GetTokenError> {
        let resource = record.name.to_string();
        let place = Place { resource: &resource, family: record.family, generation: token.generation };
        let keys = self.keys.keys(&record.name.owner()).await?;
        Ok(keys.open(&place, &token.sealed)?)
    }
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
