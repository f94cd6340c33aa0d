//! Rotations: begun by a call, which returns at once; brought on step by step by whichever replica looks next.

use super::{
    ChainView, Custodian, KeysError, Step, chain_of, no_chain,
    steps::{Act, Rewrapping},
    task_of,
};
use crate::{
    access::Chain,
    broker::keys::RootNow,
    clock::Timestamp,
    domain::{
        kek_log::{KekLog, KekLogName},
        names::Owner,
        walk::{Of, Walk},
    },
    seal::{KekKey, KeyChain, KeyState, SealError},
    store::{
        Room, StoreError,
        ledger::{Loaded, Wrote},
    },
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the log of the KEK's keys is written again because somebody else wrote first.
const CONFLICTS_MAX: u32 = 16;

/// Since when a key wraps root keys that the log does not have: the first has since the deployment began.
pub(super) fn met_at(log: &KekLog, root: &KeyChain, now: Timestamp) -> Timestamp {
    let first = root.versions.first().filter(|_| log.keys.is_empty());
    first.map_or(now, |first| first.created_at)
}

/// Where a rotation is, by its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The new version is not made yet.
    Prepare,
    /// Every replica knows it.
    Activate,
    /// No replica seals with an older one any more.
    Walk,
    /// Not before then.
    Later(Timestamp),
    /// The version will not be reached any more.
    Never,
}

/// What is next, at this time of the store.
fn due(chain: &KeyChain, target: u32, now: Timestamp, spread: Duration) -> Due {
    let Some(version) = chain.version(target) else {
        return if chain.next_version() == Ok(target) { Due::Prepare } else { Due::Never };
    };
    let (since, then) = match version.state {
        KeyState::Prepared => (Some(version.created_at), Due::Activate),
        KeyState::Active => (version.active_since(), Due::Walk),
        KeyState::DecryptOnly | KeyState::Destroyed => return Due::Never,
    };
    let at = since.unwrap_or(now).plus(spread);
    if at <= now { then } else { Due::Later(at) }
}

fn living(owner: &Owner, chain: &KeyChain) -> Result<(), KeysError> {
    match chain.shut_at {
        Some(_) => Err(StoreError::Deleted { owner: owner.to_string() }.into()),
        None if chain.is_held() => Ok(()),
        None => Err(no_chain(owner)),
    }
}

impl Custodian {
    /// Makes a new version of an owner's key, or of the root key, and leaves the rest to the walk behind it.
    pub async fn rotate(&self, chain: &Chain, etag: &str) -> Result<ChainView, KeysError> {
        let Some((task, of)) = task_of(chain) else { return self.rotate_kek(etag).await };
        let (present, now) = match &of {
            Of::Root => {
                // A rotation that could not go on is not begun.
                self.keys.kek().probe().await?;
                let RootNow { rooted, at } = self.keys.root_now().await?;
                (rooted.chain.chain.clone(), at)
            }
            Of::Owner(owner) => {
                let now = self.keys.chain(owner).await?.ok_or_else(|| no_chain(owner))?;
                living(owner, &now.chain)?;
                (now.chain, now.at)
            }
        };
        if !etag.is_empty() && etag != present.etag() {
            return Err(KeysError::EtagMismatch { chain: chain.to_string() });
        }
        if self.under_way(task, of.clone()).await?.is_some() {
            let stage = "the last rotation, or what follows it, has not ended";
            return Err(KeysError::InProgress { chain: chain.to_string(), stage });
        }
        let target = present.next_version().map_err(SealError::from)?;
        let walk = Walk::new(task, of.clone(), target, (self.ledger.now().here, now));
        match self.begun(&walk).await? {
            Wrote::Done(_) => self.prepare(&of, target).await?,
            Wrote::Conflict => {
                let stage = "another call was quicker";
                return Err(KeysError::InProgress { chain: chain.to_string(), stage });
            }
        }
        tracing::info!(%chain, version = target, "key is being rotated");
        self.view(chain).await
    }

    async fn prepare(&self, of: &Of, target: u32) -> Result<(), KeysError> {
        match of {
            Of::Owner(owner) => self.step_of(owner, Act::Prepare(target)).await.map(drop),
            Of::Root => self.step_of_root(Act::Prepare(target)).await.map(drop),
        }
    }

    async fn activate(&self, of: &Of, target: u32) -> Result<(), KeysError> {
        match of {
            Of::Owner(owner) => drop(self.step_of(owner, Act::Activate(target)).await?),
            Of::Root => {
                // While the KEK is away, a replica may not have been able to unlock the new version.
                self.keys.kek().probe().await?;
                drop(self.step_of_root(Act::Activate(target)).await?);
            }
        }
        tracing::info!(chain = %chain_of(of), version = target, "new key version is in use");
        Ok(())
    }

    /// Brings a rotation on, if it is time.
    pub(super) async fn rotation_step(
        &self,
        walk: Loaded<Walk>,
        of: &Of,
        stop: &CancellationToken,
    ) -> Result<Step, KeysError> {
        let (chain, now) = match of {
            Of::Root => {
                let RootNow { rooted, at } = self.keys.root_now().await?;
                (rooted.chain.chain.clone(), at)
            }
            Of::Owner(owner) => match self.keys.chain(owner).await? {
                Some(now) if now.chain.is_held() && now.chain.shut_at.is_none() => (now.chain, now.at),
                // Restored, it goes on; gone, it is taken away with the tenant.
                Some(_) | None => return Ok(Step::Nothing),
            },
        };
        let target = walk.record.target;
        match due(&chain, target, now, self.keys.spread()) {
            Due::Later(at) => {
                self.rest(&walk.record, now, at);
                Ok(Step::Nothing)
            }
            Due::Never => {
                tracing::warn!(chain = %chain_of(of), version = target, "rotation ends: its version was passed over");
                self.ledger.delete(&walk).await?;
                Ok(Step::Taken)
            }
            next @ (Due::Prepare | Due::Activate | Due::Walk) => {
                let Some(taken) = self.taken(walk).await? else { return Ok(Step::Nothing) };
                match next {
                    Due::Prepare => self.prepare(of, target).await?,
                    Due::Activate => self.activate(of, target).await?,
                    Due::Walk | Due::Later(_) | Due::Never => self.slice(taken, of, stop).await?,
                }
                Ok(Step::Taken)
            }
        }
    }

