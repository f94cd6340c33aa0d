//! One-time passwords of a simulated Concur: `POST /oauth2/v0/otp` and `grant_type=otp`. No mail is sent: what would
//! be in it lies in a mailbox that the control endpoint opens.

use super::{
    grants::{Exchange, authenticate, first_exchange, require_format, stop},
    records::{App, Kind, Mail, Otp, Refusal},
    world::World,
};
use crate::{
    clock::Timestamp,
    simulator::{
        exchange::{Answer, Form, Request},
        journal::Ending,
        world::{Done, Outcome},
    },
};
use serde_json::json;
use std::collections::BTreeMap;

/// What is no fact of the request's own; every other parameter has to be the same in both requests.
const RESERVED: [&str; 7] =
    ["client_id", "client_secret", "channel_type", "channel_handle", "scope", "grant_type", "otp"];

/// `POST /oauth2/v0/otp`. An address that nobody has is not told apart: the answer is the same, and no password made.
pub(super) fn send(world: &mut World, now: Timestamp, request: &Request, form: &Form) -> Outcome<Refusal> {
    require_format(request)?;
    let app = authenticate(world, request, form)?;
    if !app.grants.contains("otp") {
        return Err(stop(60));
    }
    let handle = channel(form)?;
    let sent = Done { answer: Answer::json(200, &json!({"message": "otp sent"})), ending: Ending::Served };
    let Some(user) = user_of(world, &handle) else { return Ok(sent) };
    world.require_home(&user, &request.site)?;
    let open = world.otps.all_good(now).filter(|(_, otp)| otp.handle == handle && otp.app == app.id).count();
    let rules = &world.basics.behaviour.otp;
    if open >= rules.open_max {
        return Err(stop(82));
    }
    let seconds = rules.seconds;
    let otp = format!("dd-{}", world.basics.dice.base36(30));
    let stands_for = Otp { app: app.id, user, handle, facts: facts(form) };
    world.otps.keep(now, otp, stands_for, seconds);
    Ok(sent)
}

/// `grant_type=otp`.
pub(super) fn exchange(
    world: &mut World,
    now: Timestamp,
    site: &str,
    app: &App,
    form: &Form,
) -> Outcome<Refusal> {
    let presented = form.get("otp").ok_or_else(|| stop(56))?;
    let handle = channel(form)?;
    if user_of(world, &handle).is_none() {
        return Err(stop(55));
    }
    let otp = world.otps.good(now, presented).cloned().ok_or_else(|| stop(83))?;
    if otp.app != app.id {
        return Err(stop(105));
    }
    if otp.handle != handle {
        return Err(stop(85));
    }
    if otp.facts != facts(form) {
        return Err(stop(84));
    }
    let scope = form.scope_within(&app.scopes).ok_or_else(|| stop(54))?;
    let done = first_exchange(world, now, site, app, &otp.user, scope, Exchange::Further)?;
    world.otps.spend(presented);
    Ok(done)
}

impl World {
    /// What lies in the mailboxes and is good still.
    pub(super) fn mailbox(&self, now: Timestamp) -> Vec<Mail> {
        let mail = |(text, otp): (&str, &Otp)| Mail {
            to: otp.handle.clone(),
            otp: text.to_owned(),
            link: otp.facts.get("link").map(|link| {
                let mark = if link.contains('?') { '&' } else { '?' };
                format!("{link}{mark}token={text}")
            }),
        };
        self.otps.all_good(now).map(mail).collect()
    }
}

/// The address; the only channel is e-mail.
fn channel(form: &Form) -> Result<String, super::grants::Stop> {
    let channel = form.get("channel_type").ok_or_else(|| stop(57))?;
    let handle = form.get("channel_handle").ok_or_else(|| stop(58))?;
    match (channel, handle.contains('@')) {
        ("email", true) => Ok(handle.to_ascii_lowercase()),
        ("email", false) => Err(stop(81)),
        _ => Err(stop(80)),
    }
}

fn user_of(world: &World, handle: &str) -> Option<String> {
    let users = world.principals.values().filter(|one| one.kind == Kind::User);
    users.into_iter().find(|one| one.is_called(handle)).map(|one| one.id.clone())
}

fn facts(form: &Form) -> BTreeMap<String, String> {
    let own = form.iter().filter(|(name, _)| !RESERVED.contains(name));
    own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
