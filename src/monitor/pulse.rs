//! Keeps what is known fresh: tells of readiness every second, and asks the store for nothing in particular where nobody
//! else has asked it for a while.

use super::standing::Standing;
use crate::store::{Documents, Key};
use std::{sync::Arc, time::Duration};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(1);
/// How old what is known of the store may become.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A document that nobody ever writes.
const NOTHING: &str = "pulse";

impl Standing {
    /// Until `stop`. `documents` has to be one that is watched.
    pub async fn keep_fresh(self: Arc<Self>, documents: Arc<dyn Documents>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if self.silence().is_none_or(|silence| silence >= SILENCE_MAX)
                && let Ok(key) = Key::new(NOTHING)
            {
                tokio::select! {
                    () = stop.cancelled() => return,
                    // How it ends is known by now.
                    _ = documents.read(&key) => {}
                }
            }
            self.tell();
        }
    }
}
