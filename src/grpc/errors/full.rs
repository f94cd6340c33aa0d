//! What is told to those who asked too much, or too much at once.

use super::R;
use crate::{
    grpc::problem::Problem,
    limits::{Bound, Full},
};
use tonic::Status;

/// A bound was met: which, and when to ask again.
pub fn full(full: Full) -> Status {
    crowded(full).into()
}

pub(super) fn crowded(full: Full) -> Problem {
    let reason = match full.which {
        Bound::Calls | Bound::Recognising | Bound::Waiting => R::Overloaded,
        Bound::CallsPerCaller
        | Bound::WaitingPerCaller
        | Bound::StreamsPerCaller
        | Bound::Rate(_)
        | Bound::Strangers => R::CallerThrottled,
        Bound::WaitingPerTenant => R::TenantBusy,
    };
    Problem::new(reason, full.to_string()).retry_in(full.retry).with("limit", Some(full.which.key()))
}

/// The request's message, which was not read.
pub fn too_large() -> Status {
    let text = "the request is larger than this server takes: ask for less at once, or have limits.message_bytes raised";
    Problem::new(R::InvalidArgument, text).with("limit", Some("limits.message_bytes")).into()
}
