//! How much callers may ask of this process: how often, and how much of it at once. What is answered from memory never
//! stands behind what waits for something: both have places of their own, and whoever finds none is told so at once.
//! Never decides who may do what.

mod bucket;
mod callers;
mod crowd;
mod seat;

pub use bucket::Strikes;
pub use seat::{Entered, Seat, Stream};

use crate::{
    access::{Caller, Rate},
    domain::names::Owner,
};
use callers::Callers;
use crowd::Crowd;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// What part of the calls that wait for nothing may wait for who their caller is, all the same: an eighth.
const RECOGNISING_PART: usize = 8;
/// When to ask again where places were taken: calls that wait end within seconds, others within milliseconds.
const RETRY: Duration = Duration::from_secs(1);

/// The bounds. A rate of 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Calls at once that wait for nothing but this process.
    pub calls: usize,
    /// Calls at once of one caller, of both kinds.
    pub calls_per_caller: usize,
    /// Calls at once that wait for the store, a provider or the disk. They take no place of the others.
    pub waiting: usize,
    pub waiting_per_caller: usize,
    pub waiting_per_tenant: usize,
    /// Streams of one caller that are open at once.
    pub streams_per_caller: usize,
    /// Calls of nobody in a second on one connection.
    pub strangers: u32,
    pub rates: Rates,
    /// How long a caller has to be silent to have all of its share at once.
    pub burst: Duration,
}

/// Calls of one caller in a second, by what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    pub serve: u32,
    pub read: u32,
    pub write: u32,
    pub exchange: u32,
}

/// Why a call is not begun, or not gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", .which.words())]
pub struct Full {
    pub which: Bound,
    /// When to ask again.
    pub retry: Duration,
}

/// Which bound was met. Each is a key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bound {
    Calls,
    Recognising,
    Waiting,
    CallsPerCaller,
    WaitingPerCaller,
    StreamsPerCaller,
    Rate(Class),
    /// Calls of nobody on one connection.
    Strangers,
    WaitingPerTenant,
}

/// Which bucket of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    Serve,
    Read,
    Write,
    Exchange,
}

/// Who is inside, and how fast they came.
pub struct Limits {
    rules: Rules,
    calls: Arc<Semaphore>,
    recognising: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    tenants: Arc<Crowd<Owner>>,
    callers: Callers,
}

impl Limits {
    pub fn new(rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            calls: Arc::new(Semaphore::new(rules.calls)),
            recognising: Arc::new(Semaphore::new((rules.calls / RECOGNISING_PART).max(1))),
            waiting: Arc::new(Semaphore::new(rules.waiting)),
            tenants: Arc::new(Crowd::new(rules.waiting_per_tenant)),
            callers: Callers::new(rules),
            rules,
        })
    }

    /// First of all: whether there is room for one more call of anybody.
    pub fn enter(self: &Arc<Self>) -> Result<Entered, Full> {
        let room = self.calls.clone().try_acquire_owned().map_err(|_| Full::of(Bound::Calls))?;
        Ok(Entered { limits: self.clone(), room })
    }

    /// Once it is known who calls, and before anything is done for it.
    pub fn admit(&self, entered: Entered, caller: &Caller, rate: Rate) -> Result<Seat, Full> {
        let account = self.callers.account(caller.id());
        let class = Class::of(rate);
        account.spend(class).map_err(|retry| Full { which: Bound::Rate(class), retry })?;
        Seat::take(entered, account, rate)
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

impl Full {
    const fn of(which: Bound) -> Self {
        Self { which, retry: RETRY }
    }
}

impl Class {
    pub const ALL: [Self; 4] = [Self::Serve, Self::Read, Self::Write, Self::Exchange];

    fn of(rate: Rate) -> Self {
        match rate {
            Rate::Serve => Self::Serve,
            Rate::Read | Rate::Watch => Self::Read,
            Rate::Write => Self::Write,
            Rate::Exchange => Self::Exchange,
        }
    }
}

impl Rates {
    const fn of(&self, class: Class) -> u32 {
        match class {
            Class::Serve => self.serve,
            Class::Read => self.read,
            Class::Write => self.write,
            Class::Exchange => self.exchange,
        }
    }
}

impl Bound {
    /// What it is called in the configuration, in errors and on record.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Calls | Self::Recognising => "limits.concurrent_requests",
            Self::Waiting => "limits.waiting_requests",
            Self::CallsPerCaller => "limits.concurrent_requests_per_caller",
            Self::WaitingPerCaller => "limits.waiting_requests_per_caller",
            Self::StreamsPerCaller => "limits.streams_per_caller",
            Self::Rate(Class::Serve) => "limits.serve_per_second",
            Self::Rate(Class::Read) => "limits.read_per_second",
            Self::Rate(Class::Write) => "limits.write_per_second",
            Self::Rate(Class::Exchange) => "limits.exchange_per_second",
            Self::Strangers => "limits.strangers_per_second",
            Self::WaitingPerTenant => "limits.waiting_requests_per_tenant",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Calls => "this replica answers as many calls as it may: ask again, or another replica",
            Self::Recognising => {
                "this replica is finding out who calls in as many calls as it may: ask again, or another replica"
            }
            Self::Waiting => {
                "this replica waits for its store and for providers in as many calls as it may: ask again, or \
                 another replica"
            }
            Self::CallsPerCaller => {
                "the caller has as many calls under way as it may: wait for answers before asking more"
            }
            Self::WaitingPerCaller => {
                "the caller has as many calls under way as it may that wait for the store or a provider: wait for \
                 answers before asking more"
            }
            Self::StreamsPerCaller => "the caller has as many streams open as it may: close one first",
            Self::Rate(Class::Serve) => {
                "the caller asks for tokens faster than it may: keep a token until it has nearly expired"
            }
            Self::Rate(Class::Read | Class::Write | Class::Exchange) => {
                "the caller makes calls of this kind faster than it may: spread them"
            }
            Self::Strangers => {
                "too many calls on this connection did not prove who calls: mend the credentials first"
            }
            Self::WaitingPerTenant => {
                "as many calls for this tenant as may wait for the store or a provider: ask again"
            }
        }
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
