//! What a simulator has seen: counters per principal and app, and the latest events.
//! Holds no token, secret or password.

use super::fault::Facts;
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Events kept; older ones are forgotten, their counts stay.
pub const EVENTS_MAX: usize = 4096;

/// Counts since the start or the last reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests for a token, whatever became of them.
    pub token_requests: u64,
    /// First exchanges that succeeded: request tokens, passwords, client credentials.
    pub granted: u64,
    /// Refreshes that succeeded, whether or not the answer arrived.
    pub refreshed: u64,
    /// Requests refused in the provider's own words.
    pub refused: u64,
    /// Requests that a fault kept from taking effect.
    pub failed: u64,
    /// Requests that took effect but whose answer was spoiled or dropped by a fault.
    pub lost: u64,
    /// Old refresh tokens presented after their successor was issued, accepted or not.
    pub double_uses: u64,
    /// Revocations by the client.
    pub revoked: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Granted,
    Refreshed,
    Revoked,
    /// Public information was read, or a message sent.
    Served,
    Refused,
    Failed,
}

/// One request as remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    /// The data centre asked.
    pub site: String,
    /// `token`, `authorize`, …
    #[serde(default)]
    pub endpoint: String,
    /// A grant type, `revoke`, `jwks`, …
    pub grant: String,
    /// How the client showed who it is, as RFC 7591 calls it; also where it was not believed.
    #[serde(default)]
    pub auth: Option<String>,
    /// The thumbprint of the key that a proof of possession named (RFC 9449).
    #[serde(default)]
    pub dpop_jkt: Option<String>,
    /// Origins and paths of resources that were asked for (RFC 8707).
    #[serde(default)]
    pub resource: Vec<String>,
    pub app: Option<String>,
    pub principal: Option<String>,
    pub status: u16,
    /// The provider's word for a refusal: a numeric code or an RFC 6749 error.
    pub code: Option<String>,
    pub ending: Ending,
    /// Whether the answer was spoiled or dropped on its way.
    pub lost: bool,
    pub double_use: bool,
}

/// All counts: in total and by principal and app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub total: Counts,
    /// By principal (company, user or subject), then by app.
    pub principals: BTreeMap<String, BTreeMap<String, Counts>>,
}

impl Counters {
    /// One principal's counts over all apps.
    pub fn of(&self, principal: &str) -> Counts {
        let apps = self.principals.get(&principal.to_ascii_lowercase());
        apps.into_iter().flat_map(BTreeMap::values).fold(Counts::default(), Counts::plus)
    }
}

impl Counts {
    fn plus(self, other: &Self) -> Self {
        Self {
            token_requests: self.token_requests + other.token_requests,
            granted: self.granted + other.granted,
            refreshed: self.refreshed + other.refreshed,
            refused: self.refused + other.refused,
            failed: self.failed + other.failed,
            lost: self.lost + other.lost,
            double_uses: self.double_uses + other.double_uses,
            revoked: self.revoked + other.revoked,
        }
    }

    fn of_event(event: &Event, asked_for_token: bool) -> Self {
        let is = |ending| u64::from(event.ending == ending);
        Self {
            token_requests: u64::from(asked_for_token),
            granted: is(Ending::Granted),
            refreshed: is(Ending::Refreshed),
            refused: is(Ending::Refused),
            failed: is(Ending::Failed),
            lost: u64::from(event.lost),
            double_uses: u64::from(event.double_use),
            revoked: is(Ending::Revoked),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Journal {
    counters: Counters,
    events: VecDeque<Event>,
}

/// How a request ended, for the journal.
pub(super) struct Ended {
    pub(super) status: u16,
    pub(super) code: Option<String>,
    pub(super) ending: Ending,
    pub(super) lost: bool,
}

impl Journal {
    pub(super) fn record(&mut self, now: Timestamp, facts: Facts, ended: Ended) {
        let asked_for_token = facts.endpoint == "token";
        let event = Event {
            at: now,
            site: facts.site,
            endpoint: facts.endpoint.to_owned(),
            grant: facts.grant,
            auth: facts.auth.map(str::to_owned),
            dpop_jkt: facts.dpop_jkt,
            resource: facts.resource,
            app: facts.app,
            principal: facts.principal.map(|name| name.to_ascii_lowercase()),
            status: ended.status,
            code: ended.code,
            double_use: facts.stale && ended.ending != Ending::Failed,
            ending: ended.ending,
            lost: ended.lost,
        };
        let counts = Counts::of_event(&event, asked_for_token);
        self.counters.total = self.counters.total.plus(&counts);
        if let (Some(app), Some(principal)) = (&event.app, &event.principal) {
            let apps = self.counters.principals.entry(principal.clone()).or_default();
            let seen = apps.entry(app.clone()).or_default();
            *seen = seen.plus(&counts);
        }
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_events_are_forgotten_but_stay_counted() {
        let mut journal = Journal::default();
        for second in 0..=EVENTS_MAX as u64 {
            let facts = Facts { grant: "refresh_token".to_owned(), ..Facts::default() };
            let ended = Ended { status: 200, code: None, ending: Ending::Refreshed, lost: false };
            journal.record(Timestamp::from_secs(second), facts, ended);
        }
        assert_eq!(journal.events().count(), EVENTS_MAX);
        assert_eq!(journal.events().next().unwrap().at, Timestamp::from_secs(1));
        assert_eq!(journal.counters().total.refreshed, EVENTS_MAX as u64 + 1);
    }
}
