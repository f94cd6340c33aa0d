//! The device flow of the plain authorization server (RFC 8628): a code for the device, a page for its owner, polls.

use super::{
    answer::Call,
    client_auth::{authenticate, stop},
    grants::{self, Asked, DEVICE_CODE},
    world::{Device, DeviceDecision, Refusal, World},
};
use crate::{
    clock::Timestamp,
    simulator::{
        consent::{self, Consent, Decision},
        dice::Dice,
        exchange::{Answer, Request},
        journal::Ending,
        refresh_tokens::Owner,
        world::{Done, Outcome},
    },
};
use serde_json::json;
use std::time::Duration;

/// RFC 8628 §3.5: what is added when a poll comes too soon.
const SLOWER_BY_SECONDS: u64 = 5;
/// RFC 8628 §6.1: consonants, so that no words come of it.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// How long an expired code is remembered, so that it can be called expired.
const REMEMBERED_SECONDS: u64 = 3600;

/// `POST /device_authorization`.
pub(super) fn begin(world: &mut World, now: Timestamp, request: &Request, call: &Call) -> Outcome<Refusal> {
    let client = authenticate(world, now, request, &call.form, &call.credentials)?;
    if !client.grants.contains(DEVICE_CODE) {
        return Err(stop("unauthorized_client"));
    }
    let scope = call.form.scope_within(&client.scopes).ok_or_else(|| stop("invalid_scope"))?;
    let resource = grants::resources(&call.form)?;
    let (rules, consent) = (world.basics.behaviour.device, world.basics.behaviour.authorize.consent);
    let (device_code, user_code) = (world.basics.dice.base36(40), user_code(&mut world.basics.dice));
    let device = Device {
        client: client.id,
        user_code: user_code.clone(),
        scope,
        resource,
        decided: match consent {
            Consent::Ask => DeviceDecision::Open,
            Consent::Allow => DeviceDecision::Allowed { subject: super::authorize::SOMEBODY.to_owned() },
            Consent::Deny => DeviceDecision::Denied,
        },
        interval_seconds: rules.interval_seconds,
        polled_at: None,
        expires_at: now.plus(Duration::from_secs(rules.seconds)),
    };
    world.devices.keep(now, device_code.clone(), device, rules.seconds + REMEMBERED_SECONDS);
    let page = format!("{}/device", world.basics.base(&request.site));
    let body = json!({
        "device_code": device_code, "user_code": user_code, "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={user_code}"),
        "expires_in": rules.seconds, "interval": rules.interval_seconds,
    });
    let answer = Answer::json(200, &body).with("cache-control", "no-store".to_owned());
    Ok(Done { answer, ending: Ending::Served })
}

/// A poll at the token endpoint.
pub(super) fn poll(world: &mut World, now: Timestamp, asked: &Asked<'_>) -> Outcome<Refusal> {
    let presented = asked.form.get("device_code").ok_or_else(|| stop("invalid_request"))?;
    let device = world.devices.good_mut(now, presented).filter(|device| device.client == asked.client.id);
    let device = device.ok_or_else(|| stop("invalid_grant"))?;
    let earliest = device.polled_at.map(|at| at.plus(Duration::from_secs(device.interval_seconds)));
    device.polled_at = Some(now);
    if device.expires_at <= now {
        return Err(stop("expired_token"));
    }
    if earliest.is_some_and(|earliest| now < earliest) {
        device.interval_seconds += SLOWER_BY_SECONDS;
        return Err(stop("slow_down"));
    }
    let subject = match &device.decided {
        DeviceDecision::Open => return Err(stop("authorization_pending")),
        DeviceDecision::Denied => return Err(stop("access_denied")),
        DeviceDecision::Allowed { subject } => subject.clone(),
    };
    let owner = Owner {
        app: asked.client.id.clone(),
        principal: subject,
        scope: device.scope.clone(),
        resource: device.resource.clone(),
        jkt: None,
    };
    let done = grants::start(world, now, asked, owner, None)?;
    world.devices.spend(presented);
    Ok(done)
}

/// The page at the verification URI, and what its form says.
pub(super) fn page(world: &mut World, now: Timestamp, call: &Call) -> Done {
    let served = |answer| Done { answer, ending: Ending::Served };
    let user_code = call.form.get("user_code").or_else(|| call.query.get("user_code")).unwrap_or_default();
    let decided = match Consent::Ask.decided(&call.form) {
        Decision::Open => return served(form(user_code)),
        Decision::Allowed => {
            let subject = call.form.get("user").unwrap_or(super::authorize::SOMEBODY).to_ascii_lowercase();
            DeviceDecision::Allowed { subject }
        }
        Decision::Denied => DeviceDecision::Denied,
    };
    match world.decide_device(now, user_code, decided) {
        Ok(()) => served(consent::notice(200, "Done", "You can go back to your device.")),
        Err(_) => Done {
            answer: consent::notice(
                400,
                "This code is not known",
                "It may have run out: ask the device for another one.",
            ),
            ending: Ending::Refused,
        },
    }
}

fn form(user_code: &str) -> Answer {
    let body = format!(
        "<h1>Connect a device</h1>\n<form method=\"post\" action=\"/device\">\n\
         <p><label for=\"user_code\">The code that the device shows</label>\n\
         <input id=\"user_code\" name=\"user_code\" value=\"{}\" required autocomplete=\"off\"></p>\n\
         <p><label for=\"user\">On behalf of</label>\n\
         <input id=\"user\" name=\"user\" value=\"{}\" autocomplete=\"username\"></p>\n\
         <p><button type=\"submit\" name=\"decision\" value=\"allow\">Allow</button>\n\
         <button type=\"submit\" name=\"decision\" value=\"deny\">Deny</button></p>\n</form>",
        consent::escaped(user_code),
        super::authorize::SOMEBODY,
    );
    consent::page(200, "Connect a device", &body)
}

fn user_code(dice: &mut Dice) -> String {
    let mut letter = || char::from(LETTERS[usize::try_from(dice.roll() % 20).unwrap_or(0)]);
    let mut half = || (0..4).map(|_| letter()).collect::<String>();
    format!("{}-{}", half(), half())
}
