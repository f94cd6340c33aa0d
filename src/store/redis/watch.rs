//! What is looked at again and again while the store is open: whether each node keeps what it is given, and whether it
//! is still a primary. Tells of what is new, and of what was mended; never changes a setting of Redis.

use super::{
    super::{CALL_TIMEOUT, StoreError},
    durability::{self, DurabilityFinding, FailsOver, Weight, check_primary},
    nodes::{Lane, Node, Nodes},
    options::Durability,
    refusals::Fault,
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use redis::{Pipeline, Value};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How often durability is looked at.
const DURABILITY_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether the one address still leads to a primary.
const ROLE_EVERY: Duration = Duration::from_secs(1);

/// What was found so far.
pub(super) struct Watch {
    nodes: Arc<Nodes>,
    durability: Durability,
    found: ArcSwap<BTreeSet<DurabilityFinding>>,
    config: Mutex<ConfigCommand>,
}

/// Whether `CONFIG GET` is asked: where it is forbidden, each try would stand in the server's log of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConfigCommand {
    Asked,
    Forbidden,
}

impl Watch {
    /// Looks once. What the operator does not allow is an error.
    pub(super) async fn begin(nodes: Arc<Nodes>, durability: Durability) -> Result<Self, StoreError> {
        let watch =
            Self { nodes, durability, found: ArcSwap::default(), config: Mutex::new(ConfigCommand::Asked) };
        watch.look().await.map_err(Fault::at_start)?;
        match watch.objection() {
            Some(cause) => Err(StoreError::Unusable { cause }),
            None => Ok(watch),
        }
    }

    pub(super) fn found(&self) -> Vec<DurabilityFinding> {
        self.found.load().iter().cloned().collect()
    }

    /// Why nothing is begun that would have to be kept; `None`: it is kept, or the operator takes the risk.
    pub(super) fn objection(&self) -> Option<String> {
        if self.durability == Durability::Warn {
            return None;
        }
        let found = self.found.load();
        let worst: Vec<_> = found.iter().filter(|one| one.risk.weight() == Weight::Loses).collect();
        if worst.is_empty() {
            return None;
        }
        let worst: Vec<_> = worst.into_iter().map(ToString::to_string).collect();
        Some(format!("{} (store.redis.durability is \"require\")", worst.join("; ")))
    }

    /// Never ends. A node that does not answer is looked at the next time: calls meet it, too.
    pub(super) async fn keep_looking(&self) {
        loop {
            tokio::time::sleep(DURABILITY_EVERY).await;
            drop(self.look().await);
        }
    }

    /// Never ends. Behind an address may be a proxy or a name that leads elsewhere after a failover, while connections
    /// go on to what is a replica now, and answers from an ever older past.
    pub(super) async fn keep_to_primaries(&self) {
        let mut question = Pipeline::with_capacity(1);
        question.cmd("INFO").arg("replication");
        loop {
            tokio::time::sleep(ROLE_EVERY).await;
            for node in self.nodes.all() {
                let asked = node.link(Lane::Reads).ask(&question, Instant::now() + CALL_TIMEOUT).await;
                let Ok((info,)): Result<(String,), _> = asked else { continue };
                if check_primary(&info, &self.nodes.dialer().refusals(&node.address)).is_err() {
                    node.forget();
                    self.nodes.suspect();
                }
            }
        }
    }

    async fn look(&self) -> Result<(), Fault> {
        let fails_over = FailsOver::from(self.nodes.topology());
        let (mut found, mut unseen) = (BTreeSet::new(), Vec::new());
        let mut first_fault = None;
        for node in self.nodes.all() {
            let mut question = Pipeline::with_capacity(1);
            question.cmd("INFO");
            let asked = node.link(Lane::Reads).ask(&question, Instant::now() + CALL_TIMEOUT).await;
            let (info,): (String,) = match asked {
                Ok(info) => info,
                Err(fault) => {
                    unseen.push(node.address.clone());
                    first_fault = first_fault.or(Some(fault));
                    continue;
                }
            };
            let append_sync = self.append_sync(&node).await;
            for risk in durability::risks(&info, append_sync.as_deref(), fails_over) {
                found.insert(DurabilityFinding { node: node.address.clone(), risk });
            }
        }
        // Of whoever did not answer, what was known stays.
        let before = self.found.load_full();
        found.extend(before.iter().filter(|one| unseen.contains(&one.node)).cloned());
        tell(&before, &found);
        self.found.store(Arc::new(found));
        first_fault.map_or(Ok(()), Err)
    }

    /// `CONFIG` is often forbidden, as it would tell passwords, too: not being told is no error.
    async fn append_sync(&self, node: &Node) -> Option<String> {
        if *self.config.lock() == ConfigCommand::Forbidden {
            return None;
        }
        let mut question = Pipeline::with_capacity(1);
        question.cmd("CONFIG").arg("GET").arg("appendfsync");
        let asked = node.link(Lane::Reads).ask(&question, Instant::now() + CALL_TIMEOUT).await;
        let (answer,): (Value,) = match asked {
            Ok(answer) => answer,
            Err(fault) => {
                if matches!(fault, Fault::Store(StoreError::Unusable { .. })) {
                    *self.config.lock() = ConfigCommand::Forbidden;
                }
                return None;
            }
        };
        let pairs: Vec<(String, String)> = redis::from_redis_value(answer).ok()?;
        pairs.into_iter().next().map(|(_, value)| value)
    }
}

/// Once for each that is new, and for each that is gone.
fn tell(before: &BTreeSet<DurabilityFinding>, now: &BTreeSet<DurabilityFinding>) {
    for finding in now.difference(before) {
        let node = &finding.node;
        match finding.risk.weight() {
            Weight::Loses | Weight::Advice => {
                tracing::warn!(%node, finding = %finding.risk, "redis is not set up to keep what it is given");
            }
            Weight::Untold => {
                tracing::info!(%node, finding = %finding.risk, "redis does not tell how it keeps what it is given");
            }
        }
    }
    for finding in before.difference(now) {
        tracing::info!(node = %finding.node, finding = %finding.risk, "this does not hold of redis any more");
    }
}