    /// Wraps the root keys by the key that the KEK's owner names now. Asks it for each of them, and takes a moment.
    async fn rotate_kek(&self, etag: &str) -> Result<ChainView, KeysError> {
        let kek = self.keys.kek().clone();
        let present = kek.probe().await?;
        let before = self.view(&Chain::Kek).await?;
        if !etag.is_empty() && etag != before.etag {
            return Err(KeysError::EtagMismatch { chain: Chain::Kek.to_string() });
        }
        // On record before it is done, under the numbers that they have or get.
        let log = self.noted_keks(Some(&present)).await?;
        self.step_of_kek(Rewrapping { by: &present, log: &log }).await?;
        self.noted_keks(None).await?;
        tracing::info!(kek = %present, "root keys are wrapped by the KEK in use");
        self.view(&Chain::Kek).await
    }

    /// Notes the keys that root keys are wrapped by, and one that is about to be used.
    pub(super) async fn noted_keks(&self, next: Option<&KekKey>) -> Result<KekLog, KeysError> {
        for _ in 0..CONFLICTS_MAX {
            let RootNow { rooted, at } = self.keys.root_now().await?;
            let loaded = self.ledger.read::<KekLog>(&KekLogName).await?;
            let here = self.ledger.now().here;
            let empty = || KekLog { uid: here.uuid(), created_at: here, keys: Vec::new() };
            let mut log = loaded.as_ref().map_or_else(empty, |loaded| loaded.record.clone());
            let since = met_at(&log, &rooted.chain.chain, at);
            let wrapping = rooted.chain.keks().into_keys().map(|key| (key, since));
            for (key, at) in wrapping.chain(next.cloned().map(|next| (next, at))) {
                let unused = log.find(key.kind.word(), &key.id).is_none_or(|seen| seen.retired_at.is_some());
                if unused {
                    log.used(key.kind.word(), &key.id, at);
                }
            }
            let wrote = match &loaded {
                Some(loaded) if loaded.record == log => return Ok(log),
                Some(loaded) => self.ledger.update(loaded, &log, Room::Needed).await?,
                None => self.ledger.create(&log).await?,
            };
            if let Wrote::Done(_) = wrote {
                return Ok(log);
            }
        }
        Err(StoreError::Contended { name: Chain::Kek.to_string() }.into())
    }

    /// What of a rotation stands in the way of retiring: `None`, once no replica can seal with the version any more.
    pub(super) fn unsettled(&self, chain: &KeyChain, version: u32, now: Timestamp) -> Option<&'static str> {
        match chain.left_at(version) {
            None => Some("the new version is not in use yet"),
            Some(left) if left.plus(self.keys.spread()) > now => {
                Some("not every replica is known to use the new version yet")
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{KeyVersion, Stamp};
    const SPREAD: Duration = Duration::from_secs(60);
    const MADE: Timestamp = Timestamp(1_000_000);

    fn version(version: u32, state: KeyState, activated_at: Option<Timestamp>) -> KeyVersion {
        let wrapped = vec![7];
        KeyVersion { version, state, wrapped, created_at: MADE, activated_at, destroyed_at: None }
    }

    fn chain(versions: Vec<KeyVersion>) -> KeyChain {
        let stamp = Stamp { key_version: 1, tag: [0; 32] };
        KeyChain { versions, shut_at: None, revision: 0, stamp }
    }

    #[test]
    fn each_step_of_a_rotation_waits_until_every_replica_knows_the_one_before() {
        use KeyState::{Active, DecryptOnly, Destroyed, Prepared};
        let first = || version(1, Active, None);
        let old = || version(1, DecryptOnly, None);
        let (just, before) = (MADE.plus(SPREAD), Timestamp(MADE.plus(SPREAD).0 - 1));
        let cases = [
            (vec![first()], MADE, Due::Prepare, "a call that broke off before it was made"),
            (vec![first(), version(2, Prepared, None)], MADE, Due::Later(just), "just made"),
            (vec![first(), version(2, Prepared, None)], before, Due::Later(just), "a moment too early"),
            (vec![first(), version(2, Prepared, None)], just, Due::Activate, "known everywhere"),
            (
                vec![old(), version(2, Active, Some(MADE))],
                before,
                Due::Later(just),
                "some still seal with the old one",
            ),
            (vec![old(), version(2, Active, Some(MADE))], just, Due::Walk, "nobody does"),
            (vec![old(), version(2, Destroyed, None)], just, Due::Never, "gone"),
            (
                vec![old(), version(2, DecryptOnly, Some(MADE)), version(3, Active, Some(MADE))],
                just,
                Due::Never,
                "passed over",
            ),
        ];
        for (versions, now, want, what) in cases {
            assert_eq!(due(&chain(versions), 2, now, SPREAD), want, "{what}");
        }
        assert_eq!(
            due(&chain(vec![first()]), 3, just, SPREAD),
            Due::Never,
            "a number that does not come next"
        );
    }
}
