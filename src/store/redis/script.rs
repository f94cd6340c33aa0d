//! Runs the one script that writes: builds its call, reads its answer. Never runs it twice for one change.

use super::{
    super::{Change, Expect, Room, Then, Version},
    FEED_KEPT, Time,
    layout::{self, Layout},
    nodes::{Lane, Nodes},
    options::Confirm,
    refusals::Fault,
    slots::slot_of,
};
use redis::Pipeline;
use std::sync::atomic::{AtomicBool, Ordering};

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
        match self.asked(("EVALSHA", &self.digest), nodes, layout, change, confirming).await {
            Err(Fault::NoScript) => {
                self.asked(("EVAL", &self.source), nodes, layout, change, confirming).await
            }
            answer => answer,
        }
    }

    async fn asked(
        &self,
        (command, script): (&str, &str),
        nodes: &Nodes,
        layout: &Layout,
        change: &Change,
        confirming: &Confirming,
    ) -> Result<(Outcome, Time), Fault> {
        let slot = slot_of(&layout.document(&change.key));
        let mut question = call(command, script, layout, change);
        let node = nodes.node(slot).map_err(Fault::Store)?;
        let turn = match confirming.confirm {
            Some(confirm) => {
                node.turn_to_wait(confirm.within).await.map_err(Fault::Store)?.map(|turn| (confirm, turn))
            }
            None => None,
        };
        let Some((confirm, _turn)) = turn else {
            let (answer,): (Answer,) = nodes.ask(slot, Lane::Writes, &question).await?;
            return Ok(outcome(answer));
        };
        // Written it is in any case by then.
        question.cmd("WAIT").arg(confirm.replicas).arg(confirm.within.as_millis().to_string());
        let (answer, replicas): (Answer, u64) = nodes.ask(slot, Lane::Writes, &question).await?;
        let confirmed = replicas >= u64::from(confirm.replicas);
        node.confirmed(confirmed);
        confirming.note(confirmed);
        Ok(outcome(answer))
    }
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
