//! What is on record of calls that are no releases.

use super::*;
use crate::{
    access::Identity, audit::Leaving, clock::SystemClock, domain::token::AccessToken, limits::Bound,
};
use async_trait::async_trait;
use std::collections::BTreeSet;

/// Keeps what it is told, or takes nothing.
#[derive(Default)]
struct Kept(Mutex<(Vec<Event>, bool)>);

#[async_trait]
impl Audit for Kept {
    async fn release(
        &self,
        _: &crate::access::Permit,
        _: &Leaving<'_>,
        _: &AccessToken,
    ) -> Result<(), AuditDown> {
        Err(AuditDown)
    }

    async fn record(&self, event: Event) -> Result<(), AuditDown> {
        let (events, is_down) = &mut *self.0.lock();
        if *is_down {
            return Err(AuditDown);
        }
        events.push(event);
        Ok(())
    }
}

fn rig() -> (Recording, Arc<Kept>, Caller) {
    let kept = Arc::new(Kept::default());
    let recording = Recording { audit: kept.clone(), clock: Arc::new(SystemClock) };
    let caller = Caller::new(Identity::Dns("ops.example.org".into()), Transport::Mtls, BTreeSet::new());
    (recording, kept, caller)
}

const DELETE: (Action, AuditClass) = (Action::DeleteTenant, AuditClass::Change);
const GET: (Action, AuditClass) = (Action::GetTenant, AuditClass::Read);

fn answer(code: Option<Code>) -> HeaderMap {
    let status = code.map(|code| Status::new(code, "text"));
    status.map(|status| status.into_http::<()>().headers().clone()).unwrap_or_default()
}

fn steps(kept: &Kept) -> Vec<(String, Step)> {
    let step = |event: &Event| match event {
        Event::Change { target, step, .. } => Some((target.to_string(), *step)),
        _ => None,
    };
    kept.0.lock().0.iter().filter_map(step).collect()
}

#[tokio::test]
async fn a_change_is_on_record_before_it_is_made_and_after() {
    let (recording, kept, caller) = rig();
    let note = Note::default();
    note.allowed(&"tenants/acme");
    recording.asked(&caller, DELETE, &note).await.unwrap();
    assert_eq!(steps(&kept), [("tenants/acme".to_owned(), Step::Asked)]);
    // A second permit of the same call is the same change.
    note.allowed(&"tenants/other");
    recording.asked(&caller, DELETE, &note).await.unwrap();
    recording.ended(&caller, DELETE, &note, &answer(None)).await.unwrap();
    let told = |step| ("tenants/acme".to_owned(), step);
    assert_eq!(steps(&kept), [told(Step::Asked), told(Step::Done)]);
    let calls: BTreeSet<_> = kept
        .0
        .lock()
        .0
        .iter()
        .map(|event| match event {
            Event::Change { call, caller, action, .. } => (*call, caller.to_string(), action.to_string()),
            _ => Default::default(),
        })
        .collect();
    assert_eq!(calls.len(), 1);
    assert!(calls.first().unwrap().1 == "dns:ops.example.org" && calls.first().unwrap().2 == "DeleteTenant");
}

#[tokio::test]
async fn what_only_shows_something_leaves_no_line() {
    let (recording, kept, caller) = rig();
    let note = Note::default();
    note.allowed(&"tenants/acme");
    recording.asked(&caller, GET, &note).await.unwrap();
    recording.ended(&caller, GET, &note, &answer(None)).await.unwrap();
    assert_eq!(kept.0.lock().0, []);
}

