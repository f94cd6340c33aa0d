//! What is kept and what protects it: store and KEK side by side, then what can be opened with both, and who of the
//! providers is needed by it.

use super::{
    Deployment, KEK_MAX, RECORDS_MAX, TRAIL_MAX, WhichProviders, records::Records, store::Seen, within,
};
use crate::{
    app::keks::{self, Chosen},
    audit::key_of,
    broker::{
        audit_key::audit_key_found,
        keys::{Keyring, KeyringError},
    },
    doctor::{
        Check, Finding,
        keys::{self as judge, Root, kek_in_use, owners, rotations},
        store::NOT_LOOKED_AT,
    },
    domain::names::ProviderName,
    seal::{AuditKey, Kek, KekError, KekKey, Keks},
    store::{Documents, ledger::Ledger},
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::time::timeout;

/// What was asked of the KEKs.
struct Asked {
    found: Vec<Finding>,
    /// The keys that they name; `None` where they do not answer.
    present: Option<String>,
    previous: Option<String>,
}

/// What can be opened.
struct Open {
    keys: Arc<Keyring>,
    ledger: Ledger,
}

impl Deployment {
    pub(super) async fn kept(&self, which: WhichProviders) -> Vec<Finding> {
        let Chosen { keks, .. } = match keks::keks(&self.config) {
            Ok(chosen) => chosen,
            Err(err) => {
                let mut found = vec![judge::kek(Check::Kek, "[keys]", &Err(format!("{err:#}")))];
                let Seen { found: of_store, .. } = self.store().await;
                found.extend(of_store);
                found.extend(not_opened("the KEK cannot be used"));
                let (trail, providers) = tokio::join!(self.end_of_trail(None), self.providers(which, None));
                found.extend(trail.into_iter().chain(providers));
                return found;
            }
        };
        let (asked, seen) = tokio::join!(self.asked(&keks), self.store());
        let (mut found, Seen { found: of_store, documents }) = (asked.found, seen);
        found.extend(of_store);
        let (root, open) = self.opened(documents, keks).await;
        found.push(judge::root(&root));
        if let Some(present) = &asked.present {
            found.extend(kek_in_use(&root, present, asked.previous.as_deref()));
        }
        let (of_records, in_use) = match (&open, &root) {
            (Some(open), _) => self.records(open).await,
            (None, Root::Nothing) => (Vec::new(), Some(BTreeSet::new())),
            (None, _) => (not_opened(NOT_LOOKED_AT), None),
        };
        found.extend(of_records);
        let (trail, providers) =
            tokio::join!(self.end_of_trail(open.as_ref()), self.providers(which, in_use));
        found.extend(trail.into_iter().chain(providers));
        found
    }

    /// Both KEKs, side by side.
    async fn asked(&self, keks: &Keks) -> Asked {
        let previous = async {
            let kek = keks.previous.as_ref()?;
            Some(answer(timeout(KEK_MAX, kek.present()).await))
        };
        let present = async { answer(timeout(KEK_MAX, keks.present.probe()).await) };
        let (present, previous) = tokio::join!(present, previous);
        let mut found = vec![judge::kek(Check::Kek, "[keys]", &present)];
        // One that serves is told of with what it is needed for.
        if let Some(previous @ Err(_)) = &previous {
            found.push(judge::kek(Check::PreviousKek, "[keys.previous]", previous));
        }
        Asked { found, present: present.ok(), previous: previous.and_then(Result::ok) }
    }

    async fn opened(&self, documents: Option<Arc<dyn Documents>>, kek: Arc<Keks>) -> (Root, Option<Open>) {
        let Some(documents) = documents else { return (Root::StoreAway(NOT_LOOKED_AT.to_owned()), None) };
        let (kek, clock): (Arc<dyn Kek>, _) = (kek, self.clock.clone());
        let spread = self.config.keys.upkeep.propagation;
        let looked = timeout(KEK_MAX, Keyring::look(documents.clone(), kek, clock.clone(), spread)).await;
        let keys = match looked {
            Ok(Ok(Some(keys))) => Arc::new(keys),
            Ok(Ok(None)) => return (Root::Nothing, None),
            Ok(Err(KeyringError::Store(err))) => return (Root::StoreAway(err.to_string()), None),
            Ok(Err(KeyringError::WrongKek(err))) => return (Root::WrongKek(err.to_string()), None),
            Ok(Err(err @ (KeyringError::Forged | KeyringError::NoRoot))) => {
                return (Root::Broken(err.to_string()), None);
            }
            Ok(Err(KeyringError::Kek(_))) | Err(_) => return (Root::KekAway, None),
        };
        let root = match keys.root_now().await {
            Ok(now) => Root::Opens {
                wrapped_by: now.rooted.chain.keks().keys().map(ToString::to_string).collect(),
                in_use: now.rooted.chain.kek().map(|key| key.to_string()),
            },
            Err(err) => return (Root::StoreAway(err.to_string()), None),
        };
        let ledger = Ledger::new(documents, keys.clone(), clock);
        (root, Some(Open { keys, ledger }))
    }

    /// What lies in the store, and the providers that it needs.
    async fn records(&self, open: &Open) -> (Vec<Finding>, Option<BTreeSet<ProviderName>>) {
        let looked = timeout(RECORDS_MAX, Records::read(&open.keys, &open.ledger)).await;
        let records = match looked {
            Ok(Ok(records)) => records,
            Ok(Err(err)) => {
                let mend = "mend the store, then look again";
                return (vec![Check::Connections.fail("records", err.to_string(), mend)], None);
            }
            Err(_) => {
                let text = format!("not all were read within {} s", RECORDS_MAX.as_secs());
                return (vec![Check::Connections.fail("records", text, super::LATE)], None);
            }
        };
        let spread = self.config.keys.upkeep.propagation;
        let mut found = owners(&records.owners);
        found.extend(rotations(&records.owners, &records.walks, spread, records.store_now));
        found.extend(records.tally.findings());
        (found, Some(records.providers))
    }

    async fn end_of_trail(&self, open: Option<&Open>) -> Vec<Finding> {
        let look = async {
            let key = match open {
                Some(open) => audit_key_found(&open.ledger, &open.keys).await.ok().flatten(),
                None => None,
            };
            let key: Option<AuditKey> = key.and_then(|text| key_of(&text).ok());
            self.trail(key).await
        };
        within(Check::AuditTrail, "audit trail", TRAIL_MAX, look).await
    }
}

fn answer(asked: Result<Result<KekKey, KekError>, tokio::time::error::Elapsed>) -> Result<String, String> {
    match asked {
        Ok(Ok(key)) => Ok(key.to_string()),
        Ok(Err(err)) => Err(err.to_string()),
        Err(_) => Err(format!("no answer within {} s", KEK_MAX.as_secs())),
    }
}

/// What needs the store and its keys.
fn not_opened(why: &str) -> Vec<Finding> {
    [Check::TenantKeys, Check::Rotation, Check::Connections, Check::Clients]
        .map(|check| {
            check.skipped(
                "store",
                why,
                "mend what is told above, or ask the broker that runs: docs/doctor.md",
            )
        })
        .into()
}
