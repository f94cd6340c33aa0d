//! The change feed: connections of its own that wait on the streams of all shards at once; in a cluster one for each
//! shard. Lost or trimmed notices, a broken connection, a flushed or replaced Redis all come out as [`Notice::Gap`]. Never
//! works unless somebody waits in `next`, and drops nothing when that wait is cancelled.

use super::{
    super::{CALL_TIMEOUT, Feed, Key, Notice, StoreError, Version},
    dialing::Connection,
    durability::check_primary,
    nodes::Nodes,
    slots::slot_of,
};
use crate::domain::host_port::HostPort;
use async_trait::async_trait;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use redis::{Pipeline, Value};
use std::{
    collections::{BTreeSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long one read waits for notices.
const WAIT: Duration = Duration::from_secs(1);
/// Most notices of one shard in one read.
const READ_MAX: usize = 256;
/// How often it is looked whether the streams are still those that are waited on.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The pause before dialing again: doubles from the one to the other.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What stands for a version in the notice of a delete.
pub(super) const DELETED: u64 = 0;

/// The id of a notice in its stream: when the stream was born, and a number without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Id {
    born: u64,
    number: u64,
}

/// A round of one listener: itself again, and what it heard.
type Round = BoxFuture<'static, (Listener, Vec<Notice>)>;

struct RedisFeed {
    ready: VecDeque<Notice>,
    /// Kept between calls, so that a cancelled `next` neither loses an answer nor asks twice.
    rounds: FuturesUnordered<Round>,
    hearing: Hearing,
    store_closed: CancellationToken,
}

/// Puts together what several listeners hear: the feed is deaf while one of them is.
#[derive(Debug)]
struct Hearing {
    /// Which listeners do not hear.
    lost: BTreeSet<usize>,
    /// Whether there was a first [`Notice::Gap`].
    begun: Begun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    No,
    Yes,
}

/// Reads some streams of one node, one round after the other.
struct Listener {
    number: usize,
    nodes: Arc<Nodes>,
    /// All in one slot, or all on the one node there is.
    streams: Arc<[String]>,
    line: Option<Line>,
    /// Rounds that failed since the last that heard Redis.
    failures: u32,
}

struct Line {
    connection: Connection,
    address: HostPort,
    /// What was last heard of each stream.
    heard: Vec<Id>,
    checked: Instant,
}

/// The feed over these streams, until the token says that the store is gone. Each group of streams gets a connection
/// of its own: a cluster lets nobody wait on two slots at once.
pub(super) fn open(
    nodes: &Arc<Nodes>,
    groups: Vec<Vec<String>>,
    store_closed: CancellationToken,
) -> Box<dyn Feed> {
    let hearing = Hearing { lost: (0..groups.len()).collect(), begun: Begun::No };
    let listener = |(number, streams): (usize, Vec<String>)| Listener {
        number,
        nodes: nodes.clone(),
        streams: streams.into(),
        line: None,
        failures: 0,
    };
    let rounds = groups.into_iter().enumerate().map(listener).map(Listener::start).collect();
    Box::new(RedisFeed { ready: VecDeque::new(), rounds, hearing, store_closed })
}

#[async_trait]
impl Feed for RedisFeed {
    async fn next(&mut self) -> Option<Notice> {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                return Some(notice);
            }
            let (listener, notices) = tokio::select! {
                biased;
                () = self.store_closed.cancelled() => return None,
                done = self.rounds.next() => done?,
            };
            for notice in notices {
                self.ready.extend(self.hearing.told(listener.number, notice));
            }
            self.rounds.push(listener.start());
        }
    }
}

impl Hearing {
    /// What a notice of one listener means for the whole.
    fn told(&mut self, listener: usize, notice: Notice) -> Option<Notice> {
        match notice {
            Notice::Deaf => {
                let first = self.lost.is_empty();
                self.lost.insert(listener);
                first.then_some(Notice::Deaf)
            }
            Notice::Gap => {
                self.lost.remove(&listener);
                // While others are deaf everything is in doubt anyway, and their own gap comes last.
                let whole = self.lost.is_empty();
                if whole {
                    self.begun = Begun::Yes;
                }
                whole.then_some(Notice::Gap)
            }
            notice @ (Notice::Changed { .. } | Notice::Deleted { .. }) => {
                (self.begun == Begun::Yes).then_some(notice)
            }
        }
    }
}

impl Listener {
    fn start(self) -> Round {
        Box::pin(self.round())
    }

    /// Connects, or reads once. Errors show as a line that is gone: the next round makes a new one.
    async fn round(mut self) -> (Self, Vec<Notice>) {
        let lost = if self.line.is_some() { vec![Notice::Deaf] } else { Vec::new() };
        let result = match self.line.take() {
            None => self.connect().await.map(|line| (line, vec![Notice::Gap])),
            Some(mut line) => match line.listen(&self.nodes, &self.streams).await {
                Ok(notices) => {
                    self.failures = 0;
                    Ok((line, notices))
                }
                Err(error) => Err(error),
            },
        };
        // The reason of an error is said nowhere: callers of the store meet the same one, and log it.
        let Ok((line, notices)) = result else {
            self.failures = self.failures.saturating_add(1);
            self.nodes.suspect();
            // From here on nothing is heard: what is remembered is in doubt at once, not only after the way back.
            return (self, lost);
        };
        self.line = Some(line);
        (self, notices)
    }

