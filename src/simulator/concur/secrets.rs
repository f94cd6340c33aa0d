//! The secrets of an app as it manages them itself: `/app-mgmt/v4/{app}/secrets` of a simulated Concur. A secret is
//! made inactive, switched on, switched off and then deleted. SAP does not publish what the answer to a new secret
//! looks like: here its value is the member `secret`.

use super::{issue, records::ManagedSecret, world::World};
use crate::{
    clock::Timestamp,
    simulator::{
        exchange::{Answer, Request},
        journal::Ending,
        world::Done,
    },
};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

/// Secrets of one app at most, active or not.
pub(super) const SECRETS_MAX: usize = 4;
/// Secrets that are good at the same time.
const ACTIVE_MAX: usize = 2;

/// What a path under `/app-mgmt/v4/` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) app: String,
    secret: Option<String>,
}

/// RFC 7644 §3.5.2, as far as SAP uses it.
#[derive(Deserialize)]
struct Patch {
    #[serde(rename = "Operations")]
    operations: Vec<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    op: String,
    path: String,
    value: String,
}

impl Place {
    pub(super) fn of(path: &str) -> Option<Self> {
        let (app, rest) = path.strip_prefix("/app-mgmt/v4/")?.split_once('/')?;
        let secret = match rest.strip_prefix("secrets")? {
            "" => None,
            id => Some(id.strip_prefix('/').filter(|id| !id.is_empty() && !id.contains('/'))?.to_owned()),
        };
        Some(Self { app: app.to_owned(), secret })
    }
}

/// Lets in who brings an app token of this very app (`grant_type=client_credentials`).
pub(super) fn manage(world: &mut World, now: Timestamp, request: &Request, place: &Place) -> Done {
    let bearer = issue::bearer(world, now, request);
    if bearer.is_none_or(|bearer| bearer.kind != "app" || bearer.app != place.app) {
        return refused(401, "a token of the app itself is needed");
    }
    if !world.apps.contains_key(&place.app) {
        return refused(404, "no such app");
    }
    world.know_secrets(now, &place.app);
    match (&request.method, &place.secret) {
        (&Method::GET, None) => {
            let known = world.managed_secrets.get(&place.app).into_iter().flatten();
            let list: Vec<Value> = known.map(|one| one.shown(world.is_active(&place.app, one))).collect();
            done(200, &list.into())
        }
        (&Method::POST, None) => create(world, now, &place.app),
        (&Method::PATCH, Some(id)) => patch(world, now, &place.app, id, &request.body),
        (&Method::DELETE, Some(id)) => delete(world, &place.app, id),
        _ => refused(405, "method not allowed"),
    }
}

fn create(world: &mut World, now: Timestamp, app: &str) -> Done {
    let new = ManagedSecret {
        id: world.basics.dice.uuid(),
        value: world.basics.dice.uuid(),
        created_at: now,
        updated_at: now,
    };
    let mut shown = new.shown(false);
    shown["secret"] = new.value.as_str().into();
    let known = world.managed_secrets.entry(app.to_owned()).or_default();
    if known.len() >= SECRETS_MAX {
        return refused(400, "the app has as many secrets as it may have");
    }
    known.push(new);
    done(200, &shown)
}

fn patch(world: &mut World, now: Timestamp, app: &str, id: &str, body: &[u8]) -> Done {
    let patch: Option<Patch> = serde_json::from_slice(body).ok();
    let wanted = patch.as_ref().and_then(|patch| match patch.operations.as_slice() {
        [one] if one.op.eq_ignore_ascii_case("replace") && one.path == "/status" => Some(one.value.as_str()),
        _ => None,
    });
    let Some(wanted) = wanted else { return refused(400, "one operation that replaces /status is needed") };
    let known = world.managed_secrets.get_mut(app).and_then(|all| all.iter_mut().find(|one| one.id == id));
    let (Some(secret), Some(app)) = (known, world.apps.get_mut(app)) else {
        return refused(404, "no such secret");
    };
    match (wanted, app.secrets.contains(&secret.value)) {
        ("active", false) if app.secrets.len() >= ACTIVE_MAX => {
            return refused(400, "two secrets are active");
        }
        ("active", false) => app.secrets.push(secret.value.clone()),
        ("inactive", true) if app.secrets.len() == 1 => return refused(400, "it is the only active secret"),
        ("inactive", true) => app.secrets.retain(|good| *good != secret.value),
        ("active", true) | ("inactive", false) => {}
        _ => return refused(400, "the status is active or inactive"),
    }
    secret.updated_at = now;
    let shown = secret.shown(app.secrets.contains(&secret.value));
    done(200, &shown)
}

fn delete(world: &mut World, app: &str, id: &str) -> Done {
    let known = world.managed_secrets.get(app).and_then(|all| all.iter().find(|one| one.id == id)).cloned();
    let Some(secret) = known else { return refused(404, "no such secret") };
    if world.is_active(app, &secret) {
        return refused(400, "an active secret is switched off first");
    }
    if let Some(all) = world.managed_secrets.get_mut(app) {
        all.retain(|one| one.id != id);
    }
    Done { answer: Answer::text(204, ""), ending: Ending::Served }
}

impl World {
    /// Gives an id to every secret that an app got otherwise: when it was registered, or by order.
    fn know_secrets(&mut self, now: Timestamp, app: &str) {
        let active = self.apps.get(app).map(|app| app.secrets.clone()).unwrap_or_default();
        let known = self.managed_secrets.entry(app.to_owned()).or_default();
        for value in active {
            if known.iter().all(|one| one.value != value) {
                let id = self.basics.dice.uuid();
                known.push(ManagedSecret { id, value, created_at: now, updated_at: now });
            }
        }
    }

    fn is_active(&self, app: &str, secret: &ManagedSecret) -> bool {
        self.apps.get(app).is_some_and(|app| app.secrets.contains(&secret.value))
    }
}

impl ManagedSecret {
    /// Without the value.
    fn shown(&self, active: bool) -> Value {
        json!({
            "id": self.id,
            "status": if active { "Active" } else { "Inactive" },
            "createdAt": self.created_at.to_string(),
            "updatedAt": self.updated_at.to_string(),
        })
    }
}

fn done(status: u16, body: &Value) -> Done {
    Done { answer: Answer::json(status, body), ending: Ending::Served }
}

fn refused(status: u16, message: &str) -> Done {
    Done { answer: Answer::json(status, &json!({ "message": message })), ending: Ending::Refused }
}
