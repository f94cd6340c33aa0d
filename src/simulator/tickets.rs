//! Credentials that are good once and for a short time: authorization codes, device codes, one-time passwords,
//! request URIs. Knows neither what they are for nor what a refusal looks like.

use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Tickets kept at most; the one that ends first makes room.
pub(super) const TICKETS_MAX: usize = 10_000;

/// What each ticket stands for, by its text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Tickets<T>(BTreeMap<String, Ticket<T>>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ticket<T> {
    stands_for: T,
    expires_at: Timestamp,
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Tickets<T> {
    pub(super) fn keep(&mut self, now: Timestamp, text: String, stands_for: T, seconds: u64) {
        self.0.retain(|_, ticket| ticket.expires_at > now);
        while self.0.len() >= TICKETS_MAX {
            let first = self.0.iter().min_by_key(|(_, ticket)| ticket.expires_at);
            let Some(first) = first.map(|(text, _)| text.clone()) else { break };
            self.0.remove(&first);
        }
        let expires_at = now.plus(Duration::from_secs(seconds));
        self.0.insert(text, Ticket { stands_for, expires_at });
    }

    /// One that is good still.
    pub(super) fn good(&self, now: Timestamp, text: &str) -> Option<&T> {
        self.0.get(text).filter(|ticket| ticket.expires_at > now).map(|ticket| &ticket.stands_for)
    }

    pub(super) fn good_mut(&mut self, now: Timestamp, text: &str) -> Option<&mut T> {
        let ticket = self.0.get_mut(text).filter(|ticket| ticket.expires_at > now);
        ticket.map(|ticket| &mut ticket.stands_for)
    }

    /// Also one that has run out, as long as it is remembered.
    pub(super) fn known(&self, text: &str) -> Option<&T> {
        self.0.get(text).map(|ticket| &ticket.stands_for)
    }

    pub(super) fn spend(&mut self, text: &str) {
        self.0.remove(text);
    }

    pub(super) fn all_good(&self, now: Timestamp) -> impl Iterator<Item = (&str, &T)> {
        let good = self.0.iter().filter(move |(_, ticket)| ticket.expires_at > now);
        good.map(|(text, ticket)| (text.as_str(), &ticket.stands_for))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_ends_by_the_clock_or_when_it_is_spent() {
        let at = Timestamp::from_secs;
        let mut tickets = Tickets::default();
        tickets.keep(at(0), "a".to_owned(), 1, 10);
        tickets.keep(at(0), "b".to_owned(), 2, 20);
        assert_eq!((tickets.good(at(9), "a"), tickets.good(at(10), "a")), (Some(&1), None));
        assert_eq!(tickets.known("a"), Some(&1));
        assert_eq!(tickets.all_good(at(10)).collect::<Vec<_>>(), [("b", &2)]);
        tickets.spend("b");
        assert_eq!(tickets.good(at(0), "b"), None);
    }

    #[test]
    fn they_are_bounded_and_the_first_to_end_makes_room() {
        let mut tickets = Tickets::default();
        for number in 0..=TICKETS_MAX as u64 {
            tickets.keep(Timestamp(0), number.to_string(), number, 100 + number);
        }
        assert_eq!(tickets.all_good(Timestamp(0)).count(), TICKETS_MAX);
        assert_eq!((tickets.known("0"), tickets.known("1")), (None, Some(&1)));
    }
}
