//! What somebody who examines a deployment wants to know of Redis: each node's version, memory and clock, and whether the
//! user may do all that a broker does. Changes nothing: what is tried is tried on a key that never is there, in a form
//! that does nothing to such a one.

use super::{
    super::{CALL_TIMEOUT, StoreError},
    RedisStore,
    durability::{field, number, replicas},
    nodes::{Lane, Node},
    refusals::{Fault, is_denied},
    slots::slot_of,
    timestamp,
};
use crate::{
    clock::{Clock, Timestamp},
    domain::host_port::HostPort,
};
use redis::{Pipeline, Value};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

/// One node that serves documents, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNow {
    pub node: HostPort,
    pub version: String,
    /// That are online.
    pub replicas: usize,
    /// In bytes.
    pub memory_used: u64,
    /// `None`: no limit.
    pub memory_max: Option<u64>,
    /// Its clock, and ours before it was asked and after it had answered.
    pub time: Timestamp,
    pub asked: Timestamp,
    pub answered: Timestamp,
}

/// What came of trying all that a broker does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    pub denied: Vec<Denied>,
    /// Nodes that take no writes from anybody at present, and why.
    pub refusing: BTreeMap<HostPort, String>,
}

/// A command that the user may not give there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub node: HostPort,
    pub command: &'static str,
}

/// What a broker asks of Redis, in forms that do nothing to a key that is not there. The key is put where `KEY` stands.
const NEEDED: &[(&str, &[&str])] = &[
    ("get", &["GET", KEY]),
    ("mget", &["MGET", KEY]),
    ("getrange", &["GETRANGE", KEY, "0", "7"]),
    ("set", &["SET", KEY, "", "XX"]),
    ("del", &["DEL", KEY]),
    ("zadd", &["ZADD", KEY, "XX", "0", "-"]),
    ("zrem", &["ZREM", KEY, "-"]),
    ("zrange", &["ZRANGE", KEY, "0", "0"]),
    ("xadd", &["XADD", KEY, "NOMKSTREAM", "*", "-", "-"]),
    ("xread", &["XREAD", "COUNT", "1", "STREAMS", KEY, "0"]),
    ("xrevrange", &["XREVRANGE", KEY, "+", "-", "COUNT", "1"]),
    ("eval", &["EVAL", "return 1", "1", KEY]),
    // Nobody's script: that it is not known there is answered after it was allowed.
    ("evalsha", &["EVALSHA", "0000000000000000000000000000000000000000", "1", KEY]),
];
const KEY: &str = "KEY";
/// Where replicas are waited for.
const WAITS: (&str, &[&str]) = ("wait", &["WAIT", "0", "1"]);

impl RedisStore {
    /// Every node that serves documents.
    pub async fn nodes_now(&self, clock: &dyn Clock) -> Result<Vec<NodeNow>, StoreError> {
        let mut all = Vec::new();
        for node in self.nodes.all() {
            let mut question = Pipeline::new();
            question.cmd("TIME").cmd("INFO");
            let asked = clock.now();
            let answer = node.link(Lane::Reads).ask(&question, Instant::now() + CALL_TIMEOUT).await;
            let answered = clock.now();
            let (time, info): ((u64, u64), String) = answer.map_err(Fault::at_start)?;
            let version = field(&info, "redis_version").unwrap_or_default();
            all.push(NodeNow {
                node: node.address.clone(),
                version: version.chars().filter(char::is_ascii_graphic).take(32).collect(),
                replicas: replicas(&info),
                memory_used: number(&info, "used_memory").unwrap_or_default(),
                memory_max: number(&info, "maxmemory").filter(|most| *most > 0),
                time: timestamp(time),
                asked,
                answered,
            });
        }
        Ok(all)
    }

    /// What the user may not do of all that a broker does, and which nodes take no writes.
    pub async fn tried(&self) -> Result<Tried, StoreError> {
        let mut one_shard_each: BTreeMap<HostPort, (Arc<Node>, u16)> = BTreeMap::new();
        for shard in 0..self.layout.shards() {
            let node = self.nodes.node(slot_of(&self.layout.nothing(shard)))?;
            one_shard_each.entry(node.address.clone()).or_insert((node, shard));
        }
        let waits = self.confirming.waits().then_some(WAITS);
        let mut tried = Tried::default();
        for (address, (node, shard)) in one_shard_each {
            let key = self.layout.nothing(shard);
            for (command, words) in NEEDED.iter().copied().chain(waits) {
                let mut question = Pipeline::with_capacity(1);
                let mut asked = redis::cmd(words[0]);
                for word in &words[1..] {
                    asked.arg(if *word == KEY { key.as_str() } else { *word });
                }
                question.add_command(asked);
                let deadline = Instant::now() + CALL_TIMEOUT;
                match node.link(Lane::Reads).ask::<(Value,)>(&question, deadline).await {
                    Err(Fault::Store(error)) if is_denied(&error) => {
                        tried.denied.push(Denied { node: address.clone(), command });
                    }
                    Err(Fault::Store(StoreError::WritesRefused { cause })) => {
                        tried.refusing.insert(address.clone(), cause);
                    }
                    // Refused for something else than rights, which is told elsewhere: the right is there.
                    Ok(_)
                    | Err(
                        Fault::NoScript
                        | Fault::Moved(_)
                        | Fault::Ask(_)
                        | Fault::TryAgain
                        | Fault::ReadOnly(_)
                        | Fault::Store(StoreError::Full),
                    ) => {}
                    Err(Fault::Dial(error) | Fault::Store(error)) => return Err(error),
                }
            }
        }
        Ok(tried)
    }
}
