//! For fuzz targets: what parses strangers' bytes here, and what has to hold of it whatever they are.

use super::{KeySet, Refusal, claims, keeper, key_set::Signature, token::Token};
use crate::{clock::Timestamp, domain::issuer::Issuer};

/// Everything that is done with a token but to ask for keys. The subject, if it is good.
pub fn verified(token: &str, issuer: &Issuer, keys: &KeySet, now: Timestamp) -> Result<String, Refusal> {
    let parsed = Token::parse(token)?;
    let claimed = claims::claimed(&parsed, issuer, now)?;
    let key = keeper::key_for(keys, parsed.kid.as_deref(), parsed.algorithm)?;
    match key.verify(parsed.algorithm, parsed.signed, parsed.signature) {
        Signature::Good => Ok(claimed.subject),
        Signature::Bad => Err(Refusal::Signature),
    }
}
