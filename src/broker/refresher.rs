//! One exchange per connection: claim, exchange, commit, in a task of its own that is finished even if nobody
//! waits for it. Decides nothing about tokens: transitions do.

use super::{bells::Bells, keys::Keyring, warm::WarmCopies};
use crate::{
    domain::{
        attempt::{Ask, Renewal, Seen},
        client::{Client, Hold},
        connection::{Attempt, Connection, LastFailure, State, Token},
        failure::{Class, Evidence, Failure, Trouble, classify},
        lifecycle::{Moment, jittered, points},
        names::{ClientName, ConnectionName, ProviderName},
        profile::{GrantKind, Profile},
        token::{PreviousRefreshToken, RefreshToken, Sealable},
    },
    provider::{Answer, ClientIdentity, Exchange, Grant, Issued, Provider, catalogue::Catalogue},
    seal::{OwnerKeys, Place, SealError},
    store::{
        StoreError,
        claim::Claim,
        ledger::{Claimed, Committed, Ledger, Loaded},
    },
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// How often a flight asks again for the claim, after waiting for others or losing a race.
const TURNS_MAX: u32 = 8;
/// Pauses between tries to commit an answer that is held in memory: from this, doubling, to the next.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);
const COMMIT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Tries to write down a failure. When all fail, the attempt's lease ends by itself.
const FAIL_TRIES: u32 = 5;
/// First and longest time that a refused client's connections wait.
const HOLD: Duration = Duration::from_secs(30);
const HOLD_MAX: Duration = Duration::from_mins(15);
/// How long the others wait for the one that tries a refused client again.
const PROBE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Refresher {
    parts: Arc<Parts>,
}

pub struct Parts {
    pub ledger: Arc<Ledger>,
    pub keys: Arc<Keyring>,
    pub provider: Arc<dyn Provider>,
    pub catalogue: Arc<Catalogue>,
    pub warm: Arc<WarmCopies>,
    pub bells: Arc<Bells>,
    pub tasks: TaskTracker,
    pub board: Board,
    /// Exchanges at once in this process.
    pub slots: Semaphore,
    /// Names this process in attempts, so that the log of another replica can say who is at it.
    pub replica: String,
    /// How much longer than the exchange's own deadline a lease lasts.
    pub lease_extra: Duration,
}

/// The exchanges under way in this process.
pub type Board = Mutex<HashMap<ConnectionName, Flight>>;
type Flight = Shared<BoxFuture<'static, Outcome>>;
pub type Outcome = Result<Arc<Loaded<Connection>>, RefreshError>;

/// Why there is no newer token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RefreshError {
    /// The provider answered, or did not; what that means is in the failure.
    #[error("exchange with the provider failed: {}", .0.detail)]
    Failed(Failure),
    /// The provider is being left alone until then (store's clock), after this failure.
    #[error("provider is being left alone after a failure")]
    Held { at: Moment, until: crate::clock::Timestamp, failure: Option<LastFailure> },
    #[error("connection is {0}")]
    Ended(State),
    /// Another replica held the attempt longer than a lease.
    #[error("another replica was still refreshing this connection")]
    Busy,
    #[error("connection does not exist")]
    Gone,
    /// The answer came after the connection had been revoked, deleted or authorized again.
    #[error("connection was ended while its answer was on the way")]
    Orphaned,
    /// No profile of that name is configured: check the providers folder of this replica.
    #[error("{0} is not configured")]
    NoProfile(ProviderName),
    #[error("{0} does not exist")]
    NoClient(ClientName),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The task ended without an outcome: it panicked or the runtime shut down. The lease ends by itself.
    #[error("refresh ended without an outcome")]
    Lost,
}

/// All that an exchange needs, loaded before the claim, so that nothing but the exchange itself can fail after it.
struct Prepared {
    profile: Arc<Profile>,
    client: Loaded<Client>,
    identity: ClientIdentity,
    keys: OwnerKeys,
}

impl Refresher {
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Makes sure a refresh is under way, and does not wait for it.
    pub fn start(&self, name: &ConnectionName, seen: Seen, ask: Ask) {
        drop(self.flight(name, seen, ask, None));
    }

