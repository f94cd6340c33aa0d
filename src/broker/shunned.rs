//! Connections that this replica cannot refresh whatever it tries: their record or their client's is broken or newer
//! than this program, or a provider's profile is missing here. They are passed over for a while, so that they hide
//! nothing that is due as well. And queues where the store takes no writes at present. Nothing is written: another replica
//! may be able to.

use crate::domain::names::ConnectionName;
use parking_lot::Mutex;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// How long one is passed over.
const SHUNNED_FOR: Duration = Duration::from_mins(1);

/// How long it is remembered that a claim was refused by the store, unless one was written since.
const REFUSED_FOR: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Shunned {
    connections: Mutex<HashMap<ConnectionName, Instant>>,
    /// By queue, of which there are few.
    refusing: Mutex<HashMap<u16, Instant>>,
}

impl Shunned {
    pub fn shun(&self, name: &ConnectionName) {
        self.connections.lock().insert(name.clone(), Instant::now() + SHUNNED_FOR);
    }

    pub fn contains(&self, name: &ConnectionName) -> bool {
        self.connections.lock().get(name).is_some_and(|until| Instant::now() < *until)
    }

    /// How many there are at present.
    pub fn count(&self) -> usize {
        let mut shunned = self.connections.lock();
        shunned.retain(|_, until| Instant::now() < *until);
        shunned.len()
    }

    /// A claim of what was due in this queue was not written: the store takes no writes there.
    pub fn refused(&self, shard: u16) {
        self.refusing.lock().insert(shard, Instant::now() + REFUSED_FOR);
    }

    /// One was.
    pub fn written(&self, shard: u16) {
        self.refusing.lock().remove(&shard);
    }

    /// Whether claims were refused a moment ago.
    pub fn refuses(&self, shard: u16) -> bool {
        self.refusing.lock().get(&shard).is_some_and(|until| Instant::now() < *until)
    }
}
