//! What every simulated server has in common: its behaviour, keys, refresh tokens, ordered failures and journal,
//! and the course of every request: read it, let a fault strike, carry it out, note it down.
//! Plain data and pure functions: no clock, no socket, no task.

use super::{
    SimulatorError,
    dice::Dice,
    exchange::{Answer, Request},
    fault::{Facts, FaultQueue, Verdict},
    journal::{Ended, Ending, Journal},
    patched,
    refresh_tokens::{Handed, Owner, RefreshRules, RefreshTokens, Spent},
    signing::{KeyRing, SigningKey},
};
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;

/// Connections made in one order at most.
pub const SEEDED_MAX: usize = 100_000;

/// The state of one kind of authorization server, and how it decides.
pub trait World: Serialize + DeserializeOwned + Send + 'static {
    /// The switches that can be turned while it runs.
    type Behaviour: Behaviour;
    /// A refusal in the provider's words.
    type Refusal: Clone + Serialize + DeserializeOwned + Send;
    /// What the control endpoint can be told beyond what is common to all.
    type Order: DeserializeOwned;
    /// A request that was read.
    type Call;

    fn basics(&self) -> &Basics<Self::Behaviour, Self::Refusal>;
    fn basics_mut(&mut self) -> &mut Basics<Self::Behaviour, Self::Refusal>;
    /// Reads a request; changes nothing but the dice and keys.
    fn read(&mut self, now: Timestamp, request: &Request) -> (Facts, Self::Call);
    fn carry_out(&mut self, now: Timestamp, request: &Request, call: &Self::Call) -> Outcome<Self::Refusal>;
    /// The answer to a refusal, and the word for it in the journal.
    fn refuse(&self, call: &Self::Call, refusal: &Self::Refusal) -> (Answer, String);
    /// Adds what every answer bears.
    fn finish(&self, call: Self::Call, answer: Answer) -> Answer;
    fn obey(&mut self, now: Timestamp, order: Self::Order) -> Result<Value, SimulatorError>;
    /// Forgets what is not in the basics.
    fn forget(&mut self);
}

/// Switches of which the refresh tokens' are a part.
pub trait Behaviour: Clone + Serialize + DeserializeOwned + Send {
    fn refresh_rules(&self) -> &RefreshRules;
}

/// What every world holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Basics<B, R> {
    pub(super) behaviour: B,
    /// The base URI of each site.
    #[serde(skip)]
    pub(super) bases: BTreeMap<String, String>,
    pub(super) dice: Dice,
    pub(super) refresh_tokens: RefreshTokens,
    keys: KeyRing,
    faults: FaultQueue<R>,
    journal: Journal,
}

pub(super) type Outcome<R> = Result<Done, Stop<R>>;

/// A request that was carried out.
pub struct Done {
    pub(super) answer: Answer,
    pub(super) ending: Ending,
}

impl Done {
    pub(super) fn refused(status: u16, text: &str) -> Self {
        Self { answer: Answer::text(status, text), ending: Ending::Refused }
    }
}

/// Why a request was not carried out.
pub enum Stop<R> {
    Refused(R),
    /// The simulator itself failed.
    Broken,
}

impl<R> From<SimulatorError> for Stop<R> {
    fn from(error: SimulatorError) -> Self {
        tracing::error!(error = %error, "simulator could not answer");
        Self::Broken
    }
}

pub(super) fn require_seedable(count: usize) -> Result<(), SimulatorError> {
    if count > SEEDED_MAX {
        return Err(SimulatorError::Invalid(format!("at most {SEEDED_MAX} connections in one order")));
    }
    Ok(())
}

/// Answers one request: the whole server as a pure function.
pub(super) fn answer<W: World>(world: &mut W, now: Timestamp, request: &Request) -> Answer {
    let (facts, call) = world.read(now, request);
    let (verdict, delay) = world.basics_mut().faults.strike(&facts);
    let (mut answer, ended) = match verdict {
        Verdict::Instead(answer) => noted(answer, None, Ending::Failed),
        Verdict::Refuse(refusal) => refused(world, &call, &refusal),
        Verdict::Proceed(spoil) => {
            let (answer, mut ended) = match world.carry_out(now, request, &call) {
                Ok(Done { answer, ending }) => noted(answer, None, ending),
                Err(Stop::Refused(refusal)) => refused(world, &call, &refusal),
                Err(Stop::Broken) => noted(Answer::text(500, "signing failed"), None, Ending::Failed),
            };
            ended.lost = spoil.loses();
            (spoil.apply(answer), ended)
        }
    };
    world.basics_mut().journal.record(now, facts, ended);
    answer.delay = delay;
    world.finish(call, answer)
}

fn refused<W: World>(world: &W, call: &W::Call, refusal: &W::Refusal) -> (Answer, Ended) {
    let (answer, code) = world.refuse(call, refusal);
    noted(answer, Some(code), Ending::Refused)
}

fn noted(answer: Answer, code: Option<String>, ending: Ending) -> (Answer, Ended) {
    let ended = Ended { status: answer.status, code, ending, lost: false };
    (answer, ended)
}

impl<B: Behaviour, R: Clone> Basics<B, R> {
    pub(super) fn new(behaviour: B, seed: Option<u64>) -> Self {
        Self {
            behaviour,
            bases: BTreeMap::new(),
            dice: Dice::new(seed),
            refresh_tokens: RefreshTokens::default(),
            keys: KeyRing::default(),
            faults: FaultQueue::new(),
            journal: Journal::default(),
        }
    }

    pub(super) fn base(&self, site: &str) -> String {
        self.bases.get(site).cloned().unwrap_or_default()
    }

    pub(super) fn key(&mut self, site: &str) -> Result<&SigningKey, SimulatorError> {
        let dice = &mut self.dice;
        self.keys.of(site, || (1_400_000_000 + dice.roll() % 100_000_000).to_string())
    }

    /// The keys of a site, as published.
    pub(super) fn jwks(&mut self, site: &str) -> Result<Done, SimulatorError> {
        Ok(Done { answer: Answer::json(200, &self.key(site)?.jwks()), ending: Ending::Served })
    }

    pub(super) fn issue(&mut self, now: Timestamp, owner: Owner) -> Handed {
        self.refresh_tokens.issue(now, self.behaviour.refresh_rules(), &mut self.dice, owner)
    }

    pub(super) fn exchange(&mut self, now: Timestamp, token: &str) -> Result<Handed, Spent> {
        self.refresh_tokens.exchange(now, self.behaviour.refresh_rules(), &mut self.dice, token)
    }

    pub(super) fn faults(&mut self) -> &mut FaultQueue<R> {
        &mut self.faults
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn change_behaviour(&mut self, change: &Value) -> Result<(), SimulatorError> {
        self.behaviour = patched(&self.behaviour, change)?;
        Ok(())
    }

    /// Keeps sites, keys and behaviour.
    pub(super) fn forget(&mut self) {
        self.refresh_tokens = RefreshTokens::default();
        self.faults = FaultQueue::new();
        self.journal = Journal::default();
    }
}
