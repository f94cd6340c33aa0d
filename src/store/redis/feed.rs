//! The change feed: one connection of its own that waits on the streams of all shards at once. Lost or
//! trimmed notices, a broken connection, a flushed or replaced Redis all come out as [`Notice::Gap`]. Never
//! works unless somebody waits in `next`, and drops nothing when that wait is cancelled.

use super::{
    super::{CALL_TIMEOUT, Feed, Key, Notice, StoreError, Version},
    link::Dialer,
    startup::check_primary,
};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use redis::{Pipeline, Value, aio::MultiplexedConnection};
use std::{
    collections::VecDeque,
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

struct RedisFeed {
    ready: VecDeque<Notice>,
    /// Kept between calls, so that a cancelled `next` neither loses an answer nor asks twice.
    round: BoxFuture<'static, (Listener, Vec<Notice>)>,
    store_closed: CancellationToken,
}

/// Reads the streams, one round after the other.
struct Listener {
    dialer: Dialer,
    streams: Arc<[String]>,
    line: Option<Line>,
    /// Rounds that failed since the last that heard Redis.
    failures: u32,
}

struct Line {
    connection: MultiplexedConnection,
    /// What was last heard of each stream.
    heard: Vec<Id>,
    checked: Instant,
}

/// The feed over these streams, until the token says that the store is gone.
pub(super) fn open(dialer: Dialer, streams: Vec<String>, store_closed: CancellationToken) -> Box<dyn Feed> {
    let listener = Listener { dialer, streams: streams.into(), line: None, failures: 0 };
    Box::new(RedisFeed { ready: VecDeque::new(), round: Box::pin(listener.round()), store_closed })
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
                done = &mut self.round => done,
            };
            self.ready.extend(notices);
            self.round = Box::pin(listener.round());
        }
    }
}

impl Listener {
    /// Connects, or reads once. Errors show as a line that is gone: the next round makes a new one.
    async fn round(mut self) -> (Self, Vec<Notice>) {
        let lost = if self.line.is_some() { vec![Notice::Deaf] } else { Vec::new() };
        let result = match self.line.take() {
            None => self.connect().await.map(|line| (line, vec![Notice::Gap])),
            Some(mut line) => match line.listen(&self.dialer, &self.streams).await {
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
            // From here on nothing is heard: what is remembered is in doubt at once, not only after the way back.
            return (self, lost);
        };
        self.line = Some(line);
        (self, notices)
    }

    /// Where the streams end is read before the gap is told: what is written after the gap is heard.
    async fn connect(&self) -> Result<Line, StoreError> {
        tokio::time::sleep(pause(self.failures, RandomState::new().hash_one(self.failures))).await;
        let mut connection = self.dialer.dial().await?;
        let heard = ends(&mut connection, &self.dialer, &self.streams).await?;
        Ok(Line { connection, heard, checked: Instant::now() })
    }
}

impl Line {
    async fn listen(&mut self, dialer: &Dialer, streams: &[String]) -> Result<Vec<Notice>, StoreError> {
        let mut notices = Vec::new();
        if self.checked.elapsed() >= CHECK_EVERY {
            let ends = ends(&mut self.connection, dialer, streams).await?;
            if self.went_back(&ends) {
                self.heard = ends;
                notices.push(Notice::Gap);
            }
            self.checked = Instant::now();
        }
        for (stream, entries) in self.read(dialer, streams).await? {
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

    async fn read(&mut self, dialer: &Dialer, streams: &[String]) -> Result<Vec<Stream>, StoreError> {
        let mut pipeline = Pipeline::with_capacity(1);
        let read = pipeline.cmd("XREAD").arg("COUNT").arg(READ_MAX);
        read.arg("BLOCK").arg(WAIT.as_millis().to_string()).arg("STREAMS").arg(streams);
        for id in &self.heard {
            read.arg(format!("{}-{}", id.born, id.number));
        }
        let values = ask(&mut self.connection, dialer, &pipeline, WAIT + CALL_TIMEOUT).await?;
        values.into_iter().next().and_then(streams_of).ok_or_else(unexpected)
    }
}

/// The last id of each stream; zero where there is no stream yet. Of a primary only: a replica that was cut
/// off would stay silent for ever.
async fn ends(
    connection: &mut MultiplexedConnection,
    dialer: &Dialer,
    streams: &[String],
) -> Result<Vec<Id>, StoreError> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("INFO").arg("replication");
    for stream in streams {
        pipeline.cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
    }
    let mut answers = ask(connection, dialer, &pipeline, CALL_TIMEOUT).await?.into_iter();
    check_primary(&answers.next().and_then(text_of).ok_or_else(unexpected)?)?;
    answers
        .map(|answer| Some(entries_of(answer)?.first().map_or(Id::default(), |(id, _)| *id)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(unexpected)
}

async fn ask(
    connection: &mut MultiplexedConnection,
    dialer: &Dialer,
    question: &Pipeline,
    patience: Duration,
) -> Result<Vec<Value>, StoreError> {
    match timeout(patience, question.query_async(connection)).await {
        Ok(answer) => answer.map_err(|error| dialer.explain(&error)),
        Err(_) => Err(dialer.silent()),
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
