//! What all dialects share between writing a request and reading its answer: one sending, and the clock beside it.

use super::{
    answer::Response,
    client_auth::NotSpoken,
    egress::{Egress, Outgoing},
};
use crate::{
    clock::{Clock, Timestamp},
    domain::{
        failure::{Class, Evidence, Failure, Trouble},
        profile::Profile,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// With less time than this a request would only be lost on the way.
const WORTH_SENDING: Duration = Duration::from_millis(250);

/// One exchange: its requests share one deadline.
pub(super) struct Line {
    pub(super) egress: Egress,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) deadline: Instant,
}

/// An answer, and when its request was sent: lifetimes count from there.
pub(super) struct Told {
    pub(super) sent_at: Timestamp,
    pub(super) response: Response,
}

impl Line {
    pub(super) fn open(egress: &Egress, clock: &Arc<dyn Clock>, profile: &Profile) -> Self {
        let deadline = Instant::now() + profile.exchange_deadline();
        Self { egress: egress.clone(), clock: Arc::clone(clock), deadline }
    }

    pub(super) async fn send(&self, profile: &Profile, outgoing: Outgoing) -> Result<Told, Evidence> {
        let sent_at = self.clock.now();
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left < WORTH_SENDING {
            return Err(Evidence::NotSent(Trouble::Timeout));
        }
        let reply = self.egress.send(profile, outgoing, left.min(profile.exchange_timeout)).await?;
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
