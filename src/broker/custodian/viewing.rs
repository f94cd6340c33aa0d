//! Key chains as they may be shown: never the keys.

use super::{Custodian, KeysError, no_chain, rotating::met_at, task_of};
use crate::{
    access::Chain,
    broker::keys::RootNow,
    clock::Timestamp,
    domain::{
        kek_log::{KekLog, KekLogName, SeenKek},
        walk::{Walk, WalkName},
    },
    seal::{self, KekKind, KeyChain, KeyState},
};
use std::{collections::BTreeMap, fmt::Write as _};

/// The versions of one key, and how far the move to the one in use is.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainView {
    pub chain: Chain,
    pub etag: String,
    /// Newest first.
    pub versions: Vec<VersionView>,
    /// The walk under way, or the last one.
    pub walk: Option<Walk>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionView {
    pub version: u32,
    pub state: KeyState,
    pub created_at: Timestamp,
    pub activated_at: Option<Timestamp>,
    pub destroyed_at: Option<Timestamp>,
    /// How many records are known to need it.
    pub records: u64,
}

impl ChainView {
    /// Whether there is nothing left to move.
    pub fn is_settled(&self) -> bool {
        let prepared = self.versions.iter().any(|version| version.state == KeyState::Prepared);
        let open = self.walk.as_ref().is_some_and(|walk| walk.ended_at.is_none());
        // A KEK that waits to be used waits for a person.
        !open && (!prepared || self.chain == Chain::Kek)
    }
}

impl Custodian {
    pub async fn view(&self, chain: &Chain) -> Result<ChainView, KeysError> {
        let walk = self.walk_of(chain).await?;
        let records = walk.as_ref().map(|walk| walk.records.clone()).unwrap_or_default();
        let (etag, versions) = match chain {
            Chain::Kek => self.kek_versions().await?,
            Chain::Root => {
                let RootNow { rooted, .. } = self.keys.root_now().await?;
                versions(&rooted.chain.chain, &records)
            }
            Chain::Of(owner) => {
                let now = self.keys.chain(owner).await?.ok_or_else(|| no_chain(owner))?;
                if !now.chain.is_held() {
                    return Err(no_chain(owner));
                }
                versions(&now.chain, &records)
            }
        };
        Ok(ChainView { chain: chain.clone(), etag, versions, walk })
    }

    async fn walk_of(&self, chain: &Chain) -> Result<Option<Walk>, KeysError> {
        let Some((task, of)) = task_of(chain) else { return Ok(None) };
        if let Some(open) = self.under_way(task, of.clone()).await? {
            return Ok(Some(open.record));
        }
        let ended = self.ledger.read::<Walk>(&WalkName::open(task, of).ended()).await?;
        Ok(ended.map(|loaded| loaded.record))
    }

    /// By the log, by what the root keys are wrapped by, and by what the owner would wrap with now, as far as it says so.
    async fn kek_versions(&self) -> Result<(String, Vec<VersionView>), KeysError> {
        let RootNow { rooted, at } = self.keys.root_now().await?;
        let (wrapped, in_use) = (rooted.chain.keks(), rooted.chain.kek());
        let log = self.ledger.read::<KekLog>(&KekLogName).await?.map(|loaded| loaded.record);
        let here = self.ledger.now().here;
        let mut log = log.unwrap_or_else(|| KekLog { uid: here.uuid(), created_at: here, keys: Vec::new() });
        let since = met_at(&log, &rooted.chain.chain, at);
        for key in
            wrapped.keys().filter(|key| log.find(key.kind.word(), &key.id).is_none()).collect::<Vec<_>>()
        {
            log.used(key.kind.word(), &key.id, since);
        }
        if let Ok(next) = self.keys.kek().present().await
            && log.find(next.kind.word(), &next.id).is_none()
        {
            let (version, kind, id) = (log.next_version(), next.kind.word().to_owned(), next.id);
            log.keys.push(SeenKek { version, kind, id, seen_at: at, activated_at: None, retired_at: None });
        }
        let counted = |seen: &SeenKek| {
            let key = |kind| seal::KekKey { kind, id: seen.id.clone() };
            let key = KekKind::of(&seen.kind).map(key);
            let records = key.as_ref().and_then(|key| wrapped.get(key)).copied().unwrap_or(0);
            let state = match (key.is_some() && key == in_use, records, seen.activated_at, seen.retired_at) {
                (true, _, _, _) => KeyState::Active,
                (false, 0, _, Some(_)) => KeyState::Destroyed,
                (false, 0, None, None) => KeyState::Prepared,
                (false, _, _, _) => KeyState::DecryptOnly,
            };
            VersionView {
                version: seen.version,
                state,
                created_at: seen.seen_at,
                activated_at: seen.activated_at,
                destroyed_at: seen.retired_at.filter(|_| state == KeyState::Destroyed),
                records,
            }
        };
        let versions: Vec<_> = log.keys.iter().rev().map(counted).collect();
        let mut told = String::new();
        for version in &versions {
            // Writing into a text does not fail.
            let _ = write!(told, "{} {} {};", version.version, version.state.word(), version.records);
        }
        let etag = seal::digest(&told).0[..8].iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Ok((etag, versions))
    }
}

fn versions(chain: &KeyChain, records: &BTreeMap<u32, u64>) -> (String, Vec<VersionView>) {
    let view = |held: &seal::KeyVersion| VersionView {
        version: held.version,
        state: held.state,
        created_at: held.created_at,
        activated_at: held.active_since(),
        destroyed_at: held.destroyed_at,
        records: records.get(&held.version).copied().unwrap_or(0),
    };
    (chain.etag(), chain.versions.iter().rev().map(view).collect())
}
