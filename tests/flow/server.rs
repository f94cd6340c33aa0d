//! An authorization server that rotates strictly: every refresh token is good for one exchange. It does what the
//! script says, counts, and minds two rules: no token twice, no two exchanges of one connection at once.

use async_trait::async_trait;
use bursar::{
    clock::{Clock, Timestamp},
    domain::{
        asking::Known,
        client::HoldReason,
        connection::{Connection, Principal, PrincipalKind},
        credential::Said,
        failure::{Class, Failure},
        finding::Finding,
        names::{ConnectionName, ProviderName},
        profile::Profile,
        rotation::{Listed, Status},
        token::{AccessToken, ClientSecret, RefreshToken, Secret},
    },
    provider::{
        Answer, Binding, Check, Endpoint, Exchange, Grant, Identity, Issued, Managed, ManagingSecrets, Proof,
        Provider, Question, Revocation, Revoked, SecretStep,
        authorization::{DeviceCode, Prelude, Preparation, Prepared},
    },
    store::claim::Claim,
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::Range,
    sync::Arc,
    time::Duration,
};
use tokio::time::sleep;

pub(crate) const DELAY: Duration = Duration::from_millis(200);

/// What becomes of one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    Good,
    Fail(Class),
    /// Refused with this code.
    Code(&'static str, Class),
    /// The server is told to wait so long.
    RetryAfter(Duration),
    /// The refresh token is used up, and the answer does not arrive.
    Lost,
    /// The process that exchanges breaks down before the server sees anything.
    Panic,
    /// As `Panic`, after the server used up the refresh token.
    PanicAfterwards,
    /// A success with a new refresh token and nothing else.
    Malformed,
    /// A success after so long.
    Late(Duration),
}

/// Whether an answer has a refresh token in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshTokens {
    Given,
    Withheld,
}

/// What it says of a refresh token when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    Truth,
    Nothing,
    /// It knows access tokens only, and calls whatever it does not know inactive.
    Inactive,
}

pub(crate) struct Server {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    lifetime: Duration,
    down: Vec<Range<Timestamp>>,
    /// Tries with this provider are never answered.
    hangs: Option<ProviderName>,
    script: VecDeque<Say>,
    always: Say,
    /// The client secrets that it knows; any, when there are none.
    secrets: Vec<String>,
    refresh_tokens: RefreshTokens,
    /// Answers per connection: its good refresh token is `rt{answers}`.
    answers: HashMap<ConnectionName, u32>,
    tries: Vec<(ConnectionName, Timestamp)>,
    /// Of each try: what it asked for, and what its answer is held against.
    scopes: Vec<[Vec<String>; 2]>,
    grants: Option<Vec<String>>,
    open: HashSet<ConnectionName>,
    revoked: u32,
    tells: Tells,
    questions: usize,
    metadata_fails: Vec<Class>,
    metadata_asked: usize,
    metadata_takes: Duration,
    spent_twice: u32,
    side_by_side: u32,
    principal: Option<Principal>,
    identity: Option<Identity>,
    managed: Vec<ManagedSecret>,
    managing: usize,
    breaks: Option<(usize, Break)>,
}

/// A secret of the client, as the server's own administration has it.
#[derive(Debug, Clone)]
pub(crate) struct ManagedSecret {
    id: String,
    pub(crate) value: String,
    pub(crate) active: bool,
}

/// Which half of a step is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Nothing reached the server.
    Before,
    /// It was done, and nobody heard of it.
    After,
}

impl State {
    /// As strict as a server can be: two active ones at most, an active one is not deleted.
    fn manage(&mut self, step: &SecretStep<'_>) -> Result<Managed, Failure> {
        let place = |all: &[ManagedSecret], id: &str| {
            all.iter().position(|one| one.id == id).ok_or_else(|| failure(Class::Configuration))
        };
        match step {
            SecretStep::List => {
                let status = |active| if active { Status::Active } else { Status::Inactive };
                let listed =
                    self.managed.iter().map(|one| Listed { id: one.id.clone(), status: status(one.active) });
                return Ok(Managed::Listed(listed.collect()));
            }
            SecretStep::Create => {
                let number = self.managing;
                let (id, value) = (format!("id-{number}"), format!("value-{number}"));
                self.managed.push(ManagedSecret { id: id.clone(), value: value.clone(), active: false });
                return Ok(Managed::Created { id, value: ClientSecret(Secret::new(value)) });
            }
            SecretStep::Activate(id) => {
                let at = place(&self.managed, id)?;
                self.managed[at].active = true;
                assert!(self.managed.iter().filter(|one| one.active).count() <= 2);
            }
            SecretStep::Prove => {}
            SecretStep::Deactivate(id) => {
                let at = place(&self.managed, id)?;
                self.managed[at].active = false;
            }
            SecretStep::Delete(id) => {
                let Ok(at) = place(&self.managed, id) else { return Ok(Managed::Done) };
                assert!(!self.managed[at].active, "an active secret is not deleted");
                self.managed.remove(at);
            }
        }
        Ok(Managed::Done)
    }
}

