//! How a command can end, its exit code, and what is said about it.

use super::{advice, table::plain, times};
use crate::api::{ErrorReason, STATUS_CODES};
use prost_types::Timestamp;
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
    /// Somebody stopped it (Ctrl-C); what goes on without it goes on.
    Stopped,
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
    /// One side did not trust the other, or there was no TLS to speak.
    #[error("no TLS connection to {endpoint}: {problem}")]
    NotTrusted { endpoint: String, problem: &'static str, mend: &'static str },
    /// The server did not answer within `--timeout`.
    #[error("the server at {endpoint} did not answer in time")]
    TimedOut { endpoint: String },
    /// Whoever read the output has seen enough.
    #[error("standard output was closed")]
    OutputClosed,
    /// The authorization by a person is over, and brought nothing.
    #[error("{name} was not authorized: {}", .why.says())]
    NotAuthorized { name: String, why: Unauthorized },
    /// Ctrl-C while waiting for a person: the authorization stays open.
    #[error("stopped waiting; the authorization of {name} stays open{}", as_long_as(.until.as_ref()))]
    StoppedWaiting { name: String, until: Option<Timestamp> },
    /// What is not active after an import was told before.
    #[error("{}", import_left(*.open, *.not_begun, *.of))]
    NotAllImported { open: usize, not_begun: usize, of: usize },
    /// Anything else on this machine.
    #[error("{0:#}")]
    Local(anyhow::Error),
}

/// Why an authorization by a person brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unauthorized {
    /// The person, or the provider's policy, said no.
    Denied,
    /// The person took longer than it was open.
    Expired,
    /// Another authorization of the connection was begun after it.
    Replaced,
    /// The connection was disabled or revoked meanwhile.
    Ended,
    /// The person consented, and the broker could not use it.
    Failed(ErrorReason),
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
            // As a shell says it of a process that SIGINT ended.
            Self::Stopped => 130,
        }
    }
}

impl Failure {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused(status) => refused(status),
            Self::Unreachable { .. }
            | Self::NotTrusted { .. }
            | Self::TimedOut { .. }
            | Self::Local(_)
            | Self::NotAllImported { not_begun: 0, .. } => Exit::Failure,
            Self::OutputClosed => Exit::Success,
            Self::NotAuthorized { why, .. } => why.exit(),
            Self::StoppedWaiting { .. } | Self::NotAllImported { .. } => Exit::Stopped,
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
            Self::NotAuthorized { name, why } => Report {
                reason: Some(why.reason().to_owned()),
                metadata: BTreeMap::from([("resource".to_owned(), plain(name))]),
                ..advised(&why.next_step(name))
            },
            Self::StoppedWaiting { name, .. } => {
                let name = plain(name);
                advised(&format!(
                    "the person may still consent; see what came of it with `bursar connection show {name}`, or begin \
                     anew with `bursar connection authorize {name}`"
                ))
            }
            Self::NotAllImported { not_begun: 0, .. } => {
                advised("mend what is listed and run it again: what is active already is passed over")
            }
            Self::NotAllImported { .. } => {
                advised("run it again to go on: what is active already is passed over")
            }
            Self::Unreachable { .. } => {
                advised("start one with `bursar dev`, or name another with --endpoint or BURSAR_ENDPOINT")
            }
            Self::NotTrusted { mend, .. } => advised(mend),
            Self::TimedOut { .. } => advised("give it longer with --timeout, or look at the server's health"),
            // Our own words may take several lines: a configuration tells all its mistakes at once.
            Self::Local(_) | Self::Usage(_) => {
                let lines: Vec<_> = self.to_string().lines().map(plain).collect();
                Report { message: lines.join("\n"), ..Report::default() }
            }
            Self::OutputClosed => Report { message, ..Report::default() },
        }
    }
}