    /// Waits for the refresh under way, starting one if there is none.
    pub async fn refreshed(&self, name: &ConnectionName, seen: Seen, ask: Ask) -> Outcome {
        self.flight(name, seen, ask, None).await
    }

    /// Spends a one-time credential that is not stored anywhere.
    pub async fn bootstrap(&self, name: &ConnectionName, seen: Seen, grant: Grant) -> Outcome {
        self.flight(name, seen, Ask::Bootstrap, Some(grant)).await
    }

    /// Waits until no exchange is under way. Start no more after this.
    pub async fn drain(&self) {
        self.parts.tasks.close();
        self.parts.tasks.wait().await;
    }

    /// How many exchanges are under way in this process.
    pub fn under_way(&self) -> usize {
        self.parts.board.lock().len()
    }

    /// The client as the provider is to see it, its secrets opened.
    pub async fn identity(&self, client: &Client) -> Result<ClientIdentity, RefreshError> {
        self.parts.identity(client).await
    }

    pub fn is_under_way(&self, name: &ConnectionName) -> bool {
        self.parts.board.lock().contains_key(name)
    }

    /// The exchange runs in its own task: a caller that hangs up must not take the only copy of a new refresh
    /// token with it.
    fn flight(&self, name: &ConnectionName, seen: Seen, ask: Ask, grant: Option<Grant>) -> Flight {
        let mut board = self.parts.board.lock();
        if let Some(flight) = board.get(name) {
            return flight.clone();
        }
        let landing = Landing { parts: self.parts.clone(), name: name.clone() };
        let task = self
            .parts
            .tasks
            .spawn(async move { landing.parts.refresh(&landing.name, seen, ask, grant).await });
        let flight = async move { task.await.unwrap_or(Err(RefreshError::Lost)) }.boxed().shared();
        board.insert(name.clone(), flight.clone());
        flight
    }
}

impl Parts {
    async fn refresh(
        &self,
        name: &ConnectionName,
        seen: Seen,
        ask: Ask,
        mut grant: Option<Grant>,
    ) -> Outcome {
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await;
        for _ in 0..TURNS_MAX {
            let bell = self.bells.listen(name);
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable();

            let prepared = self.prepare(name, ask).await?;
            let open = |now| self.attempt(&prepared.profile, seen, now);
            match self.ledger.claim(name, seen, ask, &prepared.profile, open).await? {
                Claimed::Yours(claim) => return self.exchange(*claim, prepared, grant.take()).await,
                Claimed::Moved(loaded) => return Ok(self.kept(*loaded)),
                Claimed::Held { until } => return Err(self.held(name, until).await),
                Claimed::Ended(state) => return Err(RefreshError::Ended(state)),
                Claimed::Busy { until } => {
                    let left = self.ledger.now().store.until(until);
                    // Either the other replica's result is told, or its lease ends; then look again.
                    drop(tokio::time::timeout(left, rung).await);
                    if let Some(outcome) = self.others_result(name, seen).await? {
                        return outcome;
                    }
                }
            }
        }
        Err(RefreshError::Busy)
    }

    /// What somebody else's attempt came to; `None` while it is still open, or ended without a word.
    async fn others_result(
        &self,
        name: &ConnectionName,
        seen: Seen,
    ) -> Result<Option<Outcome>, RefreshError> {
        let loaded = self.ledger.read::<Connection>(name).await?.ok_or(RefreshError::Gone)?;
        let (record, now) = (&loaded.record, self.ledger.now());
        if record.seen() != seen {
            return Ok(Some(Ok(self.kept(loaded))));
        }
        if record.live_attempt(now.store).is_some() {
            return Ok(None);
        }
        Ok(record
            .held_until(now.store)
            .map(|until| Err(RefreshError::Held { at: now, until, failure: record.last_failure.clone() })))
    }

