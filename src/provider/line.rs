//! What all dialects share between writing a request and reading its answer: one sending, and the clock beside it.

use super::{answer::Response, client_auth::NotSpoken, echo::Credentials, hosts::destination};
use crate::{
    clock::{Clock, Timestamp},
    domain::{
        failure::{Class, Evidence, Failure, Trouble},
        profile::Profile,
    },
    egress::{Egress, Outgoing, Reply},
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
        Self::within(egress, clock, profile.exchange_deadline())
    }

    pub(super) fn within(egress: &Egress, clock: &Arc<dyn Clock>, time: Duration) -> Self {
        Self { egress: egress.clone(), clock: Arc::clone(clock), deadline: Instant::now() + time }
    }

    pub(super) async fn send(&self, profile: &Profile, outgoing: Outgoing) -> Result<Told, Evidence> {
        let sent_at = self.clock.now();
        let credentials = Credentials::sent(&outgoing);
        let reply = self.fetch(profile, outgoing).await?;
        Ok(Told { sent_at, response: Response::read(&reply, &profile.quirks, credentials, self.clock.now()) })
    }
}

impl Line {
    /// An answer as it came, for who reads it in another way than a token endpoint's.
    pub(super) async fn fetch(&self, profile: &Profile, outgoing: Outgoing) -> Result<Reply, Evidence> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left < WORTH_SENDING {
            return Err(Evidence::NotSent(Trouble::Timeout));
        }
        self.egress.send(&destination(profile), outgoing, left.min(profile.exchange_timeout)).await
    }
}

/// A failure that was seen before anything was sent.
pub(super) fn local(class: Class, detail: &'static str) -> Failure {
    Failure { class, ..Failure::of_ours(detail) }
}

impl From<NotSpoken> for Failure {
    fn from(NotSpoken: NotSpoken) -> Self {
        local(Class::Configuration, "client has no secret, or a way to authenticate that is not supported")
    }
}
