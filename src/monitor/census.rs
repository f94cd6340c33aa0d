//! Counts the connections in the store, again and again and never fast: how many there are in which state, and which token
//! expires first. Every replica counts for itself, so that none has to know of the others. Decides nothing.

use crate::{
    clock::Timestamp,
    domain::connection::{Connection, State},
    store::{
        StoreError,
        ledger::Ledger,
        records::{CONNECTIONS, prefix},
    },
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// From the begin of a count to that of the next, at least.
const EVERY: Duration = Duration::from_secs(15);
/// Records that are read together.
const PAGE: usize = 250;
/// Between two pages: 500 records a second are read at most.
const PAUSE: Duration = Duration::from_millis(500);
/// Providers that are told apart; there are as many as profiles were ever used.
const PROVIDERS_MAX: usize = 256;
const OTHERS: &str = "_OTHER";

/// What a count came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// When it began.
    pub(super) at: Timestamp,
    pub(super) connections: BTreeMap<String, BTreeMap<&'static str, u64>>,
    pub(super) unreadable: u64,
    /// By provider, of active connections.
    pub(super) token_ends: BTreeMap<String, Timestamp>,
    pub(super) refresh_token_ends: BTreeMap<String, Timestamp>,
}

impl Count {
    pub(super) fn add(&mut self, connection: &Connection) {
        let name = connection.provider.0.to_string();
        let known = self.connections.len() < PROVIDERS_MAX || self.connections.contains_key(&name);
        let provider = if known { name } else { OTHERS.to_owned() };
        *self.connections.entry(provider.clone()).or_default().entry(connection.state.word()).or_default() +=
            1;
        if connection.state != State::Active {
            return;
        }
        let token = connection.token.as_ref().map(|token| token.expires_at);
        sooner(&mut self.token_ends, &provider, token);
        sooner(&mut self.refresh_token_ends, &provider, connection.refresh_expires_at);
    }
}

fn sooner(ends: &mut BTreeMap<String, Timestamp>, provider: &str, end: Option<Timestamp>) {
    let Some(end) = end else { return };
    match ends.get_mut(provider) {
        Some(soonest) => *soonest = end.min(*soonest),
        None => drop(ends.insert(provider.to_owned(), end)),
    }
}

/// The last count that came to its end.
#[derive(Debug, Default)]
pub struct Census(Mutex<Option<Arc<Count>>>);

impl Census {
    pub(super) fn last(&self) -> Option<Arc<Count>> {
        self.0.lock().clone()
    }

    /// Counts until `stop`. A count that the store breaks off is begun anew.
    pub async fn keep_counting(self: Arc<Self>, ledger: Arc<Ledger>, stop: CancellationToken) {
        loop {
            let next = Instant::now() + EVERY;
            let counted = tokio::select! {
                () = stop.cancelled() => return,
                counted = count(&ledger) => counted,
            };
            // The outage is told elsewhere; how old the last count is, is shown.
            if let Ok(count) = counted {
                *self.0.lock() = Some(Arc::new(count));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }
}

async fn count(ledger: &Ledger) -> Result<Count, StoreError> {
    let mut count = Count { at: ledger.now().here, ..Count::default() };
    let mut after = None;
    loop {
        let page = ledger.counted::<Connection>(&prefix(CONNECTIONS, None), after.as_ref(), PAGE).await?;
        page.found.iter().for_each(|connection| count.add(connection));
        count.unreadable += page.unreadable;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(count),
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples;

    #[test]
    fn connections_count_by_state_and_only_active_ones_run_out() {
        let mut count = Count::default();
        let mut one = samples::connection();
        one.state = State::Active;
        count.add(&one);
        let first = one.token.as_ref().unwrap().expires_at;
        let sooner = first.minus(Duration::from_secs(60));
        one.token.as_mut().unwrap().expires_at = sooner;
        one.refresh_expires_at = Some(Timestamp::from_secs(77));
        count.add(&one);
        one.state = State::Revoked;
        one.token.as_mut().unwrap().expires_at = Timestamp::from_secs(1);
        count.add(&one);
        let provider = one.provider.0.to_string();
        let states: Vec<_> =
            count.connections[&provider].iter().map(|(state, count)| (*state, *count)).collect();
        assert_eq!(states, [(State::Active.word(), 2), (State::Revoked.word(), 1)]);
        assert_eq!(count.token_ends[&provider], sooner);
        assert_eq!(count.refresh_token_ends[&provider], Timestamp::from_secs(77));
    }

    #[test]
    fn providers_are_bounded_and_no_connection_is_left_out() {
        let mut count = Count::default();
        let mut one = samples::connection();
        for number in 0..PROVIDERS_MAX + 40 {
            one.provider = format!("providers/p{number}").parse().unwrap();
            count.add(&one);
        }
        assert_eq!(count.connections.len(), PROVIDERS_MAX + 1);
        assert_eq!(count.connections[OTHERS].values().sum::<u64>(), 40);
    }
}