    async fn held(&self, name: &ConnectionName, until: crate::clock::Timestamp) -> RefreshError {
        let failure = match self.ledger.read::<Connection>(name).await {
            Ok(found) => found.and_then(|loaded| loaded.record.last_failure),
            Err(err) => return err.into(),
        };
        RefreshError::Held { at: self.ledger.now(), until, failure }
    }

    fn attempt(&self, profile: &Profile, seen: Seen, now: Moment) -> Attempt {
        Attempt {
            id: Uuid::new_v4(),
            replica: self.replica.clone(),
            generation: seen.generation,
            started_at: now.here,
            lease_until: now.store.plus(profile.exchange_deadline() + self.lease_extra),
        }
    }

    async fn prepare(&self, name: &ConnectionName, ask: Ask) -> Result<Prepared, RefreshError> {
        let loaded = self.ledger.read::<Connection>(name).await?.ok_or(RefreshError::Gone)?;
        let connection = &loaded.record;
        let profile = self
            .catalogue
            .get(&connection.provider)
            .ok_or_else(|| RefreshError::NoProfile(connection.provider.clone()))?;
        let client = self
            .ledger
            .read::<Client>(&connection.client)
            .await?
            .ok_or_else(|| RefreshError::NoClient(connection.client.clone()))?;
        let client = match (&client.record.hold, ask) {
            (None, _) | (Some(_), Ask::Operator) => client,
            (Some(hold), Ask::Scheduler | Ask::Caller | Ask::Bootstrap) => {
                let now = self.ledger.now();
                if client.record.held(now.store).is_some() {
                    return Err(self.postpone(connection, hold, now).await);
                }
                self.probe(&client.record.name).await?
            }
        };
        let keys = self.keys.keys(&connection.name.owner()).await?;
        let identity = self.identity(&client.record).await?;
        Ok(Prepared { profile, client, identity, keys })
    }

    /// A hold that has run out lets one exchange try; the others wait for what comes of it.
    async fn probe(&self, name: &ClientName) -> Result<Loaded<Client>, RefreshError> {
        let probing = self.ledger.amend(
            name,
            || RefreshError::NoClient(name.clone()),
            |record: &mut Client, now| match &mut record.hold {
                Some(hold) if now.store < hold.until => {
                    let failure = Some(LastFailure::from(&*hold));
                    Err(RefreshError::Held { at: now, until: hold.until, failure })
                }
                Some(hold) => {
                    hold.until = now.store.plus(PROBE);
                    Ok(())
                }
                None => Ok(()),
            },
        );
        probing.await
    }

    /// The client is refused by its provider: the connection waits with it, and is not looked at until then.
    async fn postpone(&self, connection: &Connection, hold: &Hold, now: Moment) -> RefreshError {
        let until = hold.until;
        let failure = Some(LastFailure::from(hold));
        if connection.due.is_some_and(|due| due < until) {
            let spread = jittered(HOLD, connection.uid, connection.generation, hold.failures) / 8;
            let waits = self.ledger.amend(
                &connection.name,
                || RefreshError::Gone,
                |record: &mut Connection, _| {
                    record.postponed(until.plus(spread));
                    Ok(())
                },
            );
            if let Err(err) = waits.await {
                return err;
            }
        }
        RefreshError::Held { at: now, until, failure }
    }

    async fn identity(&self, client: &Client) -> Result<ClientIdentity, RefreshError> {
        let keys = self.keys.keys(&client.name.owner).await?;
        let resource = client.name.to_string();
        let mut secrets = Vec::new();
        for (family, sealed) in client.active_secrets() {
            let place = Place { resource: &resource, family, generation: 0 };
            secrets.push(keys.open(&place, sealed).map_err(SealError::from)?);
        }
        Ok(ClientIdentity { client_id: client.client_id.clone(), auth: client.auth, secrets })
    }

