//! Work that is finished when its caller has hung up, and holds the caller's place until then.

use super::guard::Call;
use crate::broker::{admin::AdminError, refresher::Refresher};

/// What takes more than one write is finished even when the caller hangs up or its deadline passes. Its place is taken
/// until then: otherwise who asks and hangs up could have any number of them under way.
pub(super) fn finished<T: Send + 'static>(
    call: &Call,
    refresher: &Refresher,
    work: impl Future<Output = Result<T, AdminError>> + Send + 'static,
) -> impl Future<Output = Result<T, AdminError>> + Send {
    // On the heap: an exchange is large, and the call's own future would hold it more than once.
    let (seat, work) = (call.seat.clone(), Box::pin(work));
    async move {
        let work = async move {
            let outcome = work.await;
            drop(seat);
            outcome
        };
        refresher.finished(work).await?
    }
}
