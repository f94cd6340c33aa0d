//! An authorization server that rotates strictly: every refresh token is good for one exchange. It does what the
//! script says, counts, and minds two rules: no token twice, no two exchanges of one connection at once.

use async_trait::async_trait;
use bursar::{
    clock::{Clock, Timestamp},
    domain::{
        failure::{Class, Failure},
        names::ConnectionName,
        token::{AccessToken, RefreshToken, Secret},
    },
    provider::{Answer, Exchange, Grant, Issued, Provider, Revocation},
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

pub(crate) struct Server {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    lifetime: Duration,
    down: Vec<Range<Timestamp>>,
    script: VecDeque<Say>,
    always: Say,
    /// The client secrets that it knows; any, when there are none.
    secrets: Vec<String>,
    /// Answers per connection: its good refresh token is `rt{answers}`.
    answers: HashMap<ConnectionName, u32>,
    tries: Vec<(ConnectionName, Timestamp)>,
    open: HashSet<ConnectionName>,
    revoked: u32,
    spent_twice: u32,
    side_by_side: u32,
}

impl Server {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            lifetime: Duration::from_secs(3600),
            down: Vec::new(),
            script: VecDeque::new(),
            always: Say::Good,
            secrets: Vec::new(),
            answers: HashMap::new(),
            tries: Vec::new(),
            open: HashSet::new(),
            revoked: 0,
            spent_twice: 0,
            side_by_side: 0,
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

    pub(crate) fn tokens_live(&self, lifetime: Duration) {
        self.state.lock().lifetime = lifetime;
    }

    pub(crate) fn knows_secrets(&self, secrets: &[&str]) {
        self.state.lock().secrets = secrets.iter().map(ToString::to_string).collect();
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

    pub(crate) fn revoked(&self) -> u32 {
        self.state.lock().revoked
    }

    /// How often a token came again that was used up: nothing but an answer that was lost explains it.
    pub(crate) fn spent_twice(&self) -> u32 {
        self.state.lock().spent_twice
    }

    fn begin(&self, name: &ConnectionName, now: Timestamp) -> Say {
        let mut state = self.state.lock();
        state.tries.push((name.clone(), now));
        if !state.open.insert(name.clone()) {
            state.side_by_side += 1;
        }
        if state.down.iter().any(|down| down.contains(&now)) {
            return Say::Fail(Class::NotSent);
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
        known.is_empty()
            || exchange.client.secrets.iter().any(|secret| known.iter().any(|k| k == secret.0.expose()))
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
        let say = self.begin(&name, now);
        let _open = Open(self, name.clone());
        sleep(if let Say::Late(late) = say { late } else { DELAY }).await;
        match say {
            Say::Fail(class) => return Err(failure(class)),
            Say::RetryAfter(after) => {
                return Err(Failure { retry_after: Some(after), ..failure(Class::Throttled) });
            }
            Say::Panic => panic!("the exchanging process breaks down"),
            Say::Good | Say::Lost | Say::PanicAfterwards | Say::Malformed | Say::Late(_) => {}
        }
        if !self.knows(exchange) {
            return Err(failure(Class::Client));
        }
        let Some(n) = self.spend(&name, exchange.grant) else { return Err(failure(Class::Suspect)) };
        assert_ne!(say, Say::PanicAfterwards, "the exchanging process breaks down");
        if say == Say::Lost {
            return Err(failure(Class::Ambiguous));
        }
        let issued = Issued {
            access_token: AccessToken(Secret::new(format!("at{n}"))),
            issued_at: now,
            expires_at: now.plus(self.state.lock().lifetime),
        };
        Ok(Answer {
            refresh_token: Some(RefreshToken(Secret::new(format!("rt{n}")))),
            refresh_expires_at: None,
            access: if say == Say::Malformed { Err(failure(Class::Malformed)) } else { Ok(issued) },
            scopes: None,
            api_base_url: None,
            principal: None,
            correlation_id: None,
        })
    }

    async fn revoke(&self, _: &Revocation<'_>) -> Result<(), Failure> {
        sleep(DELAY).await;
        self.state.lock().revoked += 1;
        Ok(())
    }
}

pub(crate) fn failure(class: Class) -> Failure {
    Failure {
        class,
        reason: None,
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
