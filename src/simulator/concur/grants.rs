//! The grants of a simulated Concur's token endpoint: who gets a token, and with which code everybody else is refused.
//! Builds no response: that is `issue`.

use super::{
    authorize,
    behaviour::Reach,
    issue::{self, Issue},
    otp,
    records::{App, AppStatus, Kind, Principal, Refusal},
    world::World,
};
use crate::{
    clock::Timestamp,
    simulator::{
        exchange::{Form, Request},
        journal::Ending,
        refresh_tokens::{Handed, Owner},
        world::{self, Done},
    },
};

/// The values of `grant_type` that Concur knows.
pub(super) const GRANTS: [&str; 5] =
    ["refresh_token", "password", "client_credentials", "authorization_code", "otp"];

pub(super) type Stop = world::Stop<Refusal>;

pub(super) fn stop(code: u16) -> Stop {
    Stop::Refused(Refusal::code(code))
}

/// `POST /oauth2/v0/token`.
pub(super) fn token(world: &mut World, now: Timestamp, request: &Request, form: &Form) -> Result<Done, Stop> {
    require_format(request)?;
    let grant = form.get("grant_type").ok_or_else(|| stop(65))?;
    let app = authenticate(world, request, form)?;
    if !app.grants.contains(grant) {
        return Err(stop(if grant == "refresh_token" { 107 } else { 60 }));
    }
    authorize::require_old_parameters(form)?;
    let site = &request.site;
    match grant {
        "refresh_token" => refresh(world, now, site, &app, form),
        "client_credentials" => client_credentials(world, now, site, &app),
        "password" => match form.get("credtype").unwrap_or("password") {
            "authtoken" => request_token(world, now, site, &app, form),
            "password" => password(world, now, site, &app, form),
            _ => Err(stop(120)),
        },
        "authorization_code" => authorize::exchange_code(world, now, site, &app, form),
        "otp" => otp::exchange(world, now, site, &app, form),
        _ => Err(stop(60)),
    }
}

