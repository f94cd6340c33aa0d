//! How a command can end, its exit code, and what is said about it.

use super::{advice, table::plain, times};
use crate::api::ErrorReason;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write, process::ExitCode, time::Duration};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The `domain` of this API's `ErrorInfo`.
const DOMAIN: &str = "bursar";

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Success,
    Failure,
    /// The arguments, or what they point to, are not usable.
    Usage,
    /// The connection's authorization is lost; nothing but a new one helps.
    NeedsReauthorization,
    /// The caller is not known or has no right to this.
    Denied,
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An argument, or the file, variable or input it points to, is not usable.
    #[error("{0}")]
    Usage(String),
    /// The server answered with an error.
    #[error("{}", .0.message())]
    Refused(Box<Status>),
    /// No connection, or it broke. Check the address, and whether the server runs.
    #[error("the server at {endpoint} could not be reached: {cause}")]
    Unreachable { endpoint: String, cause: String },
    /// The server did not answer within `--timeout`.
    #[error("the server at {endpoint} did not answer in time")]
    TimedOut { endpoint: String },
    /// Whoever read the output has seen enough.
    #[error("standard output was closed")]
    OutputClosed,
    /// Anything else on this machine.
    #[error("{0:#}")]
    Local(anyhow::Error),
}

/// What is said about a failure: lines for people, or this as JSON or YAML. Every key is always there.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    message: String,
    /// gRPC status of the server's answer, for example `FAILED_PRECONDITION`.
    code: Option<&'static str>,
    /// A value of `ErrorReason` without its prefix.
    reason: Option<String>,
    metadata: BTreeMap<String, String>,
    field_violations: Vec<FieldViolation>,
    preconditions: Vec<String>,
    retry_after_seconds: Option<f64>,
    next_step: Option<String>,
}

#[derive(Debug, Serialize)]
struct FieldViolation {
    field: String,
    description: String,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NeedsReauthorization => 3,
            Self::Denied => 4,
        }
    }
}

impl Failure {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused(status) => refused(status),
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Local(_) => Exit::Failure,
            Self::OutputClosed => Exit::Success,
        }
    }

    pub fn report(&self) -> Report {
        let message = plain(&self.to_string());
        let advised = |step: &str| Report {
            message: message.clone(),
            next_step: Some(step.to_owned()),
            ..Report::default()
        };
        match self {
            Self::Refused(status) => Report::of_status(status),
            Self::Unreachable { .. } => {
                advised("start one with `bursar dev`, or name another with --endpoint or BURSAR_ENDPOINT")
            }
            Self::TimedOut { .. } => advised("give it longer with --timeout, or look at the server's health"),
            // Our own words may take several lines: a configuration tells all its mistakes at once.
            Self::Local(error) => {
                let lines: Vec<_> = format!("{error:#}").lines().map(plain).collect();
                Report { message: lines.join("\n"), ..Report::default() }
            }
            Self::Usage(_) | Self::OutputClosed => Report { message, ..Report::default() },
        }
    }
}

/// By the reason where there is one, else by the status: a proxy in between knows no reasons.
fn refused(status: &Status) -> Exit {
    match reason(status).as_deref().and_then(known) {
        Some(ErrorReason::NeedsReauthorization) => Exit::NeedsReauthorization,
        Some(ErrorReason::PermissionDenied | ErrorReason::Unauthenticated) => Exit::Denied,
        None if matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated) => Exit::Denied,
        Some(_) | None => Exit::Failure,
    }
}

/// The reason as the server wrote it, perhaps newer than this program.
pub(super) fn reason(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    (info.domain == DOMAIN).then_some(info.reason)
}

fn known(reason: &str) -> Option<ErrorReason> {
    ErrorReason::from_str_name(&format!("ERROR_REASON_{reason}"))
}

impl Report {
    fn of_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let metadata: BTreeMap<_, _> = details
            .error_info()
            .into_iter()
            .flat_map(|info| &info.metadata)
            .map(|(key, value)| (plain(key), plain(value)))
            .collect();
        let fields = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
        let preconditions = details.precondition_failure().into_iter().flat_map(|failed| &failed.violations);
        let reason = reason(status);
        let next_step = reason
            .as_deref()
            .and_then(known)
            .and_then(|reason| advice::next_step(reason, metadata.get("resource").map(String::as_str)));
        let message =
            if status.message().is_empty() { status.code().description() } else { status.message() };
        Self {
            message: plain(message),
            code: Some(code_name(status.code())),
            reason: reason.as_deref().map(plain),
            field_violations: fields
                .map(|each| FieldViolation {
                    field: plain(&each.field),
                    description: plain(&each.description),
                })
                .collect(),
            preconditions: preconditions.map(|each| plain(&each.description)).collect(),
            retry_after_seconds: details
                .retry_info()
                .and_then(|info| info.retry_delay)
                .map(|delay| delay.as_secs_f64()),
            next_step,
            metadata,
        }
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        let mut line = |key: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key}: {value}");
        };
        if let Some(reason) = self.reason.as_deref().or(self.code) {
            line("reason", reason);
        }
        for each in &self.field_violations {
            line(&format!("field {}", each.field), &each.description);
        }
        for each in &self.preconditions {
            line("precondition", each);
        }
        for (key, value) in &self.metadata {
            line(key, value);
        }
        if let Some(seconds) = self.retry_after_seconds {
            line("retry after", &times::span(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)));
        }
        if let Some(step) = &self.next_step {
            line("next", step);
        }
        text
    }
}

/// Names of `google.rpc.Code`.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
