//! `GET /oauth2/v0/authorize` of a simulated Concur and what becomes of its codes. Where SAP publishes nothing (the
//! life of a code, whether `state` comes back, proof keys) the behaviour has a switch or an assumption says so.

use super::{
    answer::Call,
    behaviour::Behaviour,
    codes,
    grants::{Exchange, admit, first_exchange, stop},
    records::{App, AppStatus, Code, Kind, NewPrincipal, Refusal},
    world::World,
};
use crate::{
    clock::Timestamp,
    simulator::{
        Member,
        consent::{self, Decision},
        exchange::{Answer, Form, Request},
        journal::Ending,
        pkce::{self, Challenge},
        world::{Done, Outcome},
    },
};
use url::Url;

/// Where a refusal can be sent: only to a client that is known, at an address of its own.
pub(super) struct Back {
    app: String,
    to: Url,
    state: Option<String>,
}

impl Back {
    /// `None` if nobody may be sent anywhere.
    pub(super) fn of(world: &World, query: &Form) -> Option<Self> {
        let app = world.apps.get(query.get("client_id")?)?;
        let to = consent::registered(&app.redirect_uris, query.get("redirect_uri")?)?;
        Some(Self { app: app.id.clone(), to, state: query.get("state").map(str::to_owned) })
    }

    /// Concur's own names, not those of RFC 6749 §4.1.2.1.
    pub(super) fn refused(&self, behaviour: &Behaviour, code: &str, description: &str) -> Answer {
        self.with(behaviour, &[("error_code", code), ("error_description", description)])
    }

    fn with(&self, behaviour: &Behaviour, members: &[(&str, &str)]) -> Answer {
        let mut members = members.to_vec();
        if let (Some(state), Member::Sent) = (&self.state, behaviour.authorize.state) {
            members.push(("state", state));
        }
        consent::send_back(&self.to, &members)
    }
}

/// Asks for consent, or sends the browser back with what was decided.
pub(super) fn authorize(
    world: &mut World,
    now: Timestamp,
    request: &Request,
    call: &Call,
) -> Outcome<Refusal> {
    let query = &call.query;
    let Some(back) = &call.back else { return Ok(nowhere_to_go(world, query)) };
    let app = world.apps.get(&back.app).ok_or_else(|| stop(61))?.clone();
    require_permitted(&app, query)?;
    let scope = query.scope_within(&app.scopes).ok_or_else(|| stop(54))?;
    let challenge = match Challenge::of(query) {
        Challenge::Unusable => {
            let text = "code_challenge_method has to be S256";
            let answer = back.refused(&world.basics.behaviour, "invalid_request", text);
            return Ok(Done { answer, ending: Ending::Refused });
        }
        challenge => challenge.into_text(),
    };
    match world.basics.behaviour.authorize.consent.decided(&call.form) {
        Decision::Open => Ok(Done { answer: question(world, request, &app, &scope), ending: Ending::Served }),
        Decision::Denied => {
            let text = "The user denied your request.";
            let answer = back.refused(&world.basics.behaviour, "user_denied", text);
            Ok(Done { answer, ending: Ending::Refused })
        }
        Decision::Allowed => {
            let user = consenting(world, &call.form, query)?;
            admit(world, &user, &app)?;
            let home = world.principals.get(&user).map(|one| one.home.clone()).unwrap_or_default();
            let code = world.basics.dice.base36(40);
            let redirect_uri = query.get("redirect_uri").unwrap_or_default().to_owned();
            let stands_for = Code { app: app.id, redirect_uri, user, scope, challenge };
            let seconds = world.basics.behaviour.authorize.code_seconds;
            world.codes.keep(now, code.clone(), stands_for, seconds);
            let geolocation = world.basics.base(&home);
            let members = [("geolocation", geolocation.as_str()), ("code", &code)];
            Ok(Done { answer: back.with(&world.basics.behaviour, &members), ending: Ending::Served })
        }
    }
}

