//! The three steps of an exchange: claim, commit, fail. Each loads, lets a rule of the domain decide, and writes on
//! condition; an answer is written down even where the store has forgotten the claim for it.

use super::{CONFLICTS_MAX, Claimed, Committed, FOR_AN_ANSWER, Ledger, Loaded, Wrote, contended};
use crate::{
    domain::{
        attempt::{self, Ask, Claiming, Committing, Failing, Renewal, Seen},
        connection::{Attempt, Connection, State},
        failure::Failure,
        lifecycle::Moment,
        names::ConnectionName,
        profile::Profile,
    },
    store::{Room, StoreError, claim::Claim},
};
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a claim ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    pub won: u64,
    /// Somebody else was at it.
    pub busy: u64,
    /// There was something newer.
    pub moved: u64,
    pub held: u64,
    pub ended: u64,
}

/// Whether the store has let a claim go unwritten before, with nobody else at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unheard {
    No,
    Once,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    won: AtomicU64,
    busy: AtomicU64,
    moved: AtomicU64,
    held: AtomicU64,
    ended: AtomicU64,
}

impl Counters {
    const fn of(&self, claimed: &Claimed) -> &AtomicU64 {
        match claimed {
            Claimed::Yours(_) => &self.won,
            Claimed::Busy { .. } => &self.busy,
            Claimed::Moved(_) => &self.moved,
            Claimed::Held { .. } => &self.held,
            Claimed::Ended(_) | Claimed::Over { .. } => &self.ended,
        }
    }
}

impl Ledger {
    /// What came of all claims of this process.
    pub fn claims(&self) -> Claims {
        let Counters { won, busy, moved, held, ended } = &self.claims;
        let now = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Claims { won: now(won), busy: now(busy), moved: now(moved), held: now(held), ended: now(ended) }
    }

    /// Asks for the right to spend a connection's grant. `attempt` becomes the open one if it is granted.
    pub async fn claim(
        &self,
        name: &ConnectionName,
        seen: Seen,
        ask: Ask,
        profile: &Profile,
        open: impl Fn(Moment) -> Attempt + Send + Sync,
    ) -> Result<Claimed, StoreError> {
        let claimed = self.asked(name, seen, ask, profile, open).await?;
        self.claims.of(&claimed).fetch_add(1, Ordering::Relaxed);
        Ok(claimed)
    }

    async fn asked(
        &self,
        name: &ConnectionName,
        seen: Seen,
        ask: Ask,
        profile: &Profile,
        open: impl Fn(Moment) -> Attempt + Send + Sync,
    ) -> Result<Claimed, StoreError> {
        let mut unheard = Unheard::No;
        for _ in 0..CONFLICTS_MAX {
            let Some(loaded) = self.read::<Connection>(name).await? else {
                return Ok(Claimed::Ended(State::Revoked));
            };
            let now = self.now_of(&loaded);
            let attempt = open(now);
            match attempt::claim(&loaded.record, seen, attempt.clone(), ask, profile, now) {
                Claiming::Claim(next) => {
                    let wrote = self.update_attempt(&loaded, &next, &attempt, &mut unheard).await?;
                    if let Wrote::Done(version) = wrote {
                        let claim = Claim { connection: *next, attempt, version };
                        return Ok(Claimed::Yours(Box::new(claim)));
                    }
                }
                Claiming::Busy { until } => return Ok(Claimed::Busy { until }),
                Claiming::Moved => return Ok(Claimed::Moved(Box::new(loaded))),
                Claiming::Held { until } => return Ok(Claimed::Held { until }),
                Claiming::Ended(state) => return Ok(Claimed::Ended(state)),
                Claiming::PutOff(next) => {
                    if let Wrote::Done(_) = self.update(&loaded, &*next, Room::Forced).await? {
                        let until = next.due.unwrap_or(now.store);
                        return Ok(Claimed::Held { until });
                    }
                }
                Claiming::Nothing(next) => {
                    if let Wrote::Done(version) = self.update(&loaded, &*next, Room::Forced).await? {
                        let over = loaded.written(*next, version);
                        return Ok(Claimed::Over { before: loaded.record.state, now: Box::new(over) });
                    }
                }
            }
        }
        Err(contended::<Connection>(name))
    }

    /// Writes a claim. A reply that never came is settled by reading again: the attempt's id says whether
    /// the write happened. Where nothing happened for the second time, the store takes no writes.
    async fn update_attempt(
        &self,
        loaded: &Loaded<Connection>,
        next: &Connection,
        attempt: &Attempt,
        unheard: &mut Unheard,
    ) -> Result<Wrote, StoreError> {
        let lost = match self.update(loaded, next, Room::Needed).await {
            Err(lost @ StoreError::Unavailable { .. }) => lost,
            other => return other,
        };
        match self.read::<Connection>(&next.name).await {
            Ok(Some(found)) if found.record.attempt.as_ref().is_some_and(|open| open.id == attempt.id) => {
                Ok(Wrote::Done(found.version))
            }
            Ok(Some(found)) if found.version == loaded.version => {
                match std::mem::replace(unheard, Unheard::Once) {
                    Unheard::No => Ok(Wrote::Conflict),
                    Unheard::Once => Err(lost),
                }
            }
            Ok(_) => Ok(Wrote::Conflict),
            Err(_) => Err(lost),
        }
    }

    /// Makes an answer the connection's present. Safe to call again after [`StoreError::Unavailable`]: an
    /// answer that was written is recognised. Never refused for want of memory.
    pub async fn commit(&self, claim: &Claim, renewal: &Renewal) -> Result<Committed, StoreError> {
        let name = &claim.connection.name;
        for _ in 0..CONFLICTS_MAX {
            let Some(loaded) = self.read_as::<Connection>(name, FOR_AN_ANSWER).await? else {
                return Ok(Committed::Orphaned);
            };
            match attempt::commit(&loaded.record, renewal, self.now_of(&loaded)) {
                Committing::Commit(next) => {
                    if let Wrote::Done(version) = self.update(&loaded, &*next, Room::Forced).await? {
                        return Ok(Committed::Done(Box::new(loaded.written(*next, version))));
                    }
                }
                Committing::Settled => return Ok(Committed::Done(Box::new(loaded))),
                Committing::Superseded => return Ok(Committed::Superseded(Box::new(loaded))),
                Committing::Orphaned => return Ok(Committed::Orphaned),
            }
        }
        Err(contended::<Connection>(name))
    }

    /// Closes the attempt without an answer. `None` when somebody took over or the connection is gone.
    pub async fn fail(
        &self,
        claim: &Claim,
        failure: &Failure,
        profile: &Profile,
    ) -> Result<Option<Loaded<Connection>>, StoreError> {
        let name = &claim.connection.name;
        for _ in 0..CONFLICTS_MAX {
            let Some(loaded) = self.read_as::<Connection>(name, FOR_AN_ANSWER).await? else {
                return Ok(None);
            };
            let now = self.now_of(&loaded);
            match attempt::fail(&loaded.record, claim.attempt.id, failure, profile, now) {
                Failing::Write(next) => {
                    if let Wrote::Done(version) = self.update(&loaded, &*next, Room::Forced).await? {
                        return Ok(Some(loaded.written(*next, version)));
                    }
                }
                Failing::Overtaken => return Ok(None),
            }
        }
        Err(contended::<Connection>(name))
    }
}
