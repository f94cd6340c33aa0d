//! The end of a tenant. Deleted, nothing of it is served and its keys are kept; within the undo window it is restored as it
//! was; after it the keys are destroyed first, and then the records that nothing opens any more. The tenant's record says
//! which of these holds, and every step can be repeated.

use super::{Custodian, KeysError, Step, steps::Act};
use crate::{
    broker::keys::ChainNow,
    clock::Timestamp,
    domain::{
        client::{Deletion, Tenant, Undo},
        connection::Connection,
        names::{Owner, TenantName},
        walk::{Of, Task, Walk, WalkName},
    },
    store::{
        Key, Room, StoreError,
        ledger::{Loaded, Wrote},
        records::{CLIENTS, CONNECTIONS, Record, prefix},
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Records that are taken away, or put back into the queue, in one go.
const AT_ONCE: usize = 200;

/// How often the record is looked at again because somebody deleted or restored the tenant meanwhile.
const TURNS_MAX: u32 = 16;

/// What the tenant's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Living,
    Deleted(Deletion),
    /// There is none, or none that any key opens.
    Gone,
}

impl Found {
    const fn lives(self) -> bool {
        match self {
            Self::Living => true,
            Self::Deleted(_) | Self::Gone => false,
        }
    }
}

impl Custodian {
    /// Writes down that a tenant goes at that time, whatever becomes of this process. What is there already, left by a
    /// deletion that broke off or was undone a moment ago, is written anew: whoever is about to take it away because of
    /// what the record said before has an old copy from then on.
    pub async fn plan_purge(&self, tenant: &TenantName, at: Timestamp) -> Result<(), KeysError> {
        let of = Of::Owner(Owner::Tenant(tenant.clone()));
        let mut walk = Walk::new(Task::Purge, of, 0, (self.ledger.now().here, at));
        walk.due_at = at;
        self.begun_anew(&walk).await
    }

    /// Writes a walk down, in the place of one of its name that is under way.
    async fn begun_anew(&self, walk: &Walk) -> Result<(), KeysError> {
        for _ in 0..TURNS_MAX {
            if let Wrote::Done(_) = self.begun(walk).await? {
                return Ok(());
            }
            // What was in the way may be gone by now: then there is none.
            let Some(old) = self.ledger.read::<Walk>(&walk.name).await? else { continue };
            let anew = Walk { uid: old.record.uid, created_at: old.record.created_at, ..walk.clone() };
            if let Wrote::Done(_) = self.ledger.update(&old, &anew, Room::Needed).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended { name: walk.name.to_string() }.into())
    }

    /// Makes keys and records what the tenant's record says, as far as that can be done now. The record is looked at
    /// again afterwards: where a deletion and its undoing meet, the one that comes last sees what both have written.
    pub async fn settle(&self, tenant: &TenantName) -> Result<(), KeysError> {
        let owner = Owner::Tenant(tenant.clone());
        for _ in 0..TURNS_MAX {
            // Before the record: a walk that is written after the record was is then newer than this copy.
            let walk = self.under_way(Task::Purge, Of::Owner(owner.clone())).await?;
            let said = self.said(tenant).await?;
            let Some(walk) = walk else {
                match self.overdue(said, &owner).await? {
                    Some(at) => self.plan_purge(tenant, at).await?,
                    None => return Ok(()),
                }
                continue;
            };
            self.deletion_step(walk, &owner, said).await?;
            // One that lives is looked at until there is no walk left.
            if !said.lives() && !self.said(tenant).await?.lives() {
                return Ok(());
            }
        }
        Err(StoreError::Contended { name: tenant.to_string() }.into())
    }

    /// When a walk that is not there would have to look at the tenant, if it would.
    async fn overdue(&self, said: Found, owner: &Owner) -> Result<Option<Timestamp>, KeysError> {
        match said {
            Found::Deleted(deletion) => Ok(Some(deletion.purge_at)),
            Found::Living => {
                let shut = self.keys.chain(owner).await?.filter(|now| now.chain.shut_at.is_some());
                Ok(shut.map(|now| now.at))
            }
            Found::Gone => Ok(None),
        }
    }

    async fn said(&self, tenant: &TenantName) -> Result<Found, KeysError> {
        match self.ledger.read_always::<Tenant>(tenant).await {
            Ok(Some(loaded)) => Ok(loaded.record.deletion.map_or(Found::Living, Found::Deleted)),
            Ok(None) | Err(StoreError::NoKeys { .. }) => Ok(Found::Gone),
            Err(err) => Err(err.into()),
        }
    }

    /// A step of the walk; and what is to be done where the record was changed while it was taken.
    pub(super) async fn purge_step(&self, walk: Loaded<Walk>, owner: &Owner) -> Result<Step, KeysError> {
        let Owner::Tenant(tenant) = owner else { return Ok(Step::Nothing) };
        let said = self.said(tenant).await?;
        let came = self.deletion_step(walk, owner, said).await?;
        if self.said(tenant).await?.lives() != said.lives() {
            self.settle(tenant).await?;
        }
        Ok(came)
    }

    async fn deletion_step(&self, walk: Loaded<Walk>, owner: &Owner, said: Found) -> Result<Step, KeysError> {
        let Owner::Tenant(tenant) = owner else { return Ok(Step::Nothing) };
        let chain = self.keys.chain(owner).await?;
        match (said, chain) {
            (Found::Living, _) => self.opened_again(walk, owner).await,
            (Found::Deleted(deletion), Some(now)) => match deletion.undo {
                Undo::Possible if now.at < deletion.purge_at => {
                    self.shut(owner, &now, Some(deletion.deleted_at)).await?;
                    self.rest(&walk.record, now.at, deletion.purge_at);
                    Ok(Step::Nothing)
                }
                Undo::Possible | Undo::TooLate => {
                    self.shut(owner, &now, Some(deletion.deleted_at)).await?;
                    self.shred(walk, tenant, owner, deletion).await
                }
            },
            (Found::Gone, Some(now)) if now.chain.is_held() => {
                // A tenant that was never made: its first key is kept for the next who makes it.
                self.ledger.delete(&walk).await?;
                Ok(Step::Taken)
            }
            (Found::Gone, Some(now)) => self.cleared(walk, owner, Some(now)).await,
            (Found::Deleted(_) | Found::Gone, None) => self.cleared(walk, owner, None).await,
        }
    }

    async fn shut(&self, owner: &Owner, now: &ChainNow, at: Option<Timestamp>) -> Result<(), KeysError> {
        if now.chain.shut_at.is_some() == at.is_some() {
            return Ok(());
        }
        self.step_of(owner, Act::Shut(at)).await.map(drop)
    }

    /// The tenant was restored: it is served again, and what is due goes back into the queue.
    async fn opened_again(&self, walk: Loaded<Walk>, owner: &Owner) -> Result<Step, KeysError> {
        if let Some(now) = self.keys.chain(owner).await?
            && now.chain.shut_at.is_some()
        {
            let now_is = self.ledger.now();
            let restore = Walk::new(Task::Restore, Of::Owner(owner.clone()), 0, (now_is.here, now_is.store));
            // From the beginning, where one is under way: the tenant was deleted since.
            self.begun_anew(&restore).await?;
            self.shut(owner, &now, None).await?;
            tracing::info!(tenant = %owner, "deleted tenant is restored");
        }
        self.ledger.delete(&walk).await?;
        Ok(Step::Taken)
    }

    /// The keys first: from then on nothing is left to restore. A tenant that was restored meanwhile lives on, and one that was
    /// deleted again since has a time of its own.
    async fn shred(
        &self,
        walk: Loaded<Walk>,
        tenant: &TenantName,
        owner: &Owner,
        of: Deletion,
    ) -> Result<Step, KeysError> {
        let Some(walk) = self.taken(walk).await? else { return Ok(Step::Nothing) };
        let missing = || KeysError::from(StoreError::NoKeys { owner: owner.to_string() });
        let mut still = false;
        self.ledger
            .amend(tenant, missing, |record: &mut Tenant, _| {
                let same = record.deletion.as_mut().filter(|now| now.deleted_at == of.deleted_at);
                still = same.is_some();
                if let Some(deletion) = same {
                    deletion.undo = Undo::TooLate;
                }
                Ok::<_, KeysError>(())
            })
            .await?;
        if !still {
            return Ok(Step::Nothing);
        }
        self.step_of(owner, Act::Shred).await?;
        tracing::info!(tenant = %owner, "keys of a deleted tenant are destroyed");
        let now = self.keys.chain(owner).await?;
        self.cleared(walk, owner, now).await
    }

    /// Takes away what no key opens any more. The name is free again once every replica has heard of the end of its keys.
    async fn cleared(
        &self,
        walk: Loaded<Walk>,
        owner: &Owner,
        chain: Option<ChainNow>,
    ) -> Result<Step, KeysError> {
        let Owner::Tenant(tenant) = owner else { return Ok(Step::Nothing) };
        let started = Instant::now();
        let mut swept = 0;
        for kind in [CONNECTIONS, CLIENTS] {
            swept += self.ledger.sweep(&prefix(kind, Some(owner)), AT_ONCE).await?;
        }
        if swept > 0 {
            self.pause(swept, 1, started, &CancellationToken::new()).await;
            return Ok(Step::Taken);
        }
        self.ledger.purge::<Tenant>(tenant).await?;
        for task in [Task::Reseal, Task::Restore] {
            let open = WalkName::open(task, Of::Owner(owner.clone()));
            self.ledger.purge::<Walk>(&open.ended()).await?;
            self.ledger.purge::<Walk>(&open).await?;
        }
        if let Some(now) = chain {
            let ended = now.chain.versions.iter().filter_map(|held| held.destroyed_at).max();
            let free = ended.map(|ended| ended.plus(self.keys.spread()));
            if let Some(free) = free.filter(|free| *free > now.at) {
                self.rest(&walk.record, now.at, free);
                return Ok(Step::Nothing);
            }
            self.keys.forget(owner).await?;
        }
        self.ledger.delete(&walk).await?;
        tracing::info!(tenant = %owner, "deleted tenant is gone");
        Ok(Step::Taken)
    }

    /// Puts connections of a restored tenant back into the queue, each where it was.
    pub(super) async fn restore_step(
        &self,
        walk: Loaded<Walk>,
        owner: &Owner,
        stop: &CancellationToken,
    ) -> Result<Step, KeysError> {
        // It is written down before the keys are open; and until then, schedulers take out of the queue what is put there.
        if self.keys.chain(owner).await?.is_none_or(|now| now.chain.shut_at.is_some()) {
            return Ok(Step::Nothing);
        }
        let Some(walk) = self.taken(walk).await? else { return Ok(Step::Nothing) };
        let started = Instant::now();
        let after = walk.record.cursor.as_deref().and_then(|cursor| Key::new(cursor).ok());
        let prefix = prefix(CONNECTIONS, Some(owner));
        let found = self.ledger.sift::<Connection>(&prefix, after.as_ref(), AT_ONCE).await?;
        let (looked, last) = (found.len(), found.last().map(|last| last.key.to_string()));
        for sifted in found {
            match sifted.found {
                Ok(loaded) => self.put_back(loaded).await?,
                Err(err) => {
                    tracing::error!(record = %sifted.key, cause = %err, "connection of a restored tenant cannot be read");
                }
            }
        }
        if looked < AT_ONCE {
            self.ledger.delete(&walk).await?;
            return Ok(Step::Taken);
        }
        let next = Walk { cursor: last, ..walk.record.clone() };
        self.wrote(&walk, next).await?;
        self.pause(looked, 1, started, stop).await;
        Ok(Step::Taken)
    }

    /// Writes a connection as it is, with which it is in the queue. Who wrote in between may have taken it out.
    async fn put_back(&self, mut loaded: Loaded<Connection>) -> Result<(), KeysError> {
        for _ in 0..TURNS_MAX {
            let wrote = match loaded.record.due() {
                Some(_) => self.ledger.update(&loaded, &loaded.record, Room::Needed).await?,
                None => return Ok(()),
            };
            if let Wrote::Done(_) = wrote {
                return Ok(());
            }
            match self.ledger.read_always::<Connection>(&loaded.record.name).await? {
                Some(now) => loaded = now,
                None => return Ok(()),
            }
        }
        Err(StoreError::Contended { name: loaded.record.name.to_string() }.into())
    }
}
