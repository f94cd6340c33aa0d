//! Demonstrated proof of possession (RFC 9449) at the token endpoint of the plain authorization server.

use super::{
    behaviour::NonceRule,
    client_auth::{Stop, stop, stop_because},
    world::World,
};
use crate::{
    clock::Timestamp,
    simulator::{
        exchange::Request,
        signing::foreign::{SignedBy, thumbprint},
    },
};

/// How far `iat` may be off, in seconds, either way.
const IAT_SECONDS: u64 = 300;

/// The thumbprint of the key that a request proves to have; `None` if it sends no proof.
pub(super) fn proved_key(
    world: &mut World,
    now: Timestamp,
    request: &Request,
) -> Result<Option<String>, Stop> {
    let Some(proof) = request.header("dpop") else { return Ok(None) };
    let invalid = |why| stop_because("invalid_dpop_proof", why);
    if request.headers.get_all("dpop").iter().count() != 1 {
        return Err(invalid("more than one proof"));
    }
    let proof = SignedBy::read(proof).ok_or_else(|| invalid("no JWT"))?;
    let jwk = &proof.header["jwk"];
    let jkt = thumbprint(jwk).ok_or_else(|| invalid("no public key in the header"))?;
    if proof.header["typ"] != "dpop+jwt" || proof.is_by(jwk) != Some(true) {
        return Err(invalid("wrong type or signature"));
    }
    let here = format!("{}{}", world.basics.base(&request.site), request.path);
    if proof.text("htm") != Some(request.method.as_str()) || proof.text("htu") != Some(&here) {
        return Err(invalid("made for another request"));
    }
    let iat = proof.claims["iat"].as_u64().unwrap_or(0);
    if iat.abs_diff(now.as_secs()) > IAT_SECONDS {
        return Err(invalid("iat is off"));
    }
    let nonce = proof.text("nonce");
    let asked_for = match world.basics.behaviour.dpop.nonce {
        NonceRule::NotAsked => true,
        NonceRule::Asked => world.nonce_now(now).is_some_and(|good| nonce == Some(good)),
        NonceRule::NeverGood => false,
    };
    if !asked_for {
        return Err(stop("use_dpop_nonce"));
    }
    let jti = proof.text("jti").map(|jti| format!("dpop\n{jkt}\n{jti}")).ok_or_else(|| invalid("no jti"))?;
    if world.seen.good(now, &jti).is_some() {
        return Err(invalid("jti was seen before"));
    }
    world.seen.keep(now, jti, (), 2 * IAT_SECONDS);
    Ok(Some(jkt))
}

/// Which key a request says it has, unverified: for the journal.
pub(super) fn claimed_key(request: &Request) -> Option<String> {
    thumbprint(&SignedBy::read(request.header("dpop")?)?.header["jwk"])
}

impl World {
    fn nonce_now(&self, now: Timestamp) -> Option<&str> {
        let (nonce, until) = self.nonce.as_ref()?;
        (*until > now).then_some(nonce)
    }

    /// The nonce to send with every answer, if any is asked for.
    pub(super) fn nonce_to_send(&mut self, now: Timestamp) -> Option<String> {
        let rules = self.basics.behaviour.dpop;
        let keep = match rules.nonce {
            NonceRule::NotAsked => return None,
            NonceRule::Asked => self.nonce_now(now).is_some(),
            NonceRule::NeverGood => false,
        };
        if !keep {
            let until = now.plus(std::time::Duration::from_secs(rules.nonce_seconds));
            self.nonce = Some((self.basics.dice.base36(24), until));
        }
        self.nonce.as_ref().map(|(nonce, _)| nonce.clone())
    }
}