    async fn exchange(&self, claim: Claim, prepared: Prepared, one_time: Option<Grant>) -> Outcome {
        let connection = claim.connection();
        let grant = match one_time.map_or_else(|| stored_grant(connection, &prepared.keys), Ok) {
            Ok(grant) => grant,
            Err(err) => {
                self.give_up(&claim, &prepared, &unopened()).await?;
                return Err(err.into());
            }
        };
        let exchange = Exchange {
            profile: &prepared.profile,
            client: &prepared.identity,
            grant: &grant,
            scopes: scopes_to_ask(connection),
            granted: &connection.scopes,
            api_base_url: connection.api_base_url.as_deref(),
            principal: connection.principal.as_ref(),
            correlation_id: claim.attempt().id,
        };
        let deadline = prepared.profile.exchange_deadline();
        let answered = tokio::time::timeout(deadline, self.provider.exchange(&claim, &exchange)).await;
        let failure = match answered {
            Ok(Ok(answer)) => return self.settle(&claim, &prepared, &grant, answer).await,
            Ok(Err(failure)) => failure,
            Err(_) => classify(&prepared.profile, grant.stage(), &Evidence::Lost(Trouble::Timeout), None),
        };
        self.give_up(&claim, &prepared, &failure).await?;
        Err(RefreshError::Failed(failure))
    }

    /// Seals the answer and makes it the present. Holds it in memory until the store takes it.
    async fn settle(&self, claim: &Claim, prepared: &Prepared, spent: &Grant, answer: Answer) -> Outcome {
        let correlation_id = answer.correlation_id.clone();
        let unusable = answer.access.as_ref().err().cloned();
        let renewal = renewal(claim, prepared, spent, answer)?;
        let epoch = self.warm.epoch();
        let committed = self.commit(claim, &renewal).await;
        let name = &claim.connection().name;
        match committed {
            Committed::Done(loaded) => {
                self.release_client(&prepared.client).await;
                if let Some(failure) = unusable {
                    tracing::error!(
                        connection = %name, generation = loaded.record.generation,
                        correlation_id, detail = failure.detail,
                        "provider answered with success but without a usable token; its refresh token is kept"
                    );
                    self.warm.keep(epoch, &Arc::new(*loaded));
                    return Err(RefreshError::Failed(failure));
                }
                told_of_success(&loaded.record, correlation_id.as_deref());
                Ok(self.kept(*loaded))
            }
            // The place for siblings: another answer of the same consent came first, and this one is good too.
            Committed::Superseded(loaded) => {
                tracing::warn!(connection = %name, generation = loaded.record.generation, correlation_id,
                    "another answer was committed first; this one is dropped");
                Ok(self.kept(*loaded))
            }
            // The place for orphans: what cannot be kept is to be revoked at the provider.
            Committed::Orphaned => {
                tracing::warn!(connection = %name, correlation_id,
                    "connection ended while its answer was on the way; revoke it at the provider if it should not live on");
                Err(RefreshError::Orphaned)
            }
        }
    }

    /// Tries until the store takes the answer: giving up would lose a refresh token. The place for escrow.
    async fn commit(&self, claim: &Claim, renewal: &Renewal) -> Committed {
        let mut pause = COMMIT_PAUSE;
        for turn in 0.. {
            match self.ledger.commit(claim, renewal).await {
                Ok(committed) => return committed,
                Err(err) => {
                    if turn == 2 {
                        tracing::error!(connection = %claim.connection().name, cause = %err,
                            "a new token could not be stored yet; it is held in memory and tried again, do not stop this process");
                    }
                }
            }
            tokio::time::sleep(jittered(pause, renewal.attempt, renewal.seen.generation, turn)).await;
            pause = (pause * 2).min(COMMIT_PAUSE_MAX);
        }
        unreachable!("the loop has no end but its return")
    }

    async fn give_up(
        &self,
        claim: &Claim,
        prepared: &Prepared,
        failure: &Failure,
    ) -> Result<(), RefreshError> {
        if failure.class == Class::Client {
            self.hold_client(&prepared.client, failure).await;
        }
        let mut pause = COMMIT_PAUSE;
        for turn in 0..FAIL_TRIES {
            match self.ledger.fail(claim, failure, &prepared.profile).await {
                Ok(None) => return Ok(()),
                Ok(Some(loaded)) => {
                    told_of_failure(&loaded.record, failure);
                    self.kept(loaded);
                    return Ok(());
                }
                Err(StoreError::Unavailable { .. }) => {}
                Err(err) => return Err(err.into()),
            }
            tokio::time::sleep(jittered(pause, claim.attempt().id, 0, turn)).await;
            pause *= 2;
        }
        tracing::warn!(connection = %claim.connection().name, detail = failure.detail,
            "a failed exchange could not be written down; its lease ends by itself");
        Ok(())
    }

