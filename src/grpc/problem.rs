//! Errors on the wire: a reason that programs switch on, a sentence for people, and details that say when to try
//! again, which field is wrong, which resource is meant. One table decides the status of every reason.

use crate::api::ErrorReason;
use std::{collections::HashMap, fmt::Display, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "bursar";
/// When to try again, where nothing better is known.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// Boxed, because it is the rare half of many results.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    reason: ErrorReason,
    message: String,
    resource: Option<String>,
    field: Option<(String, String)>,
    retry: Option<Duration>,
    metadata: HashMap<String, String>,
}

/// The reason as it travels: without the enumeration's prefix.
pub fn word(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

impl Problem {
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        let retry = (status_of(reason) == Code::Unavailable).then_some(RETRY_SOON);
        let message = message.into();
        Self(Box::new(Parts {
            reason,
            message,
            resource: None,
            field: None,
            retry,
            metadata: HashMap::new(),
        }))
    }

    /// A field of the request is wrong: which, and how to mend it.
    pub fn field(field: impl Into<String>, mend: impl Display) -> Self {
        let (field, mend) = (field.into(), mend.to_string());
        let mut problem = Self::new(ErrorReason::InvalidArgument, format!("{field}: {mend}"));
        problem.0.field = Some((field, mend));
        problem
    }

    #[must_use]
    pub fn about(mut self, resource: impl Display) -> Self {
        let resource = resource.to_string();
        self.0.metadata.insert("resource".into(), resource.clone());
        self.0.resource = Some(resource);
        self
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            self.0.metadata.insert(key.to_owned(), value.to_string());
        }
        self
    }

    #[must_use]
    pub fn retry_in(mut self, after: Duration) -> Self {
        self.0.retry = Some(after);
        self
    }
}

impl From<Problem> for Status {
    fn from(Problem(problem): Problem) -> Self {
        let code = status_of(problem.reason);
        let mut details = ErrorDetails::new();
        details.set_error_info(word(problem.reason), DOMAIN, problem.metadata);
        if let Some(after) = problem.retry {
            details.set_retry_info(Some(after));
        }
        if let Some((field, mend)) = problem.field {
            details.add_bad_request_violation(field, mend);
        }
        if let Some(resource) = problem.resource {
            match code {
                Code::NotFound | Code::AlreadyExists => {
                    details.set_resource_info(kind_of(&resource), resource, "", problem.message.clone());
                }
                Code::FailedPrecondition => {
                    details.add_precondition_failure_violation(
                        word(problem.reason),
                        resource,
                        problem.message.clone(),
                    );
                }
                _ => {}
            }
        }
        Status::with_error_details(code, problem.message, details)
    }
}

/// `bursar.v1.Connection` for `tenants/acme/connections/concur`.
fn kind_of(resource: &str) -> &'static str {
    match resource.rsplit('/').nth(1) {
        Some("connections") => "bursar.v1.Connection",
        Some("clients") => "bursar.v1.Client",
        Some("tenants") => "bursar.v1.Tenant",
        Some("providers") => "bursar.v1.Provider",
        _ => "bursar.v1.Resource",
    }
}

