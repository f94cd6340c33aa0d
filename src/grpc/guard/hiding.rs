//! What is hidden from a caller looks missing, also where it lies in memory and what is missing never does.

use super::{Call, Guard};
use crate::{
    access::{Denied, Permit},
    broker::admin::Kind,
    domain::names::ConnectionName,
    grpc::errors,
};
use tonic::Status;

impl Guard {
    /// A decision about a connection, in the caller's words. For what is hidden the store is asked as it is for what is
    /// missing: were it not, a place that is taken, a store that is away and the time that it takes would tell the two
    /// apart.
    pub(super) async fn judged(
        &self,
        call: &Call,
        name: &ConnectionName,
        decided: Result<Permit, Denied>,
    ) -> Result<Permit, Status> {
        let denied = match decided {
            Ok(permit) => return Ok(permit),
            Err(denied) => denied,
        };
        match denied {
            Denied::Hidden => {
                let asking = call.seat.answered(None, self.knowing.ask_in_vain(name));
                let asked = asking.await.map_err(errors::full)?;
                asked.map_err(|err| errors::get_token(name, err.into()))?;
            }
            Denied::Refused => {}
        }
        Err(call.told(denied, call.action, (Kind::Connection, name)))
    }
}
