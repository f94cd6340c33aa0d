//! Who calls, and whether it may: nothing is done for a call before both are known. A caller that may not is told
//! what it would be told if there were no such thing.

mod hiding;
mod lasting;
mod using;

pub use lasting::Lasting;
pub use using::{Unseen, Use};

use super::{
    errors,
    problem::Problem,
    recording::{Note, Recording},
};
use crate::{
    access::{
        Access, Action, Asked, AuditClass, Caller, ConnectionFacts, Denied, Facts, Permit, Rate, Target,
        policies::{Outcome, Question},
    },
    api::ErrorReason,
    broker::{
        GetTokenError,
        admin::{AdminError, Kind, Shown, Sight, etag},
        knowing::{Knowing, record_id},
    },
    domain::{
        client::{Client, Tenant},
        connection::Connection,
        labels::LabelPatch,
        names::{ClientName, ConnectionName, Owner},
    },
    limits::Seat,
    store::{StoreError, ledger::Loaded},
    traces,
};
use async_trait::async_trait;
use std::{fmt::Display, sync::Arc};
use tonic::{Request, Status};

const REFUSED: &str = "the caller may not do this here, or there is no such thing: check the name, then have the \
                       policies extended; `bursar policy explain` says, where they lie, what is missing";

/// One call whose caller is known.
#[derive(Debug, Clone)]
pub struct Call {
    pub caller: Caller,
    pub action: Action,
    pub audit: AuditClass,
    pub rate: Rate,
    pub on_behalf_of: String,
    /// What is to be on record of it.
    pub note: Arc<Note>,
    /// What it takes up.
    pub seat: Seat,
}

/// What handlers ask for permits.
pub struct Guard {
    pub access: Arc<Access>,
    pub knowing: Knowing,
    pub recording: Recording,
}

/// What becomes of a record that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The caller is told that.
    Fails,
    /// It is judged by its name, in an environment that is not known.
    ByName,
}

impl Guard {
    pub fn call<T>(&self, request: &Request<T>) -> Result<Call, Status> {
        request.extensions().get::<Call>().cloned().ok_or_else(|| {
            Problem::new(ErrorReason::Internal, "the call reached its method without a caller").into()
        })
    }

    /// For what has nothing but a name.
    pub fn permit<N>(&self, call: &Call, on: N) -> Result<Permit<N>, Status>
    where
        N: Clone + Into<Target>,
    {
        let target: Target = on.clone().into();
        let permit = self.access.permit(&call.caller, call.action, on, &Facts::Nothing, &call.asked());
        let permit =
            call.noted(permit, call.action, &target).map_err(|_| call.refused(call.action, &target))?;
        Self::seated(call, &target.owner(), permit)
    }

    /// What is permitted takes a place of its tenant's, if it is to wait for something. Never before: whoever may not have
    /// something cannot stand in the way of those who may.
    fn seated<P>(call: &Call, owner: &Owner, permit: P) -> Result<P, Status> {
        match call.rate {
            // Takes one when it turns out that it has to wait.
            Rate::Serve | Rate::Watch => Ok(permit),
            Rate::Read | Rate::Write | Rate::Exchange => match call.seat.wait_for(owner) {
                Ok(()) => Ok(permit),
                Err(full) => Err(errors::full(full)),
            },
        }
    }

    /// The same for a change, which is on record when this returns.
    pub async fn change<N>(&self, call: &Call, on: N) -> Result<Permit<N>, Status>
    where
        N: Clone + Into<Target>,
    {
        let permit = self.permit(call, on)?;
        self.asked(call).await?;
        Ok(permit)
    }

    /// To be called when all is permitted and nothing is changed yet: from here on the change is on record.
    pub async fn asked(&self, call: &Call) -> Result<(), Status> {
        self.recording.asked(&call.caller, (call.action, call.audit), &call.note).await
    }

    /// For something that is to be made, and what would be true of it.
    pub fn creation<N>(&self, call: &Call, on: N, facts: &Facts) -> Result<Permit<N>, Status>
    where
        N: Clone + Into<Target>,
    {
        self.creation_for(call, on, facts, &call.asked())
    }

    /// The same, with what was asked for.
    pub fn creation_for<N>(
        &self,
        call: &Call,
        on: N,
        facts: &Facts,
        asked: &Asked,
    ) -> Result<Permit<N>, Status>
    where
        N: Clone + Into<Target>,
    {
        let target: Target = on.clone().into();
        let permit = self.access.permit(&call.caller, call.action, on, facts, asked);
        let permit =
            call.noted(permit, call.action, &target).map_err(|_| call.refused(call.action, &target))?;
        Self::seated(call, &target.owner(), permit)
    }

