//! Finds out who serves what: the configured address, what the sentinels agree on, or what the nodes of a cluster say.
//! Asks all that can be asked at once, so that a dead one holds nobody up.

use super::{
    super::StoreError,
    RedisStore,
    dialing::{Dialer, Peer},
    link::Link,
    nodes::{Lane, Map, Node},
    options::{RedisOptions, Topology},
    refusals::Fault,
    slots::{self, SLOTS},
};
use crate::domain::host_port::HostPort;
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use redis::{Pipeline, Value};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_millis(1200);
/// How long the other sentinels have after the first has answered.
const OTHERS: Duration = Duration::from_millis(100);
/// Most nodes of a cluster that are asked in one look.
const ASKED_MAX: usize = 8;

pub(super) struct Resolver {
    topology: Topology,
    /// The nodes that the configuration names.
    seeds: Vec<Arc<Node>>,
    sentinels: Vec<Link>,
    slots: Vec<u16>,
    /// Of the nodes of a cluster: with whom the next look begins.
    turn: AtomicUsize,
}

/// What one sentinel says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    address: HostPort,
    /// Grows with each failover that the sentinels agreed on.
    epoch: u64,
    sees: Sees,
    /// With itself; `None`: it does not tell.
    sentinels: Option<usize>,
    quorum: Option<usize>,
}

/// Whether a sentinel reaches the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    Primary,
    /// It takes it for down, or cannot log in there: it does not watch it, and knows no replica to promote.
    Nothing,
}

/// One sentinel by itself, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelNow {
    pub sentinel: HostPort,
    /// What it takes for the primary, or why it does not say.
    pub primary: Result<HostPort, StoreError>,
    pub sees: Sees,
    /// How many watch the primary, this one included, and how many of them have to agree that it is down. `None`: it
    /// does not tell.
    pub sentinels: Option<usize>,
    pub quorum: Option<usize>,
}

impl RedisStore {
    /// What each sentinel tells of the primary and of the others. Empty where there are none.
    pub async fn sentinels_told(&self) -> Vec<SentinelNow> {
        self.nodes.resolver().sentinels_told().await
    }
}

