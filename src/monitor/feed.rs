//! The change feed as it is looked at from outside: whether it hears.

use super::standing::Standing;
use crate::store::{Feed, Notice};
use async_trait::async_trait;
use std::sync::Arc;

pub(super) struct WatchedFeed {
    inner: Box<dyn Feed>,
    standing: Arc<Standing>,
}

impl WatchedFeed {
    pub(super) fn new(inner: Box<dyn Feed>, standing: Arc<Standing>) -> Self {
        Self { inner, standing }
    }
}

#[async_trait]
impl Feed for WatchedFeed {
    async fn next(&mut self) -> Option<Notice> {
        let notice = self.inner.next().await;
        match &notice {
            Some(Notice::Deaf) | None => self.standing.deaf(),
            Some(Notice::Gap) => self.standing.hears(),
            Some(Notice::Changed { .. } | Notice::Deleted { .. }) => {}
        }
        notice
    }
}