/// The gRPC status of every reason, as `error_reason.proto` documents it.
#[expect(clippy::too_many_lines, reason = "a table of reasons")]
pub const fn status_of(reason: ErrorReason) -> Code {
    use ErrorReason as R;
    match reason {
        R::Unauthenticated => Code::Unauthenticated,
        R::PermissionDenied => Code::PermissionDenied,
        R::CallerThrottled
        | R::TenantBusy
        | R::LimitReached
        | R::WatcherTooSlow
        | R::StoreFull
        | R::Overloaded => Code::ResourceExhausted,
        R::InvalidArgument => Code::InvalidArgument,
        R::MethodNotImplemented => Code::Unimplemented,
        R::ProviderNotFound
        | R::TenantNotFound
        | R::ClientNotFound
        | R::ClientSecretNotFound
        | R::ConnectionNotFound
        | R::KeyVersionNotFound
        | R::AuthorizationNotFound => Code::NotFound,
        R::AlreadyExists => Code::AlreadyExists,
        R::EtagMismatch | R::WriteConflict => Code::Aborted,
        R::MinLifetimeTooLong | R::WatchPositionLost => Code::OutOfRange,
        R::TenantDeleted
        | R::TenantNotEmpty
        | R::ClientInUse
        | R::LastSecret
        | R::TooManySecrets
        | R::SecretRotationNotSupported
        | R::SecretRotationFailed
        | R::ConnectionPending
        | R::NeedsReauthorization
        | R::ConnectionDisabled
        | R::ConnectionRevoked
        | R::ScopeNotGranted
        | R::ScopeNotAllowed
        | R::ScopeNotNarrowable
        | R::AudienceNotAllowed
        | R::GrantNotAllowed
        | R::GrantNotSupported
        | R::GrantRefused
        | R::RequestTokenRefused
        | R::PrincipalMismatch
        | R::PrincipalDisabled
        | R::CompanyNotEnabled
        | R::AuthorizationPending
        | R::AuthorizationExpired
        | R::AuthorizationDenied
        | R::ClientRefused
        | R::ProviderConfiguration
        | R::ProviderAddressRefused
        | R::RevocationRefused
        | R::RecordTooNew
        | R::KeyRotationInProgress
        | R::KeyVersionInUse
        | R::KeyVersionActive
        | R::NotRenewable
        | R::TokenBound => Code::FailedPrecondition,
        R::MinLifetimeUnavailable
        | R::RefreshHeld
        | R::RefreshInProgress
        | R::GrantAtRisk
        | R::ProviderUnavailable
        | R::ProviderThrottled
        | R::ProviderAnswerLost
        | R::ProviderMalformedAnswer
        | R::StoreUnavailable
        | R::KeyUnavailable
        | R::AuditUnavailable
        | R::IdentityUnavailable
        | R::NotReady
        | R::ShuttingDown => Code::Unavailable,
        R::RecordBroken | R::RecordRolledBack => Code::DataLoss,
        R::Internal | R::Unspecified => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the proto says of each reason: its name and the status in its comment.
    fn documented() -> Vec<(String, String)> {
        let text = include_str!("../../proto/bursar/v1/error_reason.proto");
        let (mut found, mut status) = (Vec::new(), None);
        for line in text.lines().map(str::trim) {
            if let Some((_, rest)) = line.split_once("Status: ") {
                status = rest.split('.').next().map(str::to_owned);
            }
            if let Some((name, _)) = line.strip_prefix("ERROR_REASON_").and_then(|l| l.split_once(" = ")) {
                found.push((name.to_owned(), status.take().unwrap_or_default()));
            }
        }
        found
    }

    #[test]
    fn every_reason_has_the_status_that_the_proto_documents() {
        let documented = documented();
        assert!(documented.len() > 60, "{} reasons found", documented.len());
        for (name, status) in documented {
            let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{name}")).unwrap();
            if reason == ErrorReason::Unspecified {
                continue;
            }
            let ours = format!("{:?}", status_of(reason));
            assert_eq!(ours.to_uppercase(), status.replace('_', ""), "{name}");
        }
    }

    #[test]
    fn a_problem_travels_with_its_details() {
        let problem = Problem::new(ErrorReason::ConnectionNotFound, "no such connection")
            .about("tenants/acme/connections/x")
            .with("state", Some("active"));
        let status = Status::from(problem);
        assert_eq!(status.code(), Code::NotFound);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("CONNECTION_NOT_FOUND", "bursar"));
        assert_eq!(info.metadata["state"], "active");
        assert_eq!(details.resource_info().unwrap().resource_type, "bursar.v1.Connection");

        let status = Status::from(Problem::field("min_lifetime", "must not be negative"));
        assert_eq!(status.message(), "min_lifetime: must not be negative");
        assert_eq!(
            status.get_error_details().bad_request().unwrap().field_violations[0].field,
            "min_lifetime"
        );
    }
}
