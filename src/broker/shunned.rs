//! Connections that this replica cannot refresh whatever it tries: their record or their client's is broken or newer
//! than this program, or a provider's profile is missing here. They are passed over for a while, so that they hide
//! nothing that is due as well. Nothing is written: another replica may be able to.

use crate::domain::names::ConnectionName;
use parking_lot::Mutex;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// How long one is passed over.
const SHUNNED_FOR: Duration = Duration::from_mins(1);

#[derive(Default)]
pub struct Shunned(Mutex<HashMap<ConnectionName, Instant>>);

impl Shunned {
    pub fn shun(&self, name: &ConnectionName) {
        self.0.lock().insert(name.clone(), Instant::now() + SHUNNED_FOR);
    }

    pub fn contains(&self, name: &ConnectionName) -> bool {
        self.0.lock().get(name).is_some_and(|until| Instant::now() < *until)
    }

    /// How many there are at present.
    pub fn count(&self) -> usize {
        let mut shunned = self.0.lock();
        shunned.retain(|_, until| Instant::now() < *until);
        shunned.len()
    }
}