    /// Whether the caller may do this to the connection with other labels, too. Gives the etag of what was judged: only
    /// that may be changed so.
    pub async fn relabelled(
        &self,
        call: &Call,
        permit: &Permit,
        labels: &LabelPatch,
    ) -> Result<String, Status> {
        let name = permit.on();
        let Some(loaded) = self.knowing.meet(name).await.map_err(|err| errors::get_token(name, err))? else {
            let missing = AdminError::NotFound { kind: Kind::Connection, name: name.to_string() };
            return Err(errors::admin(name, missing));
        };
        // It may be newer than what the permit was given for.
        self.still(call, permit, &loaded, &call.asked()).await?;
        let facts = self.knowing.facts(&loaded).await.map_err(|err| errors::get_token(name, err.into()))?;
        if let Facts::Connection(mut facts) = facts {
            facts.record = None;
            labels.apply(&mut facts.labels);
            drop(self.creation(call, name.clone(), &Facts::Connection(facts))?);
        }
        Ok(etag(loaded.record.uid, loaded.record.revision))
    }

    pub async fn connection(&self, call: &Call, name: &ConnectionName) -> Result<Permit, Status> {
        self.connection_for(call, name, &call.asked(), Unreadable::Fails).await
    }

    pub async fn connection_for(
        &self,
        call: &Call,
        name: &ConnectionName,
        asked: &Asked,
        unreadable: Unreadable,
    ) -> Result<Permit, Status> {
        let permit = self.of_connection(call, name, asked, unreadable).await?;
        let permit = Self::seated(call, &name.owner(), permit)?;
        self.asked(call).await?;
        Ok(permit)
    }

    async fn of_connection(
        &self,
        call: &Call,
        name: &ConnectionName,
        asked: &Asked,
        unreadable: Unreadable,
    ) -> Result<Permit, Status> {
        let meeting = call.seat.answered(None, self.knowing.meet(name));
        let facts = match meeting.await.map_err(errors::full)? {
            Ok(Some(loaded)) => {
                let on = (name, record_id(&loaded));
                if let Some(known) = self.access.known(&call.caller, call.action, on, asked) {
                    return self.judged(call, name, call.noted(known, call.action, name)).await;
                }
                let facts = call.seat.answered(None, self.knowing.facts(&loaded));
                facts.await.map_err(errors::full)?.map_err(GetTokenError::from)
            }
            Ok(None) => Ok(Facts::Nothing),
            Err(err) => Err(err),
        };
        let permit = |facts: &Facts| {
            let permit = self.access.permit(&call.caller, call.action, name.clone(), facts, asked);
            call.noted(permit, call.action, name)
        };
        match (facts, unreadable) {
            (Ok(Facts::Nothing), _) => {
                drop(self.judged(call, name, permit(&Facts::Nothing)).await?);
                Err(call.missing((Kind::Connection, name)))
            }
            (Ok(facts), _) => self.judged(call, name, permit(&facts)).await,
            (
                Err(GetTokenError::Store(StoreError::Forged { .. } | StoreError::Broken { .. })),
                Unreadable::ByName,
            ) => self.judged(call, name, permit(&of_name(name))).await,
            // That it cannot be read is for those to know who may know whether it is there.
            (Err(err), _) => {
                drop(self.judged(call, name, permit(&Facts::Nothing)).await?);
                Err(errors::get_token(name, err))
            }
        }
    }

    /// Whether a permit holds for what was found in the end: it may have changed while a refresh was waited for.
    pub async fn still(
        &self,
        call: &Call,
        permit: &Permit,
        found: &Loaded<Connection>,
        asked: &Asked,
    ) -> Result<(), Status> {
        let (caller, action, name) = (permit.caller(), permit.action(), permit.on());
        let known = self.access.known(caller, action, (name, record_id(found)), asked);
        let again = if let Some(known) = known {
            known
        } else {
            let owner = name.owner();
            let facts = call.seat.answered(Some(&owner), self.knowing.facts(found)).await;
            let facts = facts.map_err(errors::full)?;
            let facts = facts.map_err(|err| errors::get_token(name, err.into()))?;
            self.access.permit(caller, action, name.clone(), &facts, asked)
        };
        let again = call.noted(again, action, name).map(drop);
        again.map_err(|denied| call.told(denied, action, (Kind::Connection, name)))
    }

    pub async fn client(&self, call: &Call, name: &ClientName) -> Result<Permit<ClientName>, Status> {
        let permit = |facts: &Facts| {
            let permit = self.access.permit(&call.caller, call.action, name.clone(), facts, &call.asked());
            call.noted(permit, call.action, name)
                .map_err(|denied| call.told(denied, call.action, (Kind::Client, name)))
        };
        let permit = match self.knowing.client(name).await {
            Ok(Facts::Nothing) => {
                drop(permit(&Facts::Nothing)?);
                return Err(call.missing((Kind::Client, name)));
            }
            Ok(facts) => permit(&facts)?,
            Err(err) => {
                drop(permit(&Facts::Nothing)?);
                return Err(errors::admin(name, err.into()));
            }
        };
        let permit = Self::seated(call, &name.owner, permit)?;
        self.asked(call).await?;
        Ok(permit)
    }

