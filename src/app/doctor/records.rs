//! All that lies in the store, looked through once: keys of owners, walks, clients and connections. Opens no credential.

use crate::{
    broker::keys::Keyring,
    clock::Timestamp,
    doctor::{connections::Tally, keys::Owners},
    domain::{
        client::Client,
        connection::Connection,
        names::{Owner, ProviderName},
        walk::Walk,
    },
    store::{
        Key, PAGE_MAX, StoreError,
        ledger::{Ledger, Sifted},
        records::{CLIENTS, CONNECTIONS, ENDED_WALKS, Record, WALKS, prefix},
    },
};
use std::collections::BTreeSet;

/// Most owners whose keys are looked at; they are asked for one by one.
const OWNERS_MAX: usize = 10_000;
/// Most records of one kind.
const RECORDS_MAX: usize = 200_000;

pub(super) struct Records {
    pub(super) owners: Owners,
    pub(super) walks: Vec<Walk>,
    pub(super) tally: Tally,
    pub(super) providers: BTreeSet<ProviderName>,
    pub(super) store_now: Timestamp,
    /// Deleted, and not gone yet: nothing of theirs needs anybody.
    deleted: BTreeSet<String>,
}

impl Records {
    pub(super) async fn read(keys: &Keyring, ledger: &Ledger) -> Result<Self, StoreError> {
        let root = keys.root_now().await?;
        let mut all = Self {
            owners: Owners::default(),
            walks: Vec::new(),
            tally: Tally::default(),
            providers: BTreeSet::new(),
            store_now: root.at,
            deleted: BTreeSet::new(),
        };
        let prepared = root.rooted.chain.chain.prepared().map(|held| held.created_at);
        all.owners.prepared.extend(prepared.map(|since| ("keyChains/root".to_owned(), since)));
        all.owners(keys).await?;
        for kind in [WALKS, ENDED_WALKS] {
            let mut walks = Vec::new();
            through::<Walk>(ledger, kind, |_, found| walks.extend(found)).await?;
            all.walks.append(&mut walks);
        }
        let Self { tally, providers, deleted, .. } = &mut all;
        let cut = through::<Client>(ledger, CLIENTS, |key, found| match found {
            _ if is_of(key, CLIENTS, deleted) => {}
            Some(client) => {
                tally.client(&client, root.at);
                providers.insert(client.provider);
            }
            None => tally.unreadable(),
        })
        .await?;
        let now = ledger.now();
        let also_cut = through::<Connection>(ledger, CONNECTIONS, |key, found| match found {
            _ if is_of(key, CONNECTIONS, deleted) => {}
            Some(connection) => {
                tally.connection(&connection, now);
                providers.insert(connection.provider);
            }
            None => tally.unreadable(),
        })
        .await?;
        if cut == Cut::Short || also_cut == Cut::Short {
            tally.cut();
        }
        Ok(all)
    }

    async fn owners(&mut self, keys: &Keyring) -> Result<(), StoreError> {
        let mut after: Option<Key> = None;
        loop {
            let page = keys.chains(after.as_ref(), PAGE_MAX).await?;
            let more = page.len() == PAGE_MAX;
            after = page.last().map(|(key, _)| key.clone());
            for (key, found) in page {
                if self.owners.looked_at == OWNERS_MAX {
                    self.owners.more = true;
                    return Ok(());
                }
                self.owners.looked_at += 1;
                let Some((owner, chain)) = found else {
                    self.owners.broken.push((key.to_string(), "is no key chain".to_owned()));
                    continue;
                };
                if let (Owner::Tenant(tenant), true) = (&owner, chain.shut_at.is_some() || !chain.is_held()) {
                    self.deleted.insert(tenant.0.to_string());
                    continue;
                }
                self.owner(keys, &owner).await?;
                let since = chain.prepared().map(|held| held.created_at);
                self.owners.prepared.extend(since.map(|since| (format!("{owner}/keyChain"), since)));
            }
            if !more {
                return Ok(());
            }
        }
    }

    async fn owner(&mut self, keys: &Keyring, owner: &Owner) -> Result<(), StoreError> {
        match keys.keys(owner).await {
            // Deleted a moment ago.
            Ok(_) | Err(StoreError::NoKeys { .. } | StoreError::Deleted { .. }) => Ok(()),
            Err(err) if err.lasts() => {
                self.owners.broken.push((owner.to_string(), err.to_string()));
                Ok(())
            }
            Err(err) => Err(err),
        }
    }
}

/// Whether there are more than were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    No,
    Short,
}

/// Shows every record of a kind; `None` for one that does not open.
async fn through<R: Record>(
    ledger: &Ledger,
    kind: &str,
    mut see: impl FnMut(&Key, Option<R>),
) -> Result<Cut, StoreError> {
    let (prefix, mut after, mut seen) = (prefix(kind, None), None, 0);
    loop {
        let page = ledger.sift::<R>(&prefix, after.as_ref(), PAGE_MAX).await?;
        let more = page.len() == PAGE_MAX;
        after = page.last().map(|sifted| sifted.key.clone());
        for Sifted { key, found, .. } in page {
            if seen == RECORDS_MAX {
                return Ok(Cut::Short);
            }
            seen += 1;
            see(&key, found.ok().map(|loaded| loaded.record));
        }
        if !more {
            return Ok(Cut::No);
        }
    }
}

/// Whether it belongs to one of these tenants: `kind/tenant/id`.
fn is_of(key: &Key, kind: &str, tenants: &BTreeSet<String>) -> bool {
    let rest = key.as_str().strip_prefix(kind).and_then(|rest| rest.strip_prefix('/'));
    rest.and_then(|rest| rest.split_once('/')).is_some_and(|(tenant, _)| tenants.contains(tenant))
}