impl Resolver {
    pub(super) fn new(options: &RedisOptions, slots: Vec<u16>) -> Self {
        let topology = options.topology.clone();
        let sentinel = Dialer::new(options, Peer::Sentinel);
        let data = Dialer::new(options, Peer::Data);
        let (mut seeds, mut sentinels) = (Vec::new(), Vec::new());
        match &topology {
            Topology::Standalone(_) => {}
            Topology::Sentinel { sentinels: named, .. } => {
                sentinels = named.iter().map(|at| Link::new(sentinel.clone(), at.clone())).collect();
            }
            Topology::Cluster { seeds: named } => {
                seeds = named.iter().map(|at| Arc::new(Node::new(&data, at.clone()))).collect();
            }
        }
        Self { topology, seeds, sentinels, slots, turn: AtomicUsize::new(0) }
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// How often it is looked without a reason. Sentinels often: a primary that is cut off from them may still answer.
    pub(super) fn every(&self) -> Duration {
        match self.topology {
            Topology::Standalone(_) => Duration::from_secs(60),
            Topology::Sentinel { .. } => Duration::from_secs(1),
            Topology::Cluster { .. } => Duration::from_secs(10),
        }
    }

    pub(super) async fn resolve(
        &self,
        known: &[Arc<Node>],
        make: impl Fn(HostPort) -> Arc<Node>,
    ) -> Result<Map, StoreError> {
        match &self.topology {
            Topology::Standalone(address) => Ok(Map::new([(0, make(address.clone()))].into())),
            Topology::Sentinel { primary, .. } => {
                let address = self.ask_sentinels(primary).await?;
                Ok(Map::new([(0, make(address))].into()))
            }
            Topology::Cluster { .. } => {
                let ranges = self.ask_cluster(known).await?;
                Ok(Map::new(ranges.into_iter().map(|(first, address)| (first, make(address))).collect()))
            }
        }
    }

    /// The address that the latest failover led to. All are asked: one that was cut off may not know of it.
    async fn ask_sentinels(&self, primary: &str) -> Result<HostPort, StoreError> {
        let last = Instant::now() + LOOK_TIMEOUT;
        let mut asked: FuturesUnordered<_> = self
            .sentinels
            .iter()
            .map(|sentinel| async move { ask_sentinel(sentinel, primary, last).await })
            .collect();
        let mut deadline = last;
        let (mut best, mut failed): (Option<Told>, Vec<StoreError>) = (None, Vec::new());
        while let Ok(Some(answer)) = timeout_at(deadline, asked.next()).await {
            match answer {
                Ok(told) => {
                    deadline = deadline.min(Instant::now() + OTHERS);
                    best = best.into_iter().chain([told]).max_by_key(|told| told.epoch);
                }
                Err(fault) => failed.push(fault.at_start()),
            }
        }
        best.map(|told| told.address).ok_or_else(|| worst(failed, self.sentinels.len()))
    }

    async fn sentinels_told(&self) -> Vec<SentinelNow> {
        let Topology::Sentinel { primary, .. } = &self.topology else { return Vec::new() };
        let last = Instant::now() + LOOK_TIMEOUT;
        let asked = self.sentinels.iter().map(|link| async move {
            let sentinel = link.address().clone();
            match ask_sentinel(link, primary, last).await {
                Ok(Told { address, sees, sentinels, quorum, .. }) => {
                    SentinelNow { sentinel, primary: Ok(address), sees, sentinels, quorum }
                }
                Err(fault) => {
                    let primary = Err(fault.at_start());
                    SentinelNow { sentinel, primary, sees: Sees::Nothing, sentinels: None, quorum: None }
                }
            }
        });
        join_all(asked).await
    }

    /// By first slot. The first complete answer counts: a node that was cut off answers with an old map, which its
    /// readers are redirected from.
    async fn ask_cluster(&self, known: &[Arc<Node>]) -> Result<BTreeMap<u16, HostPort>, StoreError> {
        let mut question = Pipeline::with_capacity(1);
        question.cmd("CLUSTER").arg("SLOTS");
        let deadline = Instant::now() + LOOK_TIMEOUT;
        let candidates: BTreeMap<_, _> =
            self.seeds.iter().chain(known).map(|node| (&node.address, node.clone())).collect();
        let count = candidates.len().min(ASKED_MAX);
        // Others each time, where there are many: those that were asked last may all be gone.
        let first = self.turn.fetch_add(ASKED_MAX, Ordering::Relaxed) % candidates.len().max(1);
        let mut asked: FuturesUnordered<_> = candidates
            .values()
            .cycle()
            .skip(first)
            .take(count)
            .cloned()
            .map(|node| {
                let question = &question;
                async move {
                    let answer: Result<(Value,), Fault> =
                        node.link(Lane::Reads).ask(question, deadline).await;
                    (node.address.clone(), answer)
                }
            })
            .collect();
        let mut failed = Vec::new();
        while let Ok(Some((from, answer))) = timeout_at(deadline, asked.next()).await {
            match answer {
                Ok((answer,)) => match complete(answer, &from, &self.slots) {
                    Ok(ranges) => return Ok(ranges),
                    Err(error) => failed.push(error),
                },
                Err(fault) => failed.push(fault.at_start()),
            }
        }
        Err(worst(failed, count))
    }
}

async fn ask_sentinel(sentinel: &Link, primary: &str, deadline: Instant) -> Result<Told, Fault> {
    let mut question = Pipeline::with_capacity(1);
    question.cmd("SENTINEL").arg("MASTER").arg(primary);
    let (told,): (HashMap<String, String>,) = sentinel.ask(&question, deadline).await?;
    told_by(&told).ok_or_else(|| Fault::Store(odd("a Sentinel")))
}

/// What is told where nobody knew: what has to be mended only if all say so.
fn worst(failed: Vec<StoreError>, asked: usize) -> StoreError {
    let passing = |error: &StoreError| !matches!(error, StoreError::Unusable { .. });
    let all_answered = failed.len() == asked;
    let passes = failed.iter().find(|error| passing(error)).cloned();
    match (passes, failed.into_iter().next()) {
        (None, Some(lasting)) if all_answered => lasting,
        (Some(passes), _) => passes,
        (None, Some(StoreError::Unusable { cause })) => StoreError::Unavailable { cause },
        (None, Some(other)) => other,
        (None, None) => StoreError::Unavailable {
            cause: "none of store.redis.nodes answered: check the names, the network and TLS".to_owned(),
        },
    }
}

fn odd(who: &str) -> StoreError {
    StoreError::Unavailable { cause: format!("{who} answered something unexpected") }
}

fn told_by(fields: &HashMap<String, String>) -> Option<Told> {
    let address = HostPort::new(fields.get("ip")?, fields.get("port")?.parse().ok()?).ok()?;
    let number = |field| fields.get(field).and_then(|told: &String| told.parse::<usize>().ok());
    let blind = |flag| ["s_down", "o_down", "disconnected"].contains(&flag);
    let sees = match fields.get("flags") {
        Some(flags) if flags.split(',').any(blind) => Sees::Nothing,
        Some(_) | None => Sees::Primary,
    };
    Some(Told {
        address,
        epoch: fields.get("config-epoch")?.parse().ok()?,
        sees,
        sentinels: number("num-other-sentinels").map(|others| others.saturating_add(1)),
        quorum: number("quorum"),
    })
}

/// The map, if it has a primary for each of these slots.
fn complete(answer: Value, from: &HostPort, needed: &[u16]) -> Result<BTreeMap<u16, HostPort>, StoreError> {
    let who = || format!("Redis at {from}");
    let ranges = slots::ranges(answer).ok_or_else(|| odd(&who()))?;
    if let Some(slot) =
        needed.iter().find(|slot| !ranges.iter().any(|range| (range.first..=range.last).contains(slot)))
    {
        let cause = format!(
            "{} knows no primary for hash slot {slot} of {SLOTS}: see `CLUSTER INFO` and `CLUSTER NODES` there",
            who()
        );
        return Err(StoreError::Unavailable { cause });
    }
    ranges
        .into_iter()
        .map(|range| {
            let host = range.host.as_deref().unwrap_or_else(|| from.host());
            HostPort::new(host, range.port).map(|address| (range.first, address)).map_err(|_| odd(&who()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unusable(cause: &str) -> StoreError {
        StoreError::Unusable { cause: cause.to_owned() }
    }

    fn unavailable(cause: &str) -> StoreError {
        StoreError::Unavailable { cause: cause.to_owned() }
    }

    #[test]
    fn what_has_to_be_mended_is_told_only_if_all_say_so() {
        assert_eq!(worst(vec![unusable("a"), unusable("b")], 2), unusable("a"));
        assert_eq!(worst(vec![unusable("a")], 2), unavailable("a"), "the other was silent");
        assert_eq!(worst(vec![unusable("a"), unavailable("b")], 2), unavailable("b"));
        assert!(matches!(worst(vec![], 2), StoreError::Unavailable { .. }));
    }

    #[test]
    fn a_sentinel_tells_address_and_epoch() {
        let fields = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<HashMap<_, _>>()
        };
        let good = [("ip", "10.0.0.7"), ("port", "6379"), ("config-epoch", "4"), ("flags", "master")];
        let address = "10.0.0.7:6379".parse().unwrap();
        let want = Told { address, epoch: 4, sees: Sees::Primary, sentinels: None, quorum: None };
        assert_eq!(told_by(&fields(&good)), Some(want.clone()));
        let more = [good.as_slice(), &[("num-other-sentinels", "2"), ("quorum", "2")]].concat();
        let counted = Told { sentinels: Some(3), quorum: Some(2), ..want.clone() };
        assert_eq!(told_by(&fields(&more)), Some(counted));
        for flags in ["s_down,master,disconnected", "master,disconnected", "s_down,o_down,master"] {
            let blind = [&good[..3], &[("flags", flags)]].concat();
            assert_eq!(
                told_by(&fields(&blind)),
                Some(Told { sees: Sees::Nothing, ..want.clone() }),
                "{flags}"
            );
        }
        for missing in 0..3 {
            let mut some = good.to_vec();
            some.remove(missing);
            assert_eq!(told_by(&fields(&some)), None, "without {:?}", good[missing]);
        }
        assert_eq!(told_by(&fields(&[("ip", ""), ("port", "6379"), ("config-epoch", "4")])), None);
    }

    #[test]
    fn a_map_with_a_hole_is_used_where_nothing_of_ours_is_in_it() {
        let node = || Value::Array(vec![Value::BulkString(b"h".to_vec()), Value::Int(7001)]);
        let entry = |first, last| Value::Array(vec![Value::Int(first), Value::Int(last), node()]);
        let answer = Value::Array(vec![entry(0, 99), entry(200, 16383)]);
        let from = "h:1".parse().unwrap();
        let found = complete(answer.clone(), &from, &[0, 99, 200]).unwrap();
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 200]);
        let hole = complete(answer, &from, &[0, 100]).unwrap_err().to_string();
        assert!(hole.contains("hash slot 100"), "{hole}");
    }
}
