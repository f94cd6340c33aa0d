//! Runs the one script that writes: builds its call, reads its answer. Never runs it twice for one change.

use super::{
    super::{CALL_TIMEOUT, Change, Expect, Room, StoreError, Then, Version},
    FEED_KEPT, Time,
    layout::{self, Layout},
    nodes::Nodes,
    options::Confirm,
    refusals::Fault,
    slots::slot_of,
};
use redis::Pipeline;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// The one script, with the header that says whether it runs on a full Redis.
pub(super) struct SwapScript {
    source: String,
    digest: String,
}

/// What the script did; on a conflict with what is there.
pub(super) enum Outcome {
    Written,
    Conflict(Option<Vec<u8>>),
}

impl SwapScript {
    pub(super) fn new(room: Room) -> Self {
        // Without the flag Redis refuses the script at its memory limit, before it runs.
        let header = match room {
            Room::Needed => "#!lua",
            Room::Forced => "#!lua flags=allow-oom",
        };
        let source = format!("{header}\n{}", include_str!("../swap.lua"));
        let digest = redis::Script::new(&source).get_hash().to_owned();
        Self { source, digest }
    }

    /// A Redis that does not know the script (restarted, flushed) did not run it either: it is told it then.
    pub(super) async fn run(
        &self,
        nodes: &Nodes,
        layout: &Layout,
        change: &Change,
        confirming: &Confirming,
    ) -> Result<(Outcome, Time), Fault> {
        let slot = slot_of(&layout.document(&change.key));
        // For all of it: the turn, the call, and the call with the script in it.
        let deadline = Instant::now() + CALL_TIMEOUT;
        let known = call("EVALSHA", &self.digest, layout, change);
        match asked(nodes, slot, known, confirming, deadline).await {
            Err(Fault::NoScript) => {
                let told = call("EVAL", &self.source, layout, change);
                asked(nodes, slot, told, confirming, deadline).await
            }
            answer => answer,
        }
    }
}

async fn asked(
    nodes: &Nodes,
    slot: u16,
    mut question: Pipeline,
    confirming: &Confirming,
    deadline: Instant,
) -> Result<(Outcome, Time), Fault> {
    let mut node = nodes.node(slot).map_err(Fault::Store)?;
    let first = node.clone();
    let turn = match confirming.confirm {
        Some(confirm) => first
            .turn_to_wait(confirm.within, deadline)
            .await
            .map_err(Fault::Store)?
            .map(|turn| (confirm, turn)),
        None => None,
    };
    let Some((confirm, _turn)) = turn else {
        let (answer,): (Answer,) = nodes.ask_at(&mut node, slot, &question, deadline).await?;
        return Ok(outcome(answer));
    };
    // Written it is in any case by then.
    let within = time_to_wait(confirm.within, deadline.saturating_duration_since(Instant::now()));
    question.cmd("WAIT").arg(confirm.replicas).arg(within.as_millis().to_string());
    let answer = nodes.ask_at(&mut node, slot, &question, deadline).await;
    // Of whoever took the write in the end.
    if let Err(Fault::Store(StoreError::WritesRefused { .. })) = &answer {
        // Where replicas are gone, Redis may refuse to write at all, and has waited for them in vain even so.
        node.confirmed(false);
    }
    let (answer, replicas): (Answer, u64) = answer?;
    let confirmed = replicas >= u64::from(confirm.replicas);
    node.confirmed(confirmed);
    confirming.note(confirmed);
    Ok(outcome(answer))
}

/// For replicas, of what is left for the call: half of it at most, and not nothing, which Redis takes for ever.
fn time_to_wait(within: Duration, left: Duration) -> Duration {
    within.min(left / 2).max(Duration::from_millis(1))
}

/// Written, what is there on conflict, seconds, microseconds.
type Answer = (u8, Option<Vec<u8>>, u64, u64);

fn outcome((written, found, seconds, micros): Answer) -> (Outcome, Time) {
    let outcome = if written == 1 { Outcome::Written } else { Outcome::Conflict(found) };
    (outcome, (seconds, micros))
}

/// Whether replicas are waited for, and whether they come.
pub(super) struct Confirming {
    confirm: Option<Confirm>,
    /// So that it is told of once.
    missed: AtomicBool,
}

impl Confirming {
    pub(super) fn new(confirm: Option<Confirm>) -> Self {
        Self { confirm, missed: AtomicBool::new(false) }
    }

    /// Whether replicas are waited for.
    pub(super) fn waits(&self) -> bool {
        self.confirm.is_some()
    }

    fn note(&self, confirmed: bool) {
        let missed = self.missed.swap(!confirmed, Ordering::Relaxed);
        if missed == confirmed {
            if confirmed {
                tracing::info!("replicas of redis confirm writes again");
            } else {
                tracing::warn!(
                    "too few replicas of redis confirmed a write in time: a failover now could lose it; look at their links"
                );
            }
        }
    }
}

