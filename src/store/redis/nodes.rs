//! Who serves what at the moment. A shard lies in one hash slot, so a map from slots to nodes is all the routing there
//! is; with one primary the map has one entry. Follows what certainly did not run (MOVED, ASK, TRYAGAIN, a replica's
//! READONLY), within the deadline of the call; everything else is the caller's to settle.
//!
//! The library's own clients for clusters and sentinels are not used: they send again what may have run, and block a
//! call for as long as they retry.

use super::{
    super::{CALL_TIMEOUT, StoreError},
    dialing::{Dialer, Peer},
    link::Link,
    options::{RedisOptions, Topology},
    refusals::{Elsewhere, Fault},
    resolving::Resolver,
};
use crate::domain::host_port::HostPort;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redis::{FromRedisValue, Pipeline};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex as Lock, Notify, Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout_at},
};

/// How often one call is sent on.
const HOPS_MAX: u32 = 8;
/// The pause before a slot that is on its way is asked again.
const TRY_AGAIN_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks at who serves what, however many calls ask for one.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// How long it is not waited for replicas after they did not confirm in time.
const CONFIRM_PAUSE: Duration = Duration::from_secs(1);
/// In milliseconds: how long the writes that are under way at one node may wait for replicas, all together. `WAIT` holds up
/// what comes behind it on the connection, so that they wait one after the other; half of what a call may take.
const WAITING_MAX: u32 = 1000;

/// Reads and writes have a connection each: a page of large bodies holds up no commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Reads,
    Writes,
}

pub(super) struct Node {
    pub(super) address: HostPort,
    reads: Link,
    writes: Link,
    /// Until when replicas are not waited for; and that they did not come the last time, until they do.
    unconfirmed: Mutex<Option<Instant>>,
    /// What is left of [`WAITING_MAX`].
    waiting: Semaphore,
}

/// Who serves which slots. Every slot that a document can be in has a node.
pub(super) struct Map {
    /// By first slot; each reaches to the next.
    from: BTreeMap<u16, Arc<Node>>,
}

pub(super) struct Nodes {
    dialer: Dialer,
    resolver: Resolver,
    map: ArcSwapOption<Map>,
    /// Nodes that slots are on their way to, until the next map.
    guests: Mutex<BTreeMap<HostPort, Arc<Node>>>,
    /// Held while looking; when that ended, and how.
    looked: Lock<Option<(Instant, Option<StoreError>)>>,
    /// Somebody met a reason to look.
    wake: Notify,
    /// So that one outage is told of once.
    told: AtomicBool,
}

/// Whether a node is asked as the owner of the slot or as the one that takes it over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    Owner,
    Guest,
}

impl Node {
    pub(super) fn new(dialer: &Dialer, address: HostPort) -> Self {
        let link = || Link::new(dialer.clone(), address.clone());
        let waiting = Semaphore::new(WAITING_MAX as usize);
        Self { reads: link(), writes: link(), unconfirmed: Mutex::default(), waiting, address }
    }

    pub(super) fn link(&self, lane: Lane) -> &Link {
        match lane {
            Lane::Reads => &self.reads,
            Lane::Writes => &self.writes,
        }
    }

    /// The next questions are asked on new connections.
    pub(super) fn forget(&self) {
        self.reads.forget();
        self.writes.forget();
    }

    /// Leave to wait for replicas so long, if they can be expected to confirm. Where they are gone, not every write waits
    /// for them in vain: one at a time finds out whether they are back.
    pub(super) async fn turn_to_wait(
        &self,
        within: Duration,
        deadline: Instant,
    ) -> Result<Option<SemaphorePermit<'_>>, StoreError> {
        let share = match *self.unconfirmed.lock() {
            None => u32::try_from(within.as_millis()).unwrap_or(WAITING_MAX).clamp(1, WAITING_MAX),
            Some(until) if Instant::now() < until => return Ok(None),
            Some(_) => WAITING_MAX,
        };
        let turn = timeout_at(deadline, self.waiting.acquire_many(share)).await;
        let turn = turn.map_err(|_| StoreError::Unavailable {
            cause: format!("Redis at {} was silent to the writes before this one", self.address),
        })?;
        // Others may have waited in vain meanwhile.
        Ok(turn.ok().filter(|_| self.confirms()))
    }

    fn confirms(&self) -> bool {
        self.unconfirmed.lock().is_none_or(|until| Instant::now() >= until)
    }

    pub(super) fn confirmed(&self, confirmed: bool) {
        *self.unconfirmed.lock() = (!confirmed).then(|| Instant::now() + CONFIRM_PAUSE);
    }
}