impl Unauthorized {
    fn says(self) -> &'static str {
        match self {
            Self::Denied => "the person, or the provider's policy, said no",
            Self::Expired => "its time is over",
            Self::Replaced => "another authorization was begun after this one",
            Self::Ended => "the connection was disabled or revoked meanwhile",
            Self::Failed(_) => "the person consented, but nothing came of it",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Denied => "AUTHORIZATION_DENIED",
            Self::Expired => "AUTHORIZATION_EXPIRED",
            Self::Replaced => "AUTHORIZATION_NOT_FOUND",
            Self::Ended => "CONNECTION_DISABLED",
            Self::Failed(reason) => reason.as_str_name().trim_start_matches("ERROR_REASON_"),
        }
    }

    fn next_step(self, name: &str) -> String {
        let name = plain(name);
        match self {
            Self::Denied => format!(
                "if it was a mistake, begin anew with `bursar connection authorize {name}`; otherwise ask the person why"
            ),
            Self::Expired => format!("begin anew with `bursar connection authorize {name}`"),
            Self::Replaced | Self::Ended => {
                format!("see what became of it with `bursar connection show {name}`")
            }
            Self::Failed(reason) => advice::next_step(reason, Some(&name))
                .unwrap_or_else(|| format!("see why with `bursar connection show {name}`")),
        }
    }

    /// For a person to do over: 3. For an operator to look at: 1.
    fn exit(self) -> Exit {
        match self {
            Self::Denied | Self::Expired => Exit::NeedsReauthorization,
            Self::Replaced | Self::Ended | Self::Failed(_) => Exit::Failure,
        }
    }
}

fn as_long_as(time: Option<&Timestamp>) -> String {
    time.map(|time| format!(" until {time}")).unwrap_or_default()
}

fn import_left(open: usize, not_begun: usize, of: usize) -> String {
    match not_begun {
        0 => format!("{open} of {of} connections are not active"),
        _ => format!("stopped: {not_begun} of {of} connections were not begun, {open} are not active"),
    }
}

/// By the reason where there is one, else by the status: a proxy in between knows no reasons.
fn refused(status: &Status) -> Exit {
    match known_reason(status) {
        Some(
            ErrorReason::NeedsReauthorization
            | ErrorReason::AuthorizationDenied
            | ErrorReason::AuthorizationExpired,
        ) => Exit::NeedsReauthorization,
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

/// The reason, if this program knows it.
pub(super) fn known_reason(status: &Status) -> Option<ErrorReason> {
    reason(status).as_deref().and_then(known)
}

/// When the server wants to be asked again.
pub(super) fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
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
            .and_then(|reason| {
                let value = |key: &str| metadata.get(key).map(String::as_str);
                advice::for_code(reason, value("provider_code"))
                    .or_else(|| advice::for_denied(reason, ["caller", "action", "resource"].map(value)))
                    .or_else(|| advice::next_step(reason, value("resource")))
            })
            .or_else(|| reason.is_none().then(|| without_reason(status.code()).to_owned()));
        let message =
            if status.message().is_empty() { status.code().description() } else { status.message() };
        Self {
            message: advice::in_commands(&plain(message)),
            code: Some(STATUS_CODES[status.code() as usize]),
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

    /// Reason, message and next step, for a row of a table.
    pub(super) fn into_parts(self) -> (String, String, String) {
        let reason = self.reason.or(self.code.map(str::to_owned)).unwrap_or_default();
        (reason, self.message, self.next_step.unwrap_or_default())
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
        for each in self.preconditions.iter().filter(|each| advice::in_commands(each) != self.message) {
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

/// An answer without a reason of this API: of a server that is no broker, or of something on the way to one.
const fn without_reason(code: Code) -> &'static str {
    match code {
        Code::PermissionDenied | Code::Unauthenticated => {
            "something in front of the broker refused the call: look at the proxy there, and at --endpoint"
        }
        Code::Unimplemented => {
            "the server at this endpoint is no Bursar, or an older one: check --endpoint or BURSAR_ENDPOINT"
        }
        _ => {
            "the answer is not of a Bursar server: check --endpoint or BURSAR_ENDPOINT, and what stands in between"
        }
    }
}
