//! What traces tell of a call.

use super::recording::Note;
use crate::{
    api::STATUS_CODES,
    traces::{Span, names},
};
use http::HeaderMap;
use tonic::{Code, Status};

/// By the head of its answer. One without a status there went well.
pub(super) fn told(span: &Span, note: &Note, answer: &HeaderMap) {
    if !span.is_recorded() {
        return;
    }
    if let Some(target) = note.target() {
        span.say(names::TARGET, target.as_str());
    }
    let code = Status::from_header_map(answer).map_or(Code::Ok, |status| status.code());
    span.say(names::RPC_STATUS, STATUS_CODES[code as usize]);
    if is_ours(code) {
        span.failed(STATUS_CODES[code as usize]);
    }
}

/// Whether a code says of the server that something is wrong, and not of the caller (OpenTelemetry, gRPC).
const fn is_ours(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => false,
    }
}