    /// Where the streams end is read before the gap is told: what is written after the gap is heard.
    async fn connect(&self) -> Result<Line, StoreError> {
        tokio::time::sleep(pause(self.failures, RandomState::new().hash_one(self.failures))).await;
        let address = serving(&self.nodes, &self.streams)?;
        let connection = self.nodes.dialer().dial(&address).await?;
        let mut line = Line { connection, address, heard: Vec::new(), checked: Instant::now() };
        line.heard = line.ends(&self.nodes, &self.streams).await?;
        Ok(line)
    }
}

/// Who serves these streams now.
fn serving(nodes: &Nodes, streams: &[String]) -> Result<HostPort, StoreError> {
    let slot = streams.first().map_or(0, |stream| slot_of(stream));
    Ok(nodes.node(slot)?.address.clone())
}

impl Line {
    async fn listen(&mut self, nodes: &Nodes, streams: &[String]) -> Result<Vec<Notice>, StoreError> {
        let mut notices = Vec::new();
        if serving(nodes, streams)? != self.address {
            // This one may not have heard yet that it was replaced.
            return Err(nodes.dialer().refusals(&self.address).unavailable("does not serve this any more"));
        }
        if self.checked.elapsed() >= CHECK_EVERY {
            let ends = self.ends(nodes, streams).await?;
            if self.went_back(&ends) {
                self.heard = ends;
                notices.push(Notice::Gap);
            }
            self.checked = Instant::now();
        }
        for (stream, entries) in self.read(nodes, streams).await? {
            let shard = streams.iter().position(|name| *name == stream).ok_or_else(unexpected)?;
            for (id, notice) in entries {
                if !follows(self.heard[shard], id) {
                    notices.push(Notice::Gap);
                }
                self.heard[shard] = id;
                notices.push(notice);
            }
        }
        Ok(notices)
    }

    /// A stream that ends before what was heard of it is another one: nothing would ever be heard of it.
    fn went_back(&self, ends: &[Id]) -> bool {
        self.heard.iter().zip(ends).any(|(heard, end)| end < heard)
    }

    async fn read(&mut self, nodes: &Nodes, streams: &[String]) -> Result<Vec<Stream>, StoreError> {
        let mut pipeline = Pipeline::with_capacity(1);
        let read = pipeline.cmd("XREAD").arg("COUNT").arg(READ_MAX);
        read.arg("BLOCK").arg(WAIT.as_millis().to_string()).arg("STREAMS").arg(streams);
        for id in &self.heard {
            read.arg(format!("{}-{}", id.born, id.number));
        }
        let values = self.ask(nodes, &pipeline, WAIT + CALL_TIMEOUT).await?;
        values.into_iter().next().and_then(streams_of).ok_or_else(unexpected)
    }

    /// The last id of each stream; zero where there is no stream yet. Of a primary only: a replica that was cut
    /// off would stay silent for ever.
    async fn ends(&mut self, nodes: &Nodes, streams: &[String]) -> Result<Vec<Id>, StoreError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("INFO").arg("replication");
        for stream in streams {
            pipeline.cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        }
        let mut answers = self.ask(nodes, &pipeline, CALL_TIMEOUT).await?.into_iter();
        let info = answers.next().and_then(text_of).ok_or_else(unexpected)?;
        check_primary(&info, &nodes.dialer().refusals(&self.address))?;
        answers
            .map(|answer| Some(entries_of(answer)?.first().map_or(Id::default(), |(id, _)| *id)))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(unexpected)
    }

    async fn ask(
        &mut self,
        nodes: &Nodes,
        question: &Pipeline,
        patience: Duration,
    ) -> Result<Vec<Value>, StoreError> {
        let refusals = nodes.dialer().refusals(&self.address);
        match timeout(patience, question.query_async(&mut self.connection.mux)).await {
            Ok(answer) => answer.map_err(|error| refusals.explain(&error)),
            Err(_) => Err(refusals.silent()),
        }
    }
}

/// Whether nothing was lost between the two. The first of a stream follows on none.
fn follows(heard: Id, next: Id) -> bool {
    next.number == heard.number.saturating_add(1) && (heard == Id::default() || next.born == heard.born)
}

/// Longer from failure to failure, and different in each replica.
fn pause(failures: u32, dice: u64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let longest = PAUSE.0.saturating_mul(1 << doublings.min(16)).min(PAUSE.1);
    let half = longest / 2;
    let share = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_millis(dice % share)
}

fn unexpected() -> StoreError {
    StoreError::Unavailable { cause: "Redis answered something unexpected".to_owned() }
}

type Stream = (String, Vec<(Id, Notice)>);

