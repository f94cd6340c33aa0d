//! The store as it can be looked at: opened so that nothing is begun, mended or written.

use super::{Deployment, STORE_MAX};
use crate::{
    config::{self, Store},
    doctor::{
        Finding,
        clocks::{Told, compared},
        store::{self as judge, File},
    },
    domain::host_port::HostPort,
    store::{
        Documents, StoreError,
        embedded::{Looked, Looking},
        redis::{DurabilityFinding, NodeNow, RedisStore, Sees, SentinelNow, Weight},
    },
};
use std::{path::Path, sync::Arc};

/// What was found of it, and the store itself if it can be read.
pub(super) struct Seen {
    pub(super) found: Vec<Finding>,
    pub(super) documents: Option<Arc<dyn Documents>>,
}

impl Deployment {
    pub(super) async fn store(&self) -> Seen {
        let looking = async {
            match &self.config.store {
                Store::Embedded { file } => self.embedded(file).await,
                Store::Redis(redis) => self.redis(redis).await,
            }
        };
        let late = |_| {
            let cause = format!("no answer within {} s", STORE_MAX.as_secs());
            Seen { found: vec![judge::unreachable("store", &cause)], documents: None }
        };
        tokio::time::timeout(STORE_MAX, looking).await.unwrap_or_else(late)
    }

    async fn embedded(&self, file: &Path) -> Seen {
        let (found, documents): (_, Option<Arc<dyn Documents>>) =
            match Looking::at(file, self.clock.clone()).await {
                Ok(Looked::Open(looking)) => (File::Read, Some(Arc::new(looking))),
                Ok(Looked::InUse) => (File::InUse, None),
                Ok(Looked::Unclean) => (File::Unclean, None),
                Ok(Looked::Nothing) => (File::Nothing, None),
                Err(err) => (File::Unusable(err.to_string()), None),
            };
        Seen { found: vec![judge::file(&file.display().to_string(), &found)], documents }
    }

    async fn redis(&self, redis: &config::Redis) -> Seen {
        let failed =
            |cause: String| Seen { found: vec![judge::unreachable(&place(redis), &cause)], documents: None };
        let options = match crate::app::redis::options(redis) {
            Ok(options) => options,
            Err(err) => return failed(err.to_string()),
        };
        let store = match RedisStore::look(options).await {
            Ok(store) => store,
            Err(err) => return failed(err.to_string()),
        };
        let (nodes, tried, sentinels) =
            tokio::join!(store.nodes_now(&*self.clock), store.tried(), store.sentinels_told());
        let (nodes, tried) = match (nodes, tried) {
            (Ok(nodes), Ok(tried)) => (nodes, tried),
            (Err(err), _) | (_, Err(err)) => return failed(err.to_string()),
        };
        let risks: Vec<_> = store.durability().iter().map(risk).collect();
        let denied: Vec<_> =
            tried.denied.into_iter().map(|one| (one.node.to_string(), one.command)).collect();
        let seen: Vec<_> = nodes.iter().map(node).collect();
        let mut found = judge::nodes(&seen);
        let refusing = tried.refusing.iter();
        found.extend(refusing.map(|(node, cause)| judge::takes_no_writes(&node.to_string(), cause)));
        if let [used] = seen.as_slice() {
            found.extend(judge::sentinels(
                &sentinels.into_iter().map(sentinel).collect::<Vec<_>>(),
                &used.address,
            ));
        }
        found.extend(judge::durability(&seen, &risks));
        found.extend(judge::rights(&seen, &denied));
        found.extend(nodes.iter().map(|node| {
            let told = Told { theirs: node.time, asked: node.asked, answered: node.answered };
            compared(&format!("Redis at {}", node.node), told)
        }));
        Seen { found, documents: Some(Arc::new(store)) }
    }
}

fn place(redis: &config::Redis) -> String {
    match &redis.topology {
        config::RedisTopology::Standalone(address) => format!("Redis at {address}"),
        config::RedisTopology::Sentinel { primary, .. } => format!("Redis {primary} of its sentinels"),
        config::RedisTopology::Cluster(_) => "Redis Cluster".to_owned(),
    }
}

fn node(now: &NodeNow) -> judge::Node {
    judge::Node {
        address: now.node.to_string(),
        version: now.version.clone(),
        replicas: now.replicas,
        memory_used: now.memory_used,
        memory_max: now.memory_max,
    }
}

fn sentinel(now: SentinelNow) -> judge::Sentinel {
    let SentinelNow { sentinel, primary, sees, sentinels, quorum } = now;
    let sees = match sees {
        Sees::Primary => judge::Sees::Primary,
        Sees::Nothing => judge::Sees::Nothing,
    };
    let why = |error| match error {
        StoreError::Unavailable { cause } | StoreError::Unusable { cause } => cause,
        other => other.to_string(),
    };
    let told = |at: HostPort| judge::Told { primary: at.to_string(), sees, sentinels, quorum };
    judge::Sentinel { address: sentinel.to_string(), told: primary.map(told).map_err(why) }
}

fn risk(found: &DurabilityFinding) -> judge::Risk {
    judge::Risk {
        address: found.node.to_string(),
        weight: match found.risk.weight() {
            Weight::Untold => judge::Weight::Untold,
            Weight::Advice => judge::Weight::Advice,
            Weight::Loses => judge::Weight::Loses,
        },
        problem: found.risk.problem(),
        mend: found.risk.mend().to_owned(),
    }
}