impl Map {
    pub(super) fn new(from: BTreeMap<u16, Arc<Node>>) -> Self {
        Self { from }
    }

    fn node(&self, slot: u16) -> Option<&Arc<Node>> {
        self.from.range(..=slot).next_back().map(|(_, node)| node)
    }

    /// Each node once, by address.
    pub(super) fn nodes(&self) -> BTreeMap<&HostPort, &Arc<Node>> {
        self.from.values().map(|node| (&node.address, node)).collect()
    }
}

impl Nodes {
    /// Finds out who serves what. `slots` are those that have to be served.
    pub(super) async fn find(options: &RedisOptions, slots: Vec<u16>) -> Result<Self, StoreError> {
        let dialer = Dialer::new(options, Peer::Data);
        let nodes = Self {
            resolver: Resolver::new(options, slots),
            dialer,
            map: ArcSwapOption::empty(),
            guests: Mutex::default(),
            looked: Lock::default(),
            wake: Notify::new(),
            told: AtomicBool::new(false),
        };
        nodes.look(None).await?;
        Ok(nodes)
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(super) fn topology(&self) -> &Topology {
        self.resolver.topology()
    }

    pub(super) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Every node that serves something.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        let map = self.map.load();
        map.iter().flat_map(|map| map.nodes().into_values().cloned()).collect()
    }

    pub(super) fn node(&self, slot: u16) -> Result<Arc<Node>, StoreError> {
        let map = self.map.load();
        map.as_ref().and_then(|map| map.node(slot)).cloned().ok_or_else(|| StoreError::Unavailable {
            cause: "it is not known which Redis serves this".to_owned(),
        })
    }

