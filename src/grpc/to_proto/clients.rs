//! Clients into answers: what is open of their credentials, and never a value.

use super::{client_auth, grant_kind, here, some_timestamp, timestamp};
use crate::{
    api,
    broker::admin::{credentials::jwks, etag},
    domain::{
        client::{Client, Environment, Hold, HoldReason},
        credential::{PublicPart, SecretKind, StoredSecret},
        lifecycle::Moment,
        profile::SigningAlg,
        rotation::{Rotation, RotationStage},
    },
};

pub fn client(c: &Client, now: Moment) -> api::Client {
    api::Client {
        name: c.name.to_string(),
        uid: c.uid.to_string(),
        etag: etag(c.uid, c.revision),
        create_time: Some(timestamp(c.created_at)),
        update_time: Some(timestamp(c.updated_at)),
        provider: c.provider.to_string(),
        client_id: c.client_id.clone(),
        auth_method: client_auth(c.auth).into(),
        allowed_grants: c.allowed_grants.iter().map(|grant| grant_kind(*grant).into()).collect(),
        allowed_scopes: c.allowed_scopes.clone(),
        environment: match c.environment {
            Environment::Sandbox => api::Environment::Sandbox,
            Environment::Production => api::Environment::Production,
        }
        .into(),
        secrets: c.secrets.iter().map(|one| secret(c, one)).collect(),
        hold: c.held(now.store).map(|held| hold(held, now)),
        rotation: c.rotation.as_ref().map(rotation),
        jwks: jwks(c).map(|keys| keys.to_string()).unwrap_or_default(),
    }
}

fn hold(hold: &Hold, now: Moment) -> api::ClientHold {
    use api::client_hold::Reason as R;
    api::ClientHold {
        until: Some(timestamp(here(hold.until, now))),
        reason: match hold.reason {
            None => R::Unspecified,
            Some(HoldReason::SecretsRefused) => R::SecretsRefused,
            Some(HoldReason::ClientUnknown) => R::ClientUnknown,
            Some(HoldReason::ClientDisabled) => R::ClientDisabled,
            Some(HoldReason::GrantNotAllowed) => R::GrantNotAllowed,
            Some(HoldReason::ManyGrantsRefused) => R::ManyGrantsRefused,
        }
        .into(),
        provider_code: hold.code.clone().unwrap_or_default(),
        correlation_id: hold.correlation_id.clone().unwrap_or_default(),
        time: Some(timestamp(hold.at)),
    }
}

fn rotation(rotation: &Rotation) -> api::ClientSecretRotation {
    use api::client_secret_rotation::Stage as S;
    api::ClientSecretRotation {
        start_time: Some(timestamp(rotation.started_at)),
        stage: match rotation.stage {
            RotationStage::Begun => S::Begun,
            RotationStage::Created => S::Created,
            RotationStage::Activated => S::Activated,
            RotationStage::Proven => S::Proven,
            RotationStage::Deactivated => S::Deactivated,
            RotationStage::Deleted => S::Deleted,
        }
        .into(),
    }
}

fn secret(client: &Client, secret: &StoredSecret) -> api::ClientSecret {
    use api::client_secret::{Kind, State};
    let state = match (secret.retired_at, secret.refused_at) {
        (Some(_), _) => State::Retired,
        (None, Some(_)) => State::Refused,
        (None, None) => State::Active,
    };
    let mut shown = api::ClientSecret {
        id: secret.id.to_string(),
        kind: match secret.public.kind() {
            SecretKind::SharedSecret => Kind::SharedSecret,
            SecretKind::PrivateKey => Kind::PrivateKey,
            SecretKind::Certificate => Kind::Certificate,
        }
        .into(),
        state: state.into(),
        create_time: Some(timestamp(secret.created_at)),
        last_used_time: some_timestamp(secret.last_used_at),
        expire_time: some_timestamp(secret.expires_at),
        preferred: client.preferred == Some(secret.id),
        ..api::ClientSecret::default()
    };
    match &secret.public {
        PublicPart::SharedSecret => {}
        PublicPart::PrivateKey(key) => {
            shown.key_id.clone_from(&key.key_id);
            shown.algorithm = algorithm(key.algorithm).into();
            shown.public_jwk.clone_from(&key.jwk);
        }
        PublicPart::Certificate(certificate) => {
            shown.certificate_chain_pem.clone_from(&certificate.chain);
            shown.certificate_thumbprint.clone_from(&certificate.thumbprint);
            shown.certificate_subject.clone_from(&certificate.subject);
        }
    }
    shown
}

const fn algorithm(algorithm: SigningAlg) -> api::SigningAlgorithm {
    match algorithm {
        SigningAlg::Es256 => api::SigningAlgorithm::Es256,
        SigningAlg::Ps256 => api::SigningAlgorithm::Ps256,
        SigningAlg::EdDsa => api::SigningAlgorithm::Eddsa,
        SigningAlg::Rs256 => api::SigningAlgorithm::Rs256,
    }
}
