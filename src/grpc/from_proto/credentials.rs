//! A client's secret as it comes in: which of its fields go together. What is in keys and certificates is looked at
//! behind the wire.

use super::{opaque, timestamp};
use crate::{
    api::{self, client_secret_input::Value},
    broker::admin::credentials::{NewCredential, NewSecret},
    domain::{
        profile::SigningAlg,
        token::{ClientSecret, Secret},
    },
    grpc::problem::Problem,
};
use std::time::Duration;

/// Longest key id, in characters.
const KEY_ID_MAX: usize = 256;

pub(super) fn new_secret(input: api::ClientSecretInput) -> Result<NewSecret, Problem> {
    let value = match input.value {
        None => {
            let mend = "has no value: set shared_secret, private_key or certificate";
            return Err(Problem::field("client_secret", mend));
        }
        Some(Value::SharedSecret(secret)) => {
            let secret = opaque("client_secret.shared_secret", secret)?;
            NewCredential::Shared(ClientSecret(Secret::new(secret)))
        }
        Some(Value::PrivateKey(key)) => private_key(key)?,
        Some(Value::Certificate(certificate)) => self::certificate(certificate)?,
    };
    Ok(NewSecret { value, expires_at: input.expire_time.as_ref().map(timestamp) })
}

fn private_key(given: api::PrivateKeyInput) -> Result<NewCredential, Problem> {
    const PEM: &str = "client_secret.private_key.private_key_pem";
    let algorithm = algorithm("client_secret.private_key.algorithm", given.algorithm)?;
    let well_formed =
        given.key_id.chars().count() <= KEY_ID_MAX && !given.key_id.chars().any(char::is_control);
    if !well_formed {
        let mend = format!("is at most {KEY_ID_MAX} characters without control ones");
        return Err(Problem::field("client_secret.private_key.key_id", mend));
    }
    let key_id = Some(given.key_id).filter(|id| !id.is_empty());
    match (given.generate, given.private_key_pem.is_empty()) {
        (true, false) => Err(Problem::field(PEM, "is not taken together with generate: leave one out")),
        (true, true) => {
            Ok(NewCredential::GeneratedKey { key_id, algorithm: algorithm.unwrap_or(SigningAlg::Es256) })
        }
        (false, _) => {
            let pem = Secret::new(opaque(PEM, given.private_key_pem)?);
            Ok(NewCredential::PrivateKey { pem, key_id, algorithm })
        }
    }
}

fn certificate(given: api::CertificateInput) -> Result<NewCredential, Problem> {
    const CHAIN: &str = "client_secret.certificate.certificate_chain_pem";
    const KEY: &str = "client_secret.certificate.private_key_pem";
    const VALID_FOR: &str = "client_secret.certificate.valid_for";
    let algorithm = algorithm("client_secret.certificate.algorithm", given.algorithm)?;
    let valid_for = given
        .valid_for
        .map(|span| Duration::try_from(span).map_err(|_| Problem::field(VALID_FOR, "must not be negative")))
        .transpose()?;
    let (chain, key) = (given.certificate_chain_pem, given.private_key_pem);
    if given.generate {
        let unwanted = [(CHAIN, chain.is_empty()), (KEY, key.is_empty())];
        return match unwanted.iter().find(|(_, empty)| !empty) {
            Some((field, _)) => {
                Err(Problem::field(*field, "is not taken together with generate: leave one out"))
            }
            None => Ok(NewCredential::GeneratedCertificate {
                algorithm: algorithm.unwrap_or(SigningAlg::Es256),
                valid_for,
            }),
        };
    }
    if valid_for.is_some() || algorithm.is_some() {
        let field = if valid_for.is_some() { VALID_FOR } else { "client_secret.certificate.algorithm" };
        return Err(Problem::field(
            field,
            "goes with generate only: a certificate that exists says it itself",
        ));
    }
    if chain.is_empty() {
        return Err(Problem::field(CHAIN, "is required"));
    }
    Ok(NewCredential::Certificate { chain, key: Secret::new(opaque(KEY, key)?) })
}

fn algorithm(field: &str, given: i32) -> Result<Option<SigningAlg>, Problem> {
    use api::SigningAlgorithm as A;
    Ok(match A::try_from(given).map_err(|_| Problem::field(field, "is not a signature algorithm"))? {
        A::Unspecified => None,
        A::Es256 => Some(SigningAlg::Es256),
        A::Ps256 => Some(SigningAlg::Ps256),
        A::Eddsa => Some(SigningAlg::EdDsa),
        A::Rs256 => Some(SigningAlg::Rs256),
    })
}