    /// Asks whoever serves the slot. After an error that is not Redis' own refusal it is open whether it was heard.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        slot: u16,
        lane: Lane,
        question: &Pipeline,
    ) -> Result<T, Fault> {
        let mut node = self.node(slot).map_err(Fault::Store)?;
        self.asked(&mut node, (slot, lane), question, Instant::now() + CALL_TIMEOUT).await
    }

    /// The same of a write, beginning with this node; afterwards it is the one that was asked last.
    pub(super) async fn ask_at<T: FromRedisValue>(
        &self,
        node: &mut Arc<Node>,
        slot: u16,
        question: &Pipeline,
        deadline: Instant,
    ) -> Result<T, Fault> {
        self.asked(node, (slot, Lane::Writes), question, deadline).await
    }

    async fn asked<T: FromRedisValue>(
        &self,
        node: &mut Arc<Node>,
        (slot, lane): (u16, Lane),
        question: &Pipeline,
        deadline: Instant,
    ) -> Result<T, Fault> {
        let answer = self.follow(node, (slot, lane), question, deadline).await;
        let elsewhere = match &answer {
            Err(Fault::Store(error)) => error.is_outage(),
            Err(Fault::Dial(_) | Fault::ReadOnly(_)) => true,
            Ok(_) | Err(Fault::NoScript | Fault::Moved(_) | Fault::Ask(_) | Fault::TryAgain) => false,
        };
        if elsewhere {
            // It may be served elsewhere by now.
            self.wake.notify_one();
        }
        answer
    }

    async fn follow<T: FromRedisValue>(
        &self,
        node: &mut Arc<Node>,
        (slot, lane): (u16, Lane),
        question: &Pipeline,
        deadline: Instant,
    ) -> Result<T, Fault> {
        let (mut hops, mut role, mut put_off) = (0, As::Owner, false);
        loop {
            let link = node.link(lane);
            let answer = match role {
                As::Owner => link.ask(question, deadline).await,
                As::Guest => link.ask(&asking(question), deadline).await,
            };
            hops += 1;
            let refused = match answer {
                // Asked again so late that no answer could come, it says more that it was put off until then.
                Err(Fault::Store(StoreError::Unavailable { .. }))
                    if put_off && deadline <= Instant::now() =>
                {
                    return Err(Fault::TryAgain);
                }
                Err(fault) if hops < HOPS_MAX => fault,
                answer => return answer,
            };
            (*node, role) = match refused {
                Fault::Moved(to) => {
                    self.wake.notify_one();
                    (self.elsewhere(node, &to)?, As::Owner)
                }
                Fault::Ask(to) => (self.elsewhere(node, &to)?, As::Guest),
                Fault::TryAgain if Instant::now() + TRY_AGAIN_PAUSE < deadline => {
                    sleep(TRY_AGAIN_PAUSE).await;
                    put_off = true;
                    hops -= 1;
                    (self.node(slot).map_err(Fault::Store)?, As::Owner)
                }
                Fault::ReadOnly(error) => {
                    let looked = timeout_at(deadline, self.look(Some(&node.address))).await;
                    let next = self.node(slot).map_err(Fault::Store)?;
                    if !matches!(looked, Ok(Ok(()))) || next.address == node.address {
                        return Err(Fault::ReadOnly(error));
                    }
                    (next, As::Owner)
                }
                fault @ (Fault::NoScript | Fault::TryAgain | Fault::Dial(_) | Fault::Store(_)) => {
                    return Err(fault);
                }
            };
        }
    }

    /// A node that another one names.
    fn elsewhere(&self, from: &Node, to: &Elsewhere) -> Result<Arc<Node>, Fault> {
        let host = to.host.as_deref().unwrap_or_else(|| from.address.host());
        let address = HostPort::new(host, to.port).map_err(|_| {
            let refusals = self.dialer.refusals(&from.address);
            Fault::Store(refusals.unavailable("named a node without a usable address"))
        })?;
        let map = self.map.load();
        if let Some(known) = map.as_ref().and_then(|map| map.nodes().get(&address).copied().cloned()) {
            return Ok(known);
        }
        let mut guests = self.guests.lock();
        let guest = guests
            .entry(address)
            .or_insert_with_key(|address| Arc::new(Node::new(&self.dialer, address.clone())));
        Ok(guest.clone())
    }

    /// Looks anew who serves what, unless somebody did a moment ago. `suspect`: no look is needed if it serves nothing
    /// any more.
    pub(super) async fn look(&self, suspect: Option<&HostPort>) -> Result<(), StoreError> {
        let mut looked = self.looked.lock().await;
        if let Some(suspect) = suspect
            && !self.all().iter().any(|node| node.address == *suspect)
        {
            return Ok(());
        }
        if let Some((at, outcome)) = looked.as_ref().filter(|(at, _)| at.elapsed() < LOOK_PAUSE) {
            match (suspect, outcome) {
                // A failed look answers for those who come after; a map without change may just be too old.
                (_, Some(error)) => return Err(error.clone()),
                (None, None) => return Ok(()),
                (Some(_), None) => sleep(LOOK_PAUSE.saturating_sub(at.elapsed())).await,
            }
        }
        let known = self.all();
        let make = |address: HostPort| {
            let known = known.iter().find(|node| node.address == address).cloned();
            known.unwrap_or_else(|| Arc::new(Node::new(&self.dialer, address)))
        };
        let found = self.resolver.resolve(&known, make).await;
        let outcome = found.map(|map| self.take(map, &known));
        *looked = Some((Instant::now(), outcome.clone().err()));
        outcome
    }

    fn take(&self, map: Map, before: &[Arc<Node>]) {
        let addresses = |nodes: Vec<&Arc<Node>>| {
            nodes.iter().map(|node| node.address.to_string()).collect::<Vec<_>>().join(" ")
        };
        let (was, is) = (addresses(before.iter().collect()), addresses(map.nodes().into_values().collect()));
        if !before.is_empty() && was != is {
            tracing::warn!(was, is, "redis is served by other primaries now");
        }
        self.map.store(Some(Arc::new(map)));
        self.guests.lock().clear();
    }

    /// Says that somebody met a reason to look.
    pub(super) fn suspect(&self) {
        self.wake.notify_one();
    }

    /// Looks again and again, and at once where somebody met a reason to. Never ends.
    pub(super) async fn keep_looking(&self) {
        let every = self.resolver.every();
        loop {
            let _ = tokio::time::timeout(every, self.wake.notified()).await;
            match self.look(None).await {
                Ok(()) => {
                    if self.told.swap(false, Ordering::Relaxed) {
                        tracing::info!("it is known again which redis serves what");
                    }
                }
                Err(error) => {
                    if !self.told.swap(true, Ordering::Relaxed) {
                        tracing::warn!(cause = %error, "it cannot be told which redis serves what; what was known is used");
                    }
                }
            }
            sleep(LOOK_PAUSE).await;
        }
    }
}