    /// What the caller of a list may see: what it may get by this action.
    pub fn sight<'a>(&'a self, call: &'a Call, get: Action) -> Seeing<'a> {
        Seeing { guard: self, call, get }
    }

    fn shown(&self, call: &Call, action: Action, target: &Target, facts: &Facts) -> Shown {
        let asked = call.asked();
        let question = Question { caller: &call.caller, action, target, facts, asked: &asked };
        match self.access.decide(&question) {
            Outcome::Allowed => Shown::Yes,
            Outcome::Hidden | Outcome::Refused => Shown::No,
        }
    }
}

/// See [`Guard::sight`].
pub struct Seeing<'a> {
    guard: &'a Guard,
    call: &'a Call,
    get: Action,
}

impl Seeing<'_> {
    pub fn shows(&self, target: &Target) -> Shown {
        self.guard.shown(self.call, self.get, target, &Facts::Nothing)
    }
}

#[async_trait]
impl Sight<Connection> for Seeing<'_> {
    async fn shows(&self, loaded: &Loaded<Connection>) -> Result<Shown, AdminError> {
        let facts = self.guard.knowing.facts(loaded).await?;
        let target = loaded.record.name.clone().into();
        Ok(self.guard.shown(self.call, self.get, &target, &facts))
    }
}

#[async_trait]
impl Sight<Client> for Seeing<'_> {
    async fn shows(&self, loaded: &Loaded<Client>) -> Result<Shown, AdminError> {
        let (target, facts) = (loaded.record.name.clone().into(), Facts::Client((&loaded.record).into()));
        Ok(self.guard.shown(self.call, self.get, &target, &facts))
    }
}

#[async_trait]
impl Sight<Tenant> for Seeing<'_> {
    async fn shows(&self, loaded: &Loaded<Tenant>) -> Result<Shown, AdminError> {
        let target = loaded.record.name.clone().into();
        Ok(self.guard.shown(self.call, self.get, &target, &Facts::Nothing))
    }
}

impl Call {
    /// What policies are told besides the target; methods add what they were asked for.
    pub fn asked(&self) -> Asked {
        Asked { on_behalf_of: self.on_behalf_of.clone(), ..Asked::default() }
    }

    /// Notes what was decided, for the trail. To use a thing for something else is no change of it.
    fn noted<N>(
        &self,
        decided: Result<Permit<N>, Denied>,
        action: Action,
        target: &impl Display,
    ) -> Result<Permit<N>, Denied> {
        match (&decided, self.audit) {
            (Err(_), _) => self.note.denied(action, target),
            (Ok(_), AuditClass::Change) if action == self.action => self.note.allowed(target),
            // Not for the trail.
            (Ok(_), AuditClass::Read | AuditClass::Release) if traces::is_recorded() => {
                self.note.allowed(target);
            }
            (Ok(_), AuditClass::Change | AuditClass::Read | AuditClass::Release) => {}
        }
        decided
    }

    /// What the caller is told of something that is not there. As early as of what is hidden: were a place to be taken or
    /// a line to be written first, the places that are taken and the trail that is away would tell the two apart.
    fn missing(&self, (kind, name): (Kind, &dyn Display)) -> Status {
        self.note.missing();
        errors::admin(name, AdminError::NotFound { kind, name: name.to_string() })
    }

    /// What the caller is told of something that it may not do. Nothing here depends on whether there is such a thing.
    fn told(&self, denied: Denied, action: Action, (kind, name): (Kind, &dyn Display)) -> Status {
        match denied {
            // In the words of `missing`.
            Denied::Hidden => errors::admin(name, AdminError::NotFound { kind, name: name.to_string() }),
            Denied::Refused => self.refused(action, name),
        }
    }

    fn refused(&self, action: Action, name: &dyn Display) -> Status {
        refused(&self.caller, action, name)
    }

    /// What the page tokens of one caller's list are good for: this list, to this caller.
    pub fn list(&self, parent: &str) -> String {
        format!("{}\n{parent}\n{}", self.action.word(), self.caller.id())
    }
}

/// With what has to be given to `bursar policy explain`: the caller's own name, and what it wanted.
fn refused(caller: &Caller, action: Action, name: &dyn Display) -> Status {
    let problem = Problem::new(ErrorReason::PermissionDenied, REFUSED).about(name);
    problem.with("caller", Some(caller.id())).with("action", Some(action.word())).into()
}

/// A connection whose record does not tell.
fn of_name(name: &ConnectionName) -> Facts {
    let none: crate::domain::names::Id = "none".parse().expect("a word of letters is an id");
    Facts::Connection(Box::new(ConnectionFacts {
        record: None,
        provider: crate::domain::names::ProviderName(none.clone()),
        client: ClientName { owner: name.owner(), id: none },
        environment: None,
        labels: std::collections::BTreeMap::new(),
    }))
}