/// `grant_type=authorization_code`.
pub(super) fn exchange_code(
    world: &mut World,
    now: Timestamp,
    site: &str,
    app: &App,
    form: &Form,
) -> Outcome<Refusal> {
    let presented = form.get("code").ok_or_else(|| stop(101))?;
    let redirect_uri = form.get("redirect_uri").ok_or_else(|| stop(102))?;
    let code = world.codes.good(now, presented).cloned().ok_or_else(|| stop(103))?;
    if code.app != app.id {
        return Err(stop(105));
    }
    if code.redirect_uri != redirect_uri {
        return Err(stop(104));
    }
    // No code of its own is published for a proof key that does not fit.
    if !pkce::proves(code.challenge.as_deref(), form.get("code_verifier")) {
        return Err(stop(103));
    }
    let done = first_exchange(world, now, site, app, &code.user, code.scope, Exchange::First)?;
    world.codes.spend(presented);
    Ok(done)
}

/// What the request itself may not be.
fn require_permitted(app: &App, query: &Form) -> Result<(), super::grants::Stop> {
    require_old_parameters(query)?;
    if app.status == AppStatus::Disabled {
        return Err(stop(59));
    }
    if query.get("response_type") != Some("code") || !app.grants.contains("authorization_code") {
        return Err(stop(60));
    }
    Ok(())
}

/// The parameters of the time before 2017, whose codes are still published.
pub(super) fn require_old_parameters(form: &Form) -> Result<(), super::grants::Stop> {
    let among = |name: &str, known: &[&str]| form.get(name).is_none_or(|given| known.contains(&given));
    let scopes = || form.get("scope").unwrap_or_default().split_whitespace();
    let implicit = form.get("response_type").is_some_and(|kind| kind.contains("token"));
    let rules = [
        (117, !implicit || form.get("nonce").is_some()),
        (118, among("display", &["page", "popup", "touch", "wap"])),
        (119, among("prompt", &["none", "login", "consent", "select_account"])),
        (119, !scopes().any(|one| one == "offline_access") || form.get("prompt") == Some("consent")),
        (121, among("login_type", &["password", "otl", "sso"])),
        (122, among("proxies", &[])),
        (124, among("product", &["com.concur.cte", "com.concur.tripit"])),
    ];
    match rules.iter().find(|(_, kept)| !kept) {
        Some((code, _)) => Err(stop(*code)),
        None => Ok(()),
    }
}

fn question(world: &World, request: &Request, app: &App, scope: &[String]) -> Answer {
    let users = world.principals.values().filter(|one| one.kind == Kind::User);
    let people: Vec<String> = users.map(|one| one.login.clone().unwrap_or_else(|| one.id.clone())).collect();
    let action = format!("{}?{}", request.path, request.query);
    consent::Question {
        server: "SAP Concur (simulated)",
        client: &app.id,
        scopes: scope,
        action: &action,
        hidden: &[],
        people: &people,
    }
    .page()
}

/// Who consents: as chosen on the page, as hinted by the client, or the first user there is; else a new one.
fn consenting(world: &mut World, form: &Form, query: &Form) -> Result<String, super::grants::Stop> {
    let chosen = form.get("user").or_else(|| query.get("login_hint"));
    let mut users = world.principals.values().filter(|one| one.kind == Kind::User);
    let found = match chosen {
        Some(name) => users.find(|one| one.id == name.to_ascii_lowercase() || one.is_called(name)),
        None => users.next(),
    };
    if let Some(user) = found {
        return Ok(user.id.clone());
    }
    let login = chosen.map(str::to_owned);
    Ok(world.put_principal(NewPrincipal { kind: Kind::User, login, ..NewPrincipal::default() })?)
}

/// A client that is not known, or an address that is not its own: the person is told, nobody is sent anywhere.
fn nowhere_to_go(world: &World, query: &Form) -> Done {
    let code = match query.get("client_id") {
        None => 62,
        Some(id) if !world.apps.contains_key(id) => 61,
        Some(_) if query.get("redirect_uri").is_none() => 102,
        Some(_) => 104,
    };
    let text = codes::look_up(code).description;
    Done { answer: consent::notice(400, "This request cannot be answered", text), ending: Ending::Refused }
}
