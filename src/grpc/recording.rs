//! What of a call is on record besides tokens: refusals, and changes before and after they are made. Never holds up a
//! refusal: it goes out whether or not it could be written.

use super::problem::Problem;
use crate::{
    access::{Action, AuditClass, Caller, Transport},
    api::ErrorReason,
    audit::{Audit, AuditDown, Event, Name, event::Step},
    clock::Clock,
    limits::Full,
};
use http::HeaderMap;
use parking_lot::Mutex;
use std::{fmt::Display, sync::Arc, time::Duration};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

/// When to ask again where the trail cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// Where it is written.
#[derive(Clone)]
pub struct Recording {
    pub audit: Arc<dyn Audit>,
    pub clock: Arc<dyn Clock>,
}

/// What has turned out in the course of a call.
#[derive(Debug, Default)]
pub struct Note(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// What was allowed first.
    target: Option<Name>,
    denied: Option<(Action, Name)>,
    /// The change that is on record as asked.
    asked: Option<Uuid>,
    reach: Reach,
}

/// What a call may have changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Reach {
    #[default]
    Something,
    /// What it was for is not there.
    Nothing,
}

impl Note {
    pub fn denied(&self, action: Action, target: &impl Display) {
        self.0.lock().denied.get_or_insert_with(|| (action, Name::of(target)));
    }

    pub fn allowed(&self, target: &impl Display) {
        self.0.lock().target.get_or_insert_with(|| Name::of(target));
    }

    /// What the call was for is not there, and it ends with that.
    pub fn missing(&self) {
        self.0.lock().reach = Reach::Nothing;
    }

    /// What the call is about, as far as that is known.
    pub fn target(&self) -> Option<Name> {
        let found = self.0.lock();
        found.target.clone().or_else(|| found.denied.as_ref().map(|(_, target)| target.clone()))
    }
}

impl Recording {
    /// A change that is about to be made, on record before it is. What only shows or releases something is not.
    pub async fn asked(
        &self,
        caller: &Caller,
        (action, class): (Action, AuditClass),
        note: &Note,
    ) -> Result<(), Status> {
        let (call, target) = {
            let found = note.0.lock();
            match (class, found.asked, &found.target) {
                (AuditClass::Change, None, Some(target)) => (self.clock.now().uuid(), target.clone()),
                (AuditClass::Release | AuditClass::Read | AuditClass::Change, _, _) => return Ok(()),
            }
        };
        let event = change(caller, action, call, target, Step::Asked, None);
        self.audit.record(event).await.map_err(|AuditDown| unavailable("nothing was changed"))?;
        note.0.lock().asked = Some(call);
        Ok(())
    }

    /// The end of a call, on record before it is answered: its refusal, or what came of a change.
    pub async fn ended(
        &self,
        caller: &Caller,
        (action, class): (Action, AuditClass),
        note: &Note,
        answer: &HeaderMap,
    ) -> Result<(), Status> {
        let Found { target, denied, asked, reach } = std::mem::take(&mut *note.0.lock());
        // One refusal is one line.
        let target = target.filter(|_| denied.is_none() || asked.is_some());
        if let Some((action, target)) = denied {
            self.refusal(caller, action, target).await;
        }
        let status = Status::from_header_map(answer);
        if let Some(limit) = status.as_ref().and_then(limit) {
            self.met(caller, Name::of(&limit)).await;
        }
        let (AuditClass::Change, Some(target)) = (class, target) else { return Ok(()) };
        let (step, reason) = outcome(status);
        let call = asked.unwrap_or_else(|| self.clock.now().uuid());
        let written = self.audit.record(change(caller, action, call, target, step, reason)).await;
        match (written, asked, step, reach) {
            // That it was asked is on record: its caller is told what came of it. Of what is missing it is told the same
            // as of what is hidden, and refusals stand.
            (Ok(()), _, _, _)
            | (Err(AuditDown), Some(_), _, _)
            | (Err(AuditDown), None, Step::Refused, _)
            | (Err(AuditDown), None, _, Reach::Nothing) => Ok(()),
            (Err(AuditDown), None, Step::Asked | Step::Done | Step::Failed, Reach::Something) => {
                Err(unavailable("the change may have been made: look at it before asking again"))
            }
        }
    }

    /// What was allowed once and is not any more, in the midst of a stream.
    pub async fn denied(&self, caller: &Caller, action: Action, target: &impl Display) {
        self.refusal(caller, action, Name::of(target)).await;
    }

    async fn refusal(&self, caller: &Caller, action: Action, target: Name) {
        let (caller, action) = (Name::of(&caller.id()), Name::of(&action.word()));
        let reason = Name::of(&"policy");
        // That it could not be written is in the log; the refusal stands.
        let _ = self.audit.record(Event::Denied { caller, action, target, reason }).await;
    }

    /// A call that was not let in, as its caller has had its share.
    pub async fn throttled(&self, caller: &Caller, full: Full) {
        self.met(caller, Name::of(&full.which.key())).await;
    }

    async fn met(&self, caller: &Caller, limit: Name) {
        let caller = Name::of(&caller.id());
        // Counted, and written with other counts.
        let _ = self.audit.record(Event::Throttled { caller, limit, count: 1 }).await;
    }

    /// A call of nobody.
    pub async fn stranger(&self, transport: Option<Transport>, reason: &'static str) {
        let transport = transport.map_or("unknown", Transport::word);
        let (transport, reason) = (Name::of(&transport), Name::of(&reason));
        // As for any refusal.
        let _ = self.audit.record(Event::Unauthenticated { transport, reason, count: 1 }).await;
    }
}

fn change(
    caller: &Caller,
    action: Action,
    call: Uuid,
    target: Name,
    step: Step,
    reason: Option<Name>,
) -> Event {
    let (caller, action) = (Name::of(&caller.id()), Name::of(&action.word()));
    Event::Change { call, caller, action, target, step, reason }
}

fn unavailable(what: &str) -> Status {
    let text = format!("the call could not be put on record: {what}; look after the audit trail's disk");
    Problem::new(ErrorReason::AuditUnavailable, text).retry_in(RETRY).into()
}

/// The bound that a refused call met.
fn limit(status: &Status) -> Option<String> {
    let code = status.code();
    (code == Code::ResourceExhausted).then(|| status.get_details_error_info())??.metadata.remove("limit")
}

/// What an answer says of the change that was asked for. An answer without a status in its head is one that went well.
fn outcome(status: Option<Status>) -> (Step, Option<Name>) {
    let Some(status) = status else { return (Step::Done, None) };
    let step = match status.code() {
        Code::Ok => return (Step::Done, None),
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Step::Refused,
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Step::Failed,
    };
    let info = status.get_details_error_info();
    (step, info.map(|info| Name::of(&info.reason)))
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