    /// Stops all connections of a refused client for a while: none of their grants is at fault.
    async fn hold_client(&self, client: &Loaded<Client>, failure: &Failure) {
        let name = &client.record.name;
        let held = self.ledger.amend(
            name,
            || RefreshError::NoClient(name.clone()),
            |record: &mut Client, now| {
                let others = record.hold != client.record.hold;
                if others && record.held(now.store).is_some() {
                    return Ok(());
                }
                let failures = record.hold.as_ref().map_or(0, |hold| hold.failures) + 1;
                let pause = HOLD.saturating_mul(1 << (failures - 1).min(16)).min(HOLD_MAX);
                record.hold = Some(Hold {
                    until: now.store.plus(pause),
                    code: failure.code.clone(),
                    correlation_id: failure.correlation_id.clone(),
                    at: now.here,
                    failures,
                });
                Ok(())
            },
        );
        match held.await {
            Ok(_) => {
                tracing::error!(client = %name, code = failure.code, correlation_id = failure.correlation_id,
                "provider refuses this client; its connections wait and keep their grants; check client id and secret");
            }
            Err(err) => {
                tracing::warn!(client = %name, cause = %err, "refused client could not be put on hold");
            }
        }
    }

    /// A success ends the hold.
    async fn release_client(&self, client: &Loaded<Client>) {
        if client.record.hold.is_none() {
            return;
        }
        let name = &client.record.name;
        let released = self.ledger.amend(
            name,
            || RefreshError::NoClient(name.clone()),
            |record: &mut Client, _| {
                record.hold = None;
                Ok(())
            },
        );
        match released.await {
            Ok(_) => tracing::info!(client = %name, "provider accepts this client again"),
            Err(err) => tracing::warn!(client = %name, cause = %err, "hold of a client could not be lifted"),
        }
    }

    fn kept(&self, loaded: Loaded<Connection>) -> Arc<Loaded<Connection>> {
        let loaded = Arc::new(loaded);
        self.warm.keep(self.warm.epoch(), &loaded);
        loaded
    }
}

/// What was granted needs no asking; before that, what the connection was created for.
fn scopes_to_ask(connection: &Connection) -> &[String] {
    match connection.grant {
        GrantKind::ClientCredentials => &connection.requested_scopes,
        GrantKind::RefreshToken
        | GrantKind::AuthorizationCode
        | GrantKind::DeviceCode
        | GrantKind::Password
        | GrantKind::Otp
        | GrantKind::CompanyRequestToken
        | GrantKind::JwtBearer
        | GrantKind::TokenExchange => {
            if connection.generation == 0 {
                &connection.requested_scopes
            } else {
                &[]
            }
        }
    }
}

fn stored_grant(connection: &Connection, keys: &OwnerKeys) -> Result<Grant, SealError> {
    match &connection.refresh_token {
        None => Ok(Grant::ClientCredentials),
        Some(sealed) => {
            let resource = connection.name.to_string();
            Ok(Grant::RefreshToken(keys.open(&place(&resource, connection, connection.generation), sealed)?))
        }
    }
}

fn place<'a>(resource: &'a str, connection: &Connection, generation: u64) -> Place<'a> {
    Place { resource, family: connection.family, generation }
}

/// The stored grant did not open: nothing was sent, and a person has to look at the store.
fn unopened() -> Failure {
    Failure {
        class: Class::Configuration,
        reason: None,
        code: None,
        status: None,
        retry_after: None,
        correlation_id: None,
        detail: "stored refresh token does not open",
    }
}