impl Server {
    /// Lets the client manage its secrets, of which it has this one; the step of that number breaks off.
    pub(crate) fn manages(&self, value: &str, breaks: Option<(usize, Break)>) {
        let mut state = self.state.lock();
        state.managed = vec![ManagedSecret { id: "id-first".into(), value: value.into(), active: true }];
        state.breaks = breaks;
    }

    /// The secrets that the server has, and how many steps were asked of it.
    pub(crate) fn managed(&self) -> (Vec<ManagedSecret>, usize) {
        let state = self.state.lock();
        (state.managed.clone(), state.managing)
    }

    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            lifetime: Duration::from_secs(3600),
            down: Vec::new(),
            hangs: None,
            script: VecDeque::new(),
            always: Say::Good,
            secrets: Vec::new(),
            refresh_tokens: RefreshTokens::Given,
            answers: HashMap::new(),
            tries: Vec::new(),
            scopes: Vec::new(),
            grants: None,
            open: HashSet::new(),
            revoked: 0,
            tells: Tells::Truth,
            questions: 0,
            metadata_fails: Vec::new(),
            metadata_asked: 0,
            metadata_takes: Duration::ZERO,
            spent_twice: 0,
            side_by_side: 0,
            managed: Vec::new(),
            managing: 0,
            breaks: None,
            principal: None,
            identity: None,
        };
        Self { clock, state: Mutex::new(state) }
    }

    /// The next tries, one after the other.
    pub(crate) fn then(&self, says: impl IntoIterator<Item = Say>) {
        self.state.lock().script.extend(says);
    }

    /// Every try that the script does not speak of.
    pub(crate) fn always(&self, say: Say) {
        self.state.lock().always = say;
    }

    /// Down for so long, beginning so much later.
    pub(crate) fn down(&self, begins_in: Duration, lasts: Duration) {
        let from = self.clock.now().plus(begins_in);
        self.state.lock().down.push(from..from.plus(lasts));
    }

    /// From now on; `None`: none of them.
    pub(crate) fn hangs(&self, provider: Option<&str>) {
        self.state.lock().hangs = provider.map(|provider| provider.parse().unwrap());
    }

    pub(crate) fn tokens_live(&self, lifetime: Duration) {
        self.state.lock().lifetime = lifetime;
    }

    pub(crate) fn knows_secrets(&self, secrets: &[&str]) {
        self.state.lock().secrets = secrets.iter().map(ToString::to_string).collect();
    }

    pub(crate) fn withholds_refresh_tokens(&self) {
        self.state.lock().refresh_tokens = RefreshTokens::Withheld;
    }

    /// Tokens are for this user from now on.
    pub(crate) fn speaks_for(&self, user: &str) {
        let principal = Principal { kind: PrincipalKind::User, id: user.to_owned() };
        self.state.lock().principal = Some(principal);
    }

    pub(crate) fn grants(&self, scopes: &[&str]) {
        self.state.lock().grants = Some(scopes.iter().map(ToString::to_string).collect());
    }

    /// Of each try: the scopes that it asked for, and beyond which its answer is not believed.
    pub(crate) fn scopes(&self) -> Vec<[Vec<String>; 2]> {
        self.state.lock().scopes.clone()
    }

    /// Whom the `id_token` beside tokens names from now on, and for which client; `None`: there is none.
    pub(crate) fn identifies(&self, user: Option<&str>, client: &str) {
        self.state.lock().identity = user.map(|user| Identity {
            issuer: Some("https://idp.example".to_owned()),
            subject: Some(user.to_owned()),
            audience: vec![client.to_owned()],
            nonce: None,
        });
    }

    pub(crate) fn tries(&self) -> usize {
        self.state.lock().tries.len()
    }

    /// When it was asked, and for which connection.
    pub(crate) fn asked(&self) -> Vec<(ConnectionName, Timestamp)> {
        self.state.lock().tries.clone()
    }

    /// New tokens given, of all connections.
    pub(crate) fn answers(&self) -> u32 {
        self.state.lock().answers.values().sum()
    }

    pub(crate) fn tells(&self, tells: Tells) {
        self.state.lock().tells = tells;
    }

    /// How often it was asked about a refresh token.
    pub(crate) fn questions(&self) -> usize {
        self.state.lock().questions
    }

    /// The next times somebody asks for its endpoints.
    pub(crate) fn metadata_fails(&self, classes: &[Class]) {
        self.state.lock().metadata_fails.extend_from_slice(classes);
    }

    /// So long takes it from now on to be told its endpoints.
    pub(crate) fn metadata_takes(&self, takes: Duration) {
        self.state.lock().metadata_takes = takes;
    }

    pub(crate) fn metadata_asked(&self) -> usize {
        self.state.lock().metadata_asked
    }

    pub(crate) fn revoked(&self) -> u32 {
        self.state.lock().revoked
    }

    /// How often a token came again that was used up: nothing but an answer that was lost explains it.
    pub(crate) fn spent_twice(&self) -> u32 {
        self.state.lock().spent_twice
    }

    fn begin(&self, connection: &Connection, now: Timestamp) -> Say {
        let (name, mut state) = (&connection.name, self.state.lock());
        state.tries.push((name.clone(), now));
        if !state.open.insert(name.clone()) {
            state.side_by_side += 1;
        }
        if state.down.iter().any(|down| down.contains(&now)) {
            return Say::Fail(Class::NotSent);
        }
        if state.hangs.as_ref() == Some(&connection.provider) {
            return Say::Late(Duration::MAX);
        }
        let always = state.always;
        state.script.pop_front().unwrap_or(always)
    }

    /// Uses the token up; `None` if it is not the good one.
    fn spend(&self, name: &ConnectionName, grant: &Grant) -> Option<u32> {
        let mut state = self.state.lock();
        let answers = state.answers.entry(name.clone()).or_default();
        if let Grant::RefreshToken(token) = grant
            && token.0.expose() != format!("rt{answers}")
        {
            state.spent_twice += 1;
            return None;
        }
        *answers += 1;
        Some(*answers)
    }

    fn knows(&self, exchange: &Exchange<'_>) -> bool {
        let known = self.state.lock().secrets.clone();
        exchange.client.credentials.iter().any(|credential| {
            let good = match &credential.proof {
                Proof::Shared(secret) => known.is_empty() || known.iter().any(|one| one == secret.0.expose()),
                Proof::Key(_) | Proof::Certificate(_) => true,
            };
            let said = if good { Said::Accepted } else { Said::Refused };
            exchange.client.verdicts.note(credential.id, said);
            good
        })
    }
}

