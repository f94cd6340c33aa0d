//! What reasons mean, for people, and what faults are called on the wire.

use crate::{
    api::ErrorReason as R,
    domain::{authorization::Fault, failure::Reason},
    grpc::problem::Problem,
};

pub(super) const ROLLED_BACK: &str =
    "the stored record is older than it was: the store was restored, failed over or tampered with";

pub(super) fn broken(message: &str) -> Problem {
    Problem::new(R::RecordBroken, format!("{message}: it was changed, moved or damaged in the store"))
}

/// Why a connection is as it is, with the next step; also the `message` of `StateReason`.
pub const fn says(reason: Reason) -> &'static str {
    match reason {
        Reason::Revoked => "the provider refused its refresh token twice; authorize it again",
        Reason::LostRotation => {
            "an answer with a new refresh token was lost on the way and the old one is refused; authorize it again"
        }
        Reason::Expired => {
            "its refresh token has expired, or it never had one and its access token has; authorize it again"
        }
        Reason::PrincipalDisabled => {
            "the user or company is disabled at the provider; have it enabled there, then refresh or authorize it again"
        }
        Reason::CompanyNotEnabled => {
            "the company has not enabled the app; its administrator enables it, then refresh the connection"
        }
        Reason::GrantOfAnotherClient => {
            "the grant was issued to another client registration; authorize it again with this client"
        }
        Reason::BootstrapLost => {
            "the one-time credential was spent without an answer; get a new one and create the connection again"
        }
        Reason::DisabledByOperator => "an operator disabled it; enable it with EnableConnection",
        Reason::RevokedByOperator => "an operator revoked it; authorize it again or create a new connection",
        Reason::AwaitingAuthorization => "nobody has consented yet; begin with StartAuthorization",
        Reason::AuthorizationExpired => {
            "the person took longer than the authorization was open; begin again with StartAuthorization"
        }
        Reason::AuthorizationDenied => {
            "the person, or the provider's policy, said no; begin again with StartAuthorization if that was a mistake"
        }
        Reason::AuthorizationFailed => {
            "the provider gave an error instead of a grant, or its answer was lost; begin again with \
             StartAuthorization"
        }
    }
}

/// Why nothing came of a person's consent, as CompleteAuthorization would say it.
pub const fn fault(fault: Fault) -> R {
    match fault {
        Fault::ProviderError | Fault::Refused => R::GrantRefused,
        Fault::WrongIssuer | Fault::Nonsense | Fault::Malformed => R::ProviderMalformedAnswer,
        Fault::Lost | Fault::Ambiguous => R::ProviderAnswerLost,
        Fault::OtherPrincipal => R::PrincipalMismatch,
        Fault::NotSent | Fault::Down => R::ProviderUnavailable,
        Fault::Client => R::ClientRefused,
        Fault::Configuration => R::ProviderConfiguration,
        Fault::Throttled => R::ProviderThrottled,
        Fault::Policy => R::ProviderAddressRefused,
    }
}

pub(super) const KEY_AWAY: &str = "a key cannot be unlocked now: the KMS, Vault or keyset file cannot be used, see the broker's log; \
                            what was unlocked before is served on";

/// To whoever may know of it.
pub(super) fn deleted(owner: &str) -> String {
    format!(
        "{owner} was deleted, and nothing of it is served: UndeleteTenant restores it until its purge time"
    )
}