/// Exactly the one content type, no chunks, no parameters in the URL.
pub(super) fn require_format(request: &Request) -> Result<(), Stop> {
    let form_encoded = request
        .header("content-type")
        .is_some_and(|given| given.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    let query = Form::parse(request.query.as_bytes());
    let secrets = ["client_id", "client_secret", "refresh_token", "password", "grant_type", "code", "otp"];
    let chunked = request.header("transfer-encoding").is_some();
    if !form_encoded || chunked || secrets.iter().any(|name| query.has(name)) {
        return Err(stop(135));
    }
    Ok(())
}

pub(super) fn authenticate(world: &World, request: &Request, form: &Form) -> Result<App, Stop> {
    let id = form.get("client_id").ok_or_else(|| stop(62))?;
    let secret = form.get("client_secret").ok_or_else(|| stop(63))?;
    let known = |app: &&App| app.data_centres.is_empty() || app.data_centres.contains(&request.site);
    let app = world.apps.get(id).filter(known).ok_or_else(|| stop(61))?;
    match app.status {
        AppStatus::Disabled => Err(stop(59)),
        AppStatus::Enabled if app.secrets.iter().all(|good| good != secret) => Err(stop(64)),
        AppStatus::Enabled => Ok(app.clone()),
    }
}

fn refresh(world: &mut World, now: Timestamp, site: &str, app: &App, form: &Form) -> Result<Done, Stop> {
    let presented = form.get("refresh_token").ok_or_else(|| stop(106))?;
    let owner = world.basics.refresh_tokens.owner(presented).ok_or_else(|| stop(108))?.clone();
    if owner.app != app.id {
        return Err(stop(105));
    }
    let principal = admit(world, &owner.principal, app)?;
    let home = locate(world, &principal, site, Exchange::Further)?;
    // A narrowed refresh narrows the access token only; whether it narrows the grant at SAP is unknown.
    let scope = form.scope_within(&owner.scope).ok_or_else(|| stop(54))?;
    let handed = world.basics.exchange(now, presented).map_err(|_| stop(108))?;
    if let Some(here) = world.principals.get_mut(&principal.id).filter(|one| one.home != site) {
        here.farewell = None;
    }
    let issue = Issue::to_principal(app, &principal, home, scope, handed);
    Ok(Done { answer: issue::success(world, now, &issue)?, ending: Ending::Refreshed })
}

fn client_credentials(world: &mut World, now: Timestamp, site: &str, app: &App) -> Result<Done, Stop> {
    let issue = Issue::to_app(app, site.to_owned());
    Ok(Done { answer: issue::success(world, now, &issue)?, ending: Ending::Granted })
}

/// `credtype=authtoken`: a principal's id and a request token made for it.
fn request_token(
    world: &mut World,
    now: Timestamp,
    site: &str,
    app: &App,
    form: &Form,
) -> Result<Done, Stop> {
    let id = form.get("username").ok_or_else(|| stop(51))?.to_ascii_lowercase();
    let presented = form.get("password").ok_or_else(|| stop(52))?;
    if !world.principals.contains_key(&id) {
        return Err(stop(100));
    }
    let token = world.request_tokens.get(presented).ok_or_else(|| stop(5))?;
    if token.app != app.id {
        return Err(stop(136));
    }
    let used_up = world.basics.behaviour.request_token_uses.is_some_and(|most| token.uses >= most);
    if token.company != id || token.expires_at <= now || used_up {
        return Err(stop(5));
    }
    let scope = form.scope_within(&app.scopes).ok_or_else(|| stop(54))?;
    let done = first_exchange(world, now, site, app, &id, scope, Exchange::First)?;
    if let Some(token) = world.request_tokens.get_mut(presented) {
        token.uses += 1;
    }
    Ok(done)
}

/// `credtype=password`: a user's login and password.
fn password(world: &mut World, now: Timestamp, site: &str, app: &App, form: &Form) -> Result<Done, Stop> {
    let login = form.get("username").ok_or_else(|| stop(51))?;
    let presented = form.get("password").ok_or_else(|| stop(52))?;
    let found = world.principals.values().find(|one| one.is_called(login));
    let user = match found {
        Some(user) if user.password.as_deref() == Some(presented) => user.id.clone(),
        Some(_) => return Err(stop(5)),
        // A company's id is known, but nobody logs in by it: so it ends when `credtype` was forgotten.
        None if world.principals.contains_key(&login.to_ascii_lowercase()) => return Err(stop(5)),
        None => return Err(stop(100)),
    };
    let scope = form.scope_within(&app.scopes).ok_or_else(|| stop(54))?;
    // A user who logs in by password has to do so at home.
    first_exchange(world, now, site, app, &user, scope, Exchange::Further)
}

/// A new family of refresh tokens for a principal, whatever it was asked for with.
pub(super) fn first_exchange(
    world: &mut World,
    now: Timestamp,
    site: &str,
    app: &App,
    principal: &str,
    scope: Vec<String>,
    exchange: Exchange,
) -> Result<Done, Stop> {
    let principal = admit(world, principal, app)?;
    let home = locate(world, &principal, site, exchange)?;
    let owner = Owner {
        app: app.id.clone(),
        principal: principal.id.clone(),
        scope: scope.clone(),
        ..Owner::default()
    };
    let handed = world.basics.issue(now, owner);
    let issue = Issue::to_principal(app, &principal, home, scope, handed);
    Ok(Done { answer: issue::success(world, now, &issue)?, ending: Ending::Granted })
}

/// Whether anything is to be had for this principal at all.
pub(super) fn admit(world: &World, id: &str, app: &App) -> Result<Principal, Stop> {
    let principal = world.principals.get(id).ok_or_else(|| stop(123))?;
    if let Some(code) = principal.refused_with {
        return Err(stop(code));
    }
    let allowed = app.principals.is_empty() || app.principals.contains(id);
    if !allowed || principal.disconnected_from.contains(&app.id) {
        return Err(stop(53));
    }
    Ok(principal.clone())
}

/// Whether a global data centre may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    First,
    Further,
}

/// The data centre that issues the token, or code 16 with the next place to ask.
fn locate(world: &World, principal: &Principal, site: &str, exchange: Exchange) -> Result<String, Stop> {
    let reach = world.data_centres.iter().find(|centre| centre.name == site).map(|centre| centre.reach);
    let at_home = principal.home == site;
    let globally = exchange == Exchange::First && reach == Some(Reach::Global);
    let in_farewell = exchange == Exchange::Further && principal.farewell.as_deref() == Some(site);
    if at_home || globally || in_farewell {
        return Ok(principal.home.clone());
    }
    let next = principal.via.as_deref().filter(|via| *via != site).unwrap_or(&principal.home);
    Err(Stop::Refused(Refusal { code: 16, geolocation: Some(world.basics.base(next)) }))
}

impl World {
    /// Code 16 for a user who lives elsewhere.
    pub(super) fn require_home(&self, principal: &str, site: &str) -> Result<(), Stop> {
        let principal = self.principals.get(principal).ok_or_else(|| stop(123))?;
        locate(self, principal, site, Exchange::Further).map(drop)
    }
}

impl Issue {
    fn to_principal(
        app: &App,
        principal: &Principal,
        home: String,
        scope: Vec<String>,
        handed: Handed,
    ) -> Self {
        let kind = match principal.kind {
            Kind::Company => "company",
            Kind::User => "user",
        };
        Self {
            app: app.id.clone(),
            kind,
            subject: principal.id.clone(),
            data_centre: home,
            scope,
            refresh: Some(handed),
        }
    }

    fn to_app(app: &App, data_centre: String) -> Self {
        let scope = app.scopes.clone();
        Self { app: app.id.clone(), kind: "app", subject: app.id.clone(), data_centre, scope, refresh: None }
    }
}