/// The same question to a node that does not own the slot yet.
fn asking(question: &Pipeline) -> Pipeline {
    let mut asking = Pipeline::with_capacity(question.len() * 2);
    for command in question.cmd_iter() {
        asking.cmd("ASKING").ignore();
        asking.add_command(command.clone());
    }
    asking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slot_is_served_by_the_range_that_it_lies_in() {
        let options = RedisOptions::from_url("redis://h:1").unwrap();
        let dialer = Dialer::new(&options, Peer::Data);
        let node = |port| Arc::new(Node::new(&dialer, HostPort::new("h", port).unwrap()));
        let map = Map::new([(0, node(1)), (100, node(2)), (5461, node(1))].into());
        for (slot, port) in [(0, 1), (99, 1), (100, 2), (5460, 2), (5461, 1), (16383, 1)] {
            assert_eq!(map.node(slot).unwrap().address.port(), port, "{slot}");
        }
        assert_eq!(map.nodes().len(), 2);
        assert!(Map::new([(5, node(1))].into()).node(4).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_that_did_not_confirm_are_left_alone_for_a_while() {
        let options = RedisOptions::from_url("redis://h:1").unwrap();
        let node = Node::new(&Dialer::new(&options, Peer::Data), HostPort::new("h", 1).unwrap());
        let within = Duration::from_millis(100);
        // Ten at once wait for a second all together, and the next for one of them.
        let deadline = || Instant::now() + CALL_TIMEOUT;
        let turn = || async { node.turn_to_wait(within, deadline()).await.unwrap() };
        let mut turns = Vec::new();
        for _ in 0..10 {
            turns.push(turn().await.unwrap());
        }
        let begun = Instant::now();
        let told =
            node.turn_to_wait(within, begun + Duration::from_millis(300)).await.err().unwrap().to_string();
        assert_eq!(begun.elapsed(), Duration::from_millis(300), "no longer than the call may take");
        assert!(told.contains("Redis at h:1 was silent"), "{told}");
        turns.pop();
        turns.push(turn().await.unwrap());

        node.confirmed(false);
        assert!(turn().await.is_none());
        tokio::time::advance(CONFIRM_PAUSE).await;
        turns.clear();
        // Whether they are back is for one to find out.
        let probe = turn().await.unwrap();
        assert!(node.turn_to_wait(within, deadline()).await.is_err());
        node.confirmed(true);
        drop(probe);
        let _one = turn().await.unwrap();
        let _other = turn().await.unwrap();
    }

    #[test]
    fn a_guest_is_asked_before_each_command() {
        let mut question = Pipeline::new();
        question.cmd("TIME").cmd("GET").arg("k");
        let packed = String::from_utf8(asking(&question).get_packed_pipeline()).unwrap();
        let words: Vec<_> =
            packed.split("\r\n").filter(|word| word.chars().all(char::is_alphabetic)).collect();
        assert_eq!(words, ["ASKING", "TIME", "ASKING", "GET", "k", ""]);
    }
}
