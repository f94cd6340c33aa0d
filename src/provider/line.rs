//! What all dialects share between writing a request and reading its answer: one sending, and the clock beside it.

use super::{
    answer::Response,
    client_auth::NotSpoken,
    egress::{Egress, Outgoing},
};
use crate::{
    clock::{Clock, Timestamp},
    domain::{
        failure::{Class, Evidence, Failure},
        profile::Profile,
    },
};
use std::sync::Arc;

pub(super) struct Line {
    pub(super) egress: Egress,
    pub(super) clock: Arc<dyn Clock>,
}

/// An answer, and when its request was sent: lifetimes count from there.
pub(super) struct Told {
    pub(super) sent_at: Timestamp,
    pub(super) response: Response,
}

impl Line {
    pub(super) async fn send(&self, profile: &Profile, outgoing: Outgoing) -> Result<Told, Evidence> {
        let sent_at = self.clock.now();
        let reply = self.egress.send(profile, outgoing).await?;
        Ok(Told { sent_at, response: Response::read(&reply, self.clock.now()) })
    }
}

/// A failure that was seen before anything was sent.
pub(super) const fn local(class: Class, detail: &'static str) -> Failure {
    Failure { class, reason: None, code: None, status: None, retry_after: None, correlation_id: None, detail }
}

impl From<NotSpoken> for Failure {
    fn from(NotSpoken: NotSpoken) -> Self {
        local(Class::Configuration, "client has no secret, or a way to authenticate that is not supported")
    }
}
