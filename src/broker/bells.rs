//! Who waits for a change of one connection, and the bell that is rung for it.

use crate::domain::names::ConnectionName;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::sync::Notify;

#[derive(Default)]
pub struct Bells(Mutex<HashMap<ConnectionName, Weak<Notify>>>);

impl Bells {
    /// Register interest first, then look: a change between the two rings as well.
    pub fn listen(&self, name: &ConnectionName) -> Arc<Notify> {
        let mut bells = self.0.lock();
        if let Some(bell) = bells.get(name).and_then(Weak::upgrade) {
            return bell;
        }
        let bell = Arc::new(Notify::new());
        bells.insert(name.clone(), Arc::downgrade(&bell));
        bell
    }

    pub fn ring(&self, name: &ConnectionName) {
        let mut bells = self.0.lock();
        match bells.get(name).map(Weak::upgrade) {
            Some(Some(bell)) => bell.notify_waiters(),
            Some(None) => drop(bells.remove(name)),
            None => {}
        }
    }

    /// Anything may have changed.
    pub fn ring_all(&self) {
        self.0.lock().retain(|_, bell| match bell.upgrade() {
            Some(bell) => {
                bell.notify_waiters();
                true
            }
            None => false,
        });
    }
}
