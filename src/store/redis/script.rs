//! Runs the one script that writes: builds its call, reads its answer. Never runs it twice for one change.

use super::{
    super::{Change, Expect, Room, StoreError, Then, Version},
    FEED_KEPT, Time,
    layout::{self, Layout},
    link::{Fault, Link},
};
use redis::Pipeline;

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
        link: &Link,
        layout: &Layout,
        change: &Change,
    ) -> Result<(Outcome, Time), StoreError> {
        let answer = match link.ask(&call("EVALSHA", &self.digest, layout, change)).await {
            Err(Fault::NoScript) => link.ask(&call("EVAL", &self.source, layout, change)).await,
            answer => answer,
        };
        let ((written, found, seconds, micros),): ((u8, Option<Vec<u8>>, u64, u64),) = answer?;
        let outcome = if written == 1 { Outcome::Written } else { Outcome::Conflict(found) };
        Ok((outcome, (seconds, micros)))
    }
}

fn call(command: &str, script: &str, layout: &Layout, change: &Change) -> Pipeline {
    let shard = layout.shard_of(&change.key);
    let expected = match change.expect {
        Expect::Absent => Vec::new(),
        Expect::At(version) => version.0.to_be_bytes().to_vec(),
    };
    let version = written_version(change);
    let (value, due) = match &change.then {
        Then::Put { body, due } => (layout::encode(version, body), due.map(layout::due_score)),
        Then::Delete => (Vec::new(), None),
    };
    let mut pipeline = Pipeline::with_capacity(1);
    let call = pipeline.cmd(command).arg(script).arg(4);
    call.arg(layout.document(&change.key)).arg(layout.due(shard));
    call.arg(layout.names(shard)).arg(layout.feed(shard));
    call.arg(expected).arg(value).arg(due.unwrap_or_default());
    call.arg(change.key.as_str()).arg(change.expect.writes().0).arg(FEED_KEPT);
    pipeline
}

/// The version that the change is known by once it happened; for a delete, the deleted one.
pub(super) fn written_version(change: &Change) -> Version {
    match (&change.then, change.expect) {
        (Then::Delete, Expect::At(version)) => version,
        (Then::Put { .. } | Then::Delete, expect) => expect.writes(),
    }
}