fn call(command: &str, script: &str, layout: &Layout, change: &Change) -> Pipeline {
    let shard = layout.shard_of(&change.key);
    let expected = match change.expect {
        Expect::Absent => Vec::new(),
        Expect::At(version) => version.0.to_be_bytes().to_vec(),
    };
    let version = written_version(change);
    let (value, due, noticed) = match &change.then {
        Then::Put { body, due } => (layout::encode(version, body), due.map(layout::due_score), version.0),
        Then::Delete => (Vec::new(), None, super::feed::DELETED),
    };
    let mut pipeline = Pipeline::with_capacity(1);
    let call = pipeline.cmd(command).arg(script).arg(4);
    call.arg(layout.document(&change.key)).arg(layout.due(shard));
    call.arg(layout.names(shard)).arg(layout.feed(shard));
    call.arg(expected).arg(value).arg(due.unwrap_or_default());
    call.arg(change.key.as_str()).arg(noticed).arg(FEED_KEPT);
    pipeline
}

/// The version that the change is known by once it happened; for a delete, the deleted one.
pub(super) fn written_version(change: &Change) -> Version {
    match (&change.then, change.expect) {
        (Then::Delete, Expect::At(version)) => version,
        (Then::Put { .. } | Then::Delete, expect) => expect.writes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Key, redis::options::RedisOptions};
    use futures_util::future::join_all;
    use std::sync::{Arc, atomic::AtomicUsize};
    use tokio::{
        io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
        net::{TcpListener, TcpStream},
        task::JoinSet,
        time::sleep,
    };

    const WITHIN: Duration = Duration::from_millis(200);

    /// A primary without replicas that demands one: refuses the script at once, and waits in vain when it is told to wait.
    async fn refuse(stream: TcpStream, waited: Arc<AtomicUsize>) {
        let mut stream = BufReader::new(stream);
        loop {
            let Some(count) = number(&mut stream, b'*').await else { return };
            let mut words = Vec::new();
            for _ in 0..count {
                let Some(length) = number(&mut stream, b'$').await else { return };
                let mut word = vec![0; length + 2];
                stream.read_exact(&mut word).await.unwrap();
                words.push(String::from_utf8_lossy(&word[..length]).into_owned());
            }
            let answer: &[u8] = match words[0].as_str() {
                "HELLO" => b"%1\r\n+proto\r\n:3\r\n",
                "EVALSHA" => b"-NOREPLICAS Not enough good replicas to write.\r\n",
                "WAIT" => {
                    waited.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(words[2].parse().unwrap())).await;
                    b":0\r\n"
                }
                _ => b"+OK\r\n",
            };
            stream.get_mut().write_all(answer).await.unwrap();
        }
    }

    async fn number(stream: &mut BufReader<TcpStream>, kind: u8) -> Option<usize> {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).await.ok()?;
        let (first, rest) = line.split_first()?;
        assert_eq!(*first, kind);
        std::str::from_utf8(rest).ok()?.trim().parse().ok()
    }

    #[tokio::test]
    async fn writes_that_are_refused_for_want_of_replicas_do_not_wait_for_them_one_after_the_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let waited = Arc::new(AtomicUsize::new(0));
        let counted = waited.clone();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(refuse(stream, counted.clone()));
            }
        });
        let nodes = Nodes::find(&RedisOptions::from_url(&url).unwrap(), vec![]).await.unwrap();
        let (script, layout) = (SwapScript::new(Room::Needed), Layout::new("t", 1));
        let confirming = Confirming::new(Some(Confirm { replicas: 1, within: WITHIN }));
        let changes: Vec<_> = (0..100)
            .map(|n| Change {
                key: Key::new(format!("k{n}")).unwrap(),
                expect: Expect::Absent,
                then: Then::Put { body: vec![1], due: None },
                room: Room::Needed,
            })
            .collect();
        let ends =
            join_all(changes.iter().map(|change| script.run(&nodes, &layout, change, &confirming))).await;
        for end in ends {
            assert!(matches!(end, Err(Fault::Store(StoreError::WritesRefused { .. }))), "{:?}", end.err());
        }
        // A second's worth at once, and none of those behind them.
        let waited = waited.load(Ordering::Relaxed);
        assert!(waited <= 5, "{waited}");
    }

    #[test]
    fn replicas_have_half_of_the_time_that_is_left_and_never_for_ever() {
        let ms = Duration::from_millis;
        for (within, left, want) in
            [(100, 2000, 100), (1000, 2000, 1000), (1000, 500, 250), (100, 1, 1), (100, 0, 1)]
        {
            assert_eq!(time_to_wait(ms(within), ms(left)), ms(want), "{within} {left}");
        }
    }
}
