//! What a replica that starts may have to wait for, as it may pass: its store, its key service. Meanwhile whoever comes is
//! told that it is not ready. What no waiting mends ends the start at once.

use crate::grpc::{
    listening::{Bounds, Door},
    waiting,
};
use anyhow::Context;
use std::time::Duration;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Between two tries: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

#[derive(Clone, Copy)]
pub(super) struct Waiting<'a> {
    pub(super) doors: &'a [Door],
    pub(super) bounds: Bounds,
    pub(super) stop: &'a CancellationToken,
}

impl Waiting<'_> {
    /// What came of trying, which gives `None` for what may pass. `None`: told to stop before.
    pub(super) async fn until<T>(
        &self,
        tried: impl AsyncFn() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<Option<T>> {
        if let Some(first) = tried().await? {
            return Ok(Some(first));
        }
        let doors = self.doors.iter().map(Door::another).collect::<Result<_, _>>();
        let doors = doors.context("the listening sockets cannot be shared")?;
        let (told, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(waiting::serve(doors, self.bounds, told.clone().cancelled_owned()));
        tasks.close();
        let found = self.again(tried).await;
        told.cancel();
        tasks.wait().await;
        found
    }

    async fn again<T>(
        &self,
        tried: impl AsyncFn() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<Option<T>> {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(pause) => {}
            }
            let found = tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                found = tried() => found?,
            };
            if let Some(found) = found {
                tracing::info!("what was waited for answers: this replica is getting ready");
                return Ok(Some(found));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