fn renewal(claim: &Claim, prepared: &Prepared, spent: &Grant, answer: Answer) -> Result<Renewal, SealError> {
    let connection = claim.connection();
    let generation = connection.generation + 1;
    let resource = connection.name.to_string();
    let place = place(&resource, connection, generation);
    let keys = &prepared.keys;
    let (present, previous) = successor(spent, answer.refresh_token);
    Ok(Renewal {
        attempt: claim.attempt().id,
        seen: Seen { family: connection.family, generation: connection.generation },
        refresh_token: present.map(|token| keys.seal(&place, &token)).transpose()?,
        previous: previous.map(|token| keys.seal(&place, &token)).transpose()?,
        refresh_expires_at: answer.refresh_expires_at,
        token: match answer.access {
            Ok(issued) => Ok(token(connection, &prepared.profile, generation, &issued, keys, &place)?),
            Err(failure) => Err(failure),
        },
        scopes: answer.scopes,
        api_base_url: answer.api_base_url,
        principal: answer.principal,
    })
}

/// The refresh token from now on, and the one that it replaced.
fn successor(
    spent: &Grant,
    answered: Option<RefreshToken>,
) -> (Option<RefreshToken>, Option<PreviousRefreshToken>) {
    match (spent, answered) {
        (Grant::RefreshToken(old), Some(new)) if new.0.expose() != old.0.expose() => {
            (Some(new), Some(PreviousRefreshToken::from_secret(old.0.clone())))
        }
        (Grant::RefreshToken(old), _) => (Some(old.clone()), None),
        // RFC 6749 §4.4.3: there is none with client credentials; one that comes all the same is not needed.
        (Grant::ClientCredentials, _) => (None, None),
        (Grant::CompanyRequestToken { .. }, answered) => (answered, None),
    }
}

fn token(
    connection: &Connection,
    profile: &Profile,
    generation: u64,
    issued: &Issued,
    keys: &OwnerKeys,
    place: &Place<'_>,
) -> Result<Token, SealError> {
    let (from, to) = (issued.issued_at, issued.expires_at);
    let points = points(connection.uid, generation, from, to, profile.overlap);
    Ok(Token {
        sealed: keys.seal(place, &issued.access_token)?,
        generation,
        issued_at: from,
        expires_at: to,
        soft_at: points.soft_at,
        hard_at: points.hard_at,
        overlap: profile.overlap,
    })
}

fn told_of_success(connection: &Connection, correlation_id: Option<&str>) {
    let lifetime = connection.token.as_ref().map_or(Duration::ZERO, Token::lifetime);
    tracing::info!(
        connection = %connection.name,
        generation = connection.generation,
        lifetime_s = lifetime.as_secs(),
        next_refresh = connection.token.as_ref().map(|token| token.soft_at.to_string()),
        api_base_url = connection.api_base_url,
        correlation_id,
        "token refreshed"
    );
}

fn told_of_failure(connection: &Connection, failure: &Failure) {
    let (name, class) = (&connection.name, failure.class);
    let retry = connection.due.map(|due| due.to_string());
    if connection.state == State::NeedsReauthorization {
        let reason = connection.reason.as_ref().map(|reason| reason.reason.word());
        tracing::error!(connection = %name, reason, code = failure.code, correlation_id = failure.correlation_id,
            "grant is over; authorize the connection again");
    } else if connection.failures >= 3 {
        // Said twice; from here on it is for who looks for it.
        tracing::debug!(connection = %name, %class, code = failure.code, status = failure.status,
            detail = failure.detail, failures = connection.failures, retry, "exchange failed again");
    } else {
        tracing::warn!(connection = %name, %class, code = failure.code, status = failure.status,
            correlation_id = failure.correlation_id, detail = failure.detail, retry, "exchange failed");
    }
}

impl From<&Hold> for LastFailure {
    fn from(hold: &Hold) -> Self {
        Self {
            class: Class::Client,
            code: hold.code.clone(),
            correlation_id: hold.correlation_id.clone(),
            at: hold.at,
        }
    }
}

/// Takes the flight off the board however it ends, panics included.
struct Landing {
    parts: Arc<Parts>,
    name: ConnectionName,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.parts.board.lock().remove(&self.name);
    }
}
