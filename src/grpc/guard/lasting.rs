//! Rights to what lasts: a stream that was opened is no right for ever. Whoever holds one is asked about anew at each look,
//! and hears what a new call would.

use super::{Call, Guard, refused};
use crate::{
    access::{Action, Asked, Caller, Facts, Target},
    api::ErrorReason,
    grpc::problem::Problem,
};
use std::sync::Arc;
use tokio::time::Instant;
use tonic::Status;

/// As the gate calls it, too.
const EXPIRED: &str = "token_time";

/// One stream of a caller's, without what only the call took up.
pub struct Lasting {
    guard: Arc<Guard>,
    caller: Caller,
    action: Action,
    asked: Asked,
}

impl Lasting {
    pub fn of(guard: &Arc<Guard>, call: &Call) -> Self {
        let (caller, action, asked) = (call.caller.clone(), call.action, call.asked());
        Self { guard: guard.clone(), caller, action, asked }
    }

    /// Whether it may go on, for what has nothing but a name. A refusal is on record when this returns.
    ///
    /// # Errors
    /// Those of a new call, by the same caller with the same proof.
    pub async fn still<N>(&self, on: N) -> Result<(), Status>
    where
        N: Clone + Into<Target>,
    {
        let Self { guard, caller, action, asked } = self;
        if caller.proof_ends().is_some_and(|end| end <= Instant::now()) {
            guard.recording.stranger(Some(caller.transport()), EXPIRED).await;
            let mend = "the caller's token has expired: get a new one, and open the stream again";
            return Err(Problem::new(ErrorReason::Unauthenticated, mend).into());
        }
        let target: Target = on.clone().into();
        if guard.access.permit(caller, *action, on, &Facts::Nothing, asked).is_err() {
            guard.recording.denied(caller, *action, &target).await;
            return Err(refused(caller, *action, &target));
        }
        Ok(())
    }
}