#[tokio::test]
async fn one_refusal_is_one_line_whatever_was_asked() {
    let (recording, kept, caller) = rig();
    for what in [GET, DELETE] {
        let note = Note::default();
        note.denied(what.0, &"tenants/acme");
        note.denied(what.0, &"tenants/acme");
        recording.ended(&caller, what, &note, &answer(Some(Code::PermissionDenied))).await.unwrap();
        let events = std::mem::take(&mut kept.0.lock().0);
        let [Event::Denied { target, action, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((target.as_str(), action.as_str()), ("tenants/acme", what.0.word()));
    }
    // What was allowed of it and never begun is no second line.
    let note = Note::default();
    note.allowed(&"tenants/acme");
    note.denied(Action::UseClient, &"platform/clients/app");
    recording.ended(&caller, DELETE, &note, &answer(Some(Code::NotFound))).await.unwrap();
    let events = std::mem::take(&mut kept.0.lock().0);
    assert!(matches!(&events[..], [Event::Denied { .. }]), "{events:?}");
    // What was asked is on record, and so is what came of it.
    let note = Note::default();
    note.allowed(&"tenants/acme");
    recording.asked(&caller, DELETE, &note).await.unwrap();
    note.denied(DELETE.0, &"tenants/acme");
    recording.ended(&caller, DELETE, &note, &answer(Some(Code::PermissionDenied))).await.unwrap();
    let refused = |step| ("tenants/acme".to_owned(), step);
    assert_eq!(steps(&kept), [refused(Step::Asked), refused(Step::Refused)]);
    assert_eq!(kept.0.lock().0.len(), 3);
}

#[tokio::test]
async fn without_a_trail_nothing_is_changed_and_refusals_stand() {
    let (recording, kept, caller) = rig();
    kept.0.lock().1 = true;
    let note = Note::default();
    note.allowed(&"tenants/acme");
    let refused = recording.asked(&caller, DELETE, &note).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "AUDIT_UNAVAILABLE");
    // The handler ended there; what it answers is known.
    let note = Note::default();
    note.denied(Action::DeleteTenant, &"tenants/acme");
    recording.ended(&caller, DELETE, &note, &answer(Some(Code::PermissionDenied))).await.unwrap();
    // A change that nothing was written of is not passed over in silence.
    let note = Note::default();
    note.allowed(&"tenants/acme");
    assert!(recording.ended(&caller, DELETE, &note, &answer(None)).await.is_err());
    // What is missing, and may be, is answered as what is hidden is: there was nothing to change.
    let note = Note::default();
    note.allowed(&"tenants/acme");
    note.missing();
    recording.ended(&caller, DELETE, &note, &answer(None)).await.unwrap();
}

#[tokio::test]
async fn a_bound_that_was_met_is_told_with_its_caller() {
    let (recording, kept, caller) = rig();
    let full = Full { which: Bound::WaitingPerTenant, retry: Duration::from_secs(1) };
    let answer = crate::grpc::errors::full(full).into_http::<()>();
    recording.ended(&caller, GET, &Note::default(), answer.headers()).await.unwrap();
    recording.throttled(&caller, Full { which: Bound::CallsPerCaller, ..full }).await;
    let events = std::mem::take(&mut kept.0.lock().0);
    let told =
        |limit: &str| Event::Throttled { caller: Name::of(&caller.id()), limit: Name::of(&limit), count: 1 };
    let want = ["limits.waiting_requests_per_tenant", "limits.concurrent_requests_per_caller"].map(told);
    assert_eq!(events, want);
    // A store without room is no bound of a caller's.
    let status: Status = Problem::new(ErrorReason::StoreFull, "text").into();
    recording.ended(&caller, GET, &Note::default(), status.into_http::<()>().headers()).await.unwrap();
    assert_eq!(kept.0.lock().0, []);
}

fn told(answer: &HeaderMap) -> (Step, Option<Name>) {
    outcome(Status::from_header_map(answer))
}

#[test]
fn what_an_answer_says_of_a_change() {
    assert_eq!(told(&answer(None)).0, Step::Done);
    for code in [Code::InvalidArgument, Code::NotFound, Code::Aborted, Code::FailedPrecondition] {
        assert_eq!(told(&answer(Some(code))).0, Step::Refused, "{code:?}");
    }
    for code in [Code::Internal, Code::Unavailable, Code::DeadlineExceeded, Code::Unknown] {
        assert_eq!(told(&answer(Some(code))).0, Step::Failed, "{code:?}");
    }
    let problem: Status = Problem::new(ErrorReason::EtagMismatch, "text").into();
    let (_, reason) = told(problem.into_http::<()>().headers());
    assert_eq!(reason.unwrap().as_str(), "ETAG_MISMATCH");
}