/// An exchange ends for the server when its connection is closed, however that happens.
struct Open<'a>(&'a Server, ConnectionName);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.state.lock().open.remove(&self.1);
    }
}

#[async_trait]
impl Provider for Server {
    async fn exchange(&self, claim: &Claim, exchange: &Exchange<'_>) -> Result<Answer, Failure> {
        let (name, now) = (claim.connection().name.clone(), self.clock.now());
        let say = self.begin(claim.connection(), now);
        let _open = Open(self, name.clone());
        self.state.lock().scopes.push([exchange.scopes.to_vec(), exchange.granted.to_vec()]);
        sleep(if let Say::Late(late) = say { late } else { DELAY }).await;
        match say {
            Say::Fail(class) => return Err(failure(class)),
            Say::Code(code, class) => return Err(Failure { code: Some(code.to_owned()), ..failure(class) }),
            Say::RetryAfter(after) => {
                return Err(Failure { retry_after: Some(after), ..failure(Class::Throttled) });
            }
            Say::Panic => panic!("the exchanging process breaks down"),
            Say::Good | Say::Lost | Say::PanicAfterwards | Say::Malformed | Say::Late(_) => {}
        }
        if !self.knows(exchange) {
            return Err(Failure { hold: Some(HoldReason::SecretsRefused), ..failure(Class::Client) });
        }
        let Some(n) = self.spend(&name, exchange.grant) else { return Err(failure(Class::Suspect)) };
        assert_ne!(say, Say::PanicAfterwards, "the exchanging process breaks down");
        if say == Say::Lost {
            return Err(failure(Class::Ambiguous));
        }
        let refresh_tokens = self.state.lock().refresh_tokens;
        let issued = Issued {
            access_token: AccessToken(Secret::new(format!("at{n}"))),
            issued_at: now,
            expires_at: now.plus(self.state.lock().lifetime),
            binding: if exchange.dpop.is_some() { Binding::Bound } else { Binding::Bearer },
        };
        let (principal, identity) = {
            let state = self.state.lock();
            (state.principal.clone(), state.identity.clone())
        };
        Ok(Answer {
            refresh_token: match refresh_tokens {
                RefreshTokens::Given => Some(RefreshToken(Secret::new(format!("rt{n}")))),
                RefreshTokens::Withheld => None,
            },
            refresh_expires_at: None,
            access: if say == Say::Malformed { Err(failure(Class::Malformed)) } else { Ok(issued) },
            scopes: self.state.lock().grants.clone(),
            api_base_url: None,
            principal,
            identity,
            correlation_id: None,
        })
    }