/// The answer of `XREAD`: nothing, or streams by name.
fn streams_of(answer: Value) -> Option<Vec<Stream>> {
    match answer {
        Value::Nil => Some(Vec::new()),
        Value::Map(streams) => {
            streams.into_iter().map(|(name, entries)| Some((text_of(name)?, entries_of(entries)?))).collect()
        }
        _ => None,
    }
}

fn entries_of(entries: Value) -> Option<Vec<(Id, Notice)>> {
    let Value::Array(entries) = entries else { return None };
    entries.into_iter().map(entry_of).collect()
}

fn entry_of(entry: Value) -> Option<(Id, Notice)> {
    let (id, fields): (String, Vec<String>) = redis::from_redis_value(entry).ok()?;
    let (born, number) = id.split_once('-')?;
    let id = Id { born: born.parse().ok()?, number: number.parse().ok()? };
    // Something changed, but not what any version of this program writes: look at everything.
    Some((id, notice_of(&fields).unwrap_or(Notice::Gap)))
}

fn notice_of(fields: &[String]) -> Option<Notice> {
    let [k, key, v, version] = fields else { return None };
    let named = k == "k" && v == "v";
    let key = Key::new(key.as_str()).ok()?;
    let notice = match version.parse().ok()? {
        DELETED => Notice::Deleted { key },
        version => Notice::Changed { key, version: Version(version) },
    };
    named.then_some(notice)
}

fn text_of(value: Value) -> Option<String> {
    redis::from_redis_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_a_flush_and_a_new_stream_are_told_apart() {
        let id = |born, number| Id { born, number };
        let cases = [
            (id(0, 0), id(1000, 1), true),
            (id(0, 0), id(1000, 2), false),
            (id(1000, 1), id(1000, 2), true),
            (id(1000, 1), id(1000, 3), false),
            (id(1000, 1), id(2000, 1), false),
            (id(1000, 1), id(2000, 2), false),
        ];
        for (heard, next, want) in cases {
            assert_eq!(follows(heard, next), want, "{heard:?} {next:?}");
        }
    }

    #[test]
    fn a_feed_is_deaf_while_one_of_its_listeners_is() {
        use Notice::{Deaf, Gap};
        let changed = || Notice::Changed { key: Key::new("a").unwrap(), version: Version(1) };
        let mut hearing = Hearing { lost: [0, 1].into(), begun: Begun::No };
        let steps = [
            // Nothing is told before the first gap, and that comes when all hear.
            (0, Gap, None),
            (0, changed(), None),
            (1, Gap, Some(Gap)),
            (0, changed(), Some(changed())),
            (1, Gap, Some(Gap)),
            (0, Deaf, Some(Deaf)),
            (1, changed(), Some(changed())),
            (1, Deaf, None),
            (0, Gap, None),
            (0, Gap, None),
            (1, Gap, Some(Gap)),
        ];
        for (number, (listener, notice, want)) in steps.into_iter().enumerate() {
            assert_eq!(hearing.told(listener, notice), want, "step {number}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        assert_eq!(pause(0, 7), Duration::ZERO);
        for (failures, longest) in [(1, 50), (2, 100), (3, 200), (8, 5000), (u32::MAX, 5000)] {
            for dice in [0, 1, 49, u64::MAX] {
                let pause = pause(failures, dice);
                let longest = Duration::from_millis(longest);
                assert!((longest / 2..=longest).contains(&pause), "{failures} {dice} {pause:?}");
            }
        }
    }

    #[test]
    fn an_answer_of_another_shape_is_no_notice() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let entry = |id: &str, fields: &[&str]| {
            let fields = fields.iter().map(|field| text(field)).collect();
            Value::Array(vec![text(id), Value::Array(fields)])
        };
        let good = entry("5-1", &["k", "a", "v", "3"]);
        let want = Notice::Changed { key: Key::new("a").unwrap(), version: Version(3) };
        assert_eq!(entry_of(good), Some((Id { born: 5, number: 1 }, want)));
        let gone = Notice::Deleted { key: Key::new("a").unwrap() };
        let entry_gone = entry("5-1", &["k", "a", "v", "0"]);
        assert_eq!(entry_of(entry_gone), Some((Id { born: 5, number: 1 }, gone)));
        let strange =
            [["k", "a", "v", "x"].as_slice(), &["k", "a b", "v", "3"], &["v", "a", "k", "3"], &["k", "a"]];
        for fields in strange {
            let want = Some((Id { born: 5, number: 1 }, Notice::Gap));
            assert_eq!(entry_of(entry("5-1", fields)), want, "{fields:?}");
        }
        let bad =
            [entry("5", &["k", "a", "v", "3"]), entry("5-x", &["k", "a", "v", "3"]), Value::Nil, text("5-1")];
        for value in bad {
            assert_eq!(entry_of(value.clone()), None, "{value:?}");
        }
        assert_eq!(streams_of(Value::Nil), Some(vec![]));
        assert_eq!(streams_of(Value::Okay), None);
    }
}
