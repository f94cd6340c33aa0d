//! Follows the store's change feed: keeps the warm copies and the keys in memory honest, and rings for those who wait.

use super::{bells::Bells, keys::Keyring, warm::WarmCopies};
use crate::{
    domain::connection::Connection,
    store::{Feed, Notice, records::Record},
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub struct Follower {
    pub warm: Arc<WarmCopies>,
    pub bells: Arc<Bells>,
    pub keys: Arc<Keyring>,
}

impl Follower {
    pub async fn run(self, mut feed: Box<dyn Feed>, shutdown: CancellationToken) {
        loop {
            let notice = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                notice = feed.next() => notice,
            };
            match notice {
                Some(Notice::Changed { key, version }) => {
                    self.keys.told(&key);
                    if let Some(name) = Connection::name_of(&key) {
                        self.warm.told(&name, version);
                        self.bells.ring(&name);
                    }
                }
                Some(Notice::Deleted { key }) => {
                    self.keys.told(&key);
                    if let Some(name) = Connection::name_of(&key) {
                        self.warm.forget(&name);
                        self.bells.ring(&name);
                    }
                }
                Some(Notice::Deaf) => {
                    self.keys.deaf();
                    self.warm.deaf();
                }
                Some(Notice::Gap) => {
                    self.keys.doubt_all();
                    self.warm.doubt_all();
                    self.bells.ring_all();
                }
                None => return,
            }
        }
    }
}