    async fn resolved(&self, profile: &Arc<Profile>, _: Endpoint) -> Result<Arc<Profile>, Failure> {
        let takes = self.state.lock().metadata_takes;
        if !takes.is_zero() {
            sleep(takes).await;
        }
        let mut state = self.state.lock();
        if !state.metadata_fails.is_empty() {
            state.metadata_asked += 1;
            return Err(failure(state.metadata_fails.remove(0)));
        }
        Ok(profile.clone())
    }

    async fn check(&self, _: &Check<'_>) -> Vec<Finding> {
        Vec::new()
    }

    async fn introspect(&self, claim: &Claim, question: &Question<'_>) -> Known {
        let mut state = self.state.lock();
        let answers = state.answers.get(&claim.connection().name).copied().unwrap_or_default();
        let good = question.refresh_token.0.expose() == format!("rt{answers}");
        state.questions += 1;
        match state.tells {
            Tells::Nothing => Known::Nothing,
            Tells::Truth if good => Known::Active,
            Tells::Inactive | Tells::Truth => Known::Inactive,
        }
    }

    async fn manage_secrets(&self, managing: &ManagingSecrets<'_>) -> Result<Managed, Failure> {
        let asks = managing.client.credentials.iter().find_map(|credential| match &credential.proof {
            Proof::Shared(secret) => Some(secret.0.expose().to_owned()),
            Proof::Key(_) | Proof::Certificate(_) => None,
        });
        let mut state = self.state.lock();
        let good = asks.is_some_and(|asks| state.managed.iter().any(|one| one.active && one.value == asks));
        if !good {
            return Err(failure(Class::Client));
        }
        let number = state.managing;
        state.managing += 1;
        match state.breaks {
            Some((at, Break::Before)) if at == number => return Err(failure(Class::NotSent)),
            Some(_) | None => {}
        }
        let done = state.manage(&managing.step);
        match state.breaks {
            Some((at, Break::After)) if at == number => Err(failure(Class::Ambiguous)),
            Some(_) | None => done,
        }
    }

    async fn revoke(&self, _: &Revocation<'_>) -> Result<Revoked, Failure> {
        sleep(DELAY).await;
        self.state.lock().revoked += 1;
        Ok(Revoked::Whole)
    }

    async fn prepare(&self, preparation: &Preparation<'_>) -> Result<Prepared, Failure> {
        sleep(DELAY).await;
        Ok(match preparation.ask {
            Prelude::Push(_) => Prepared::Pushed { request_uri: "urn:pushed".to_owned() },
            Prelude::Device { .. } => Prepared::Device(DeviceCode {
                device_code: Secret::new("device-1"),
                user_code: "WDJB-MJHT".to_owned(),
                verification_uri: "https://idp.example/device".to_owned(),
                verification_uri_complete: None,
                expires_in: Duration::from_secs(600),
                interval: Some(Duration::from_secs(5)),
            }),
            Prelude::Otp { .. } => Prepared::OtpSent,
        })
    }
}

pub(crate) fn failure(class: Class) -> Failure {
    Failure {
        class,
        reason: None,
        hold: None,
        code: None,
        status: None,
        retry_after: None,
        correlation_id: None,
        detail: "as the script says",
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.state.lock().side_by_side, 0, "two exchanges of one connection at once");
        }
    }
}
