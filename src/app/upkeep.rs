//! What works beside the calls, by the configuration: refreshes ahead of expiry, and the keys.

use crate::{
    audit::Audit,
    broker::{
        custodian::{Custodian, Rules},
        keys::Keyring,
        refresher::Refresher,
        scheduler::Scheduler,
    },
    config::{Config, Scheduling},
    store::ledger::Ledger,
};
use std::{process, sync::Arc};

pub(super) fn scheduler(config: &Config, ledger: &Arc<Ledger>, refresher: &Refresher) -> Option<Scheduler> {
    match config.refresh.scheduling {
        Scheduling::On => Some(Scheduler {
            ledger: ledger.clone(),
            refresher: refresher.clone(),
            tick: config.refresh.tick,
            first_shard: u16::try_from(process::id() % u32::from(ledger.shards())).unwrap_or(0),
        }),
        Scheduling::Off => None,
    }
}

pub(super) fn custodian(
    config: &Config,
    ledger: &Arc<Ledger>,
    keys: &Arc<Keyring>,
    audit: &Arc<dyn Audit>,
    replica: String,
) -> Custodian {
    let rules = Rules {
        records_per_second: config.keys.upkeep.records_per_second,
        undo_window: config.keys.upkeep.undo_window,
    };
    Custodian::new(ledger.clone(), keys.clone(), audit.clone(), replica, rules)
}
