//! What is shown to whoever runs this replica: whether it lives, whether it is ready and if not why, and what it counts.
//! Looks on from the seams of the other rooms: decides nothing for a caller, holds nothing up, names nobody.

mod feed;
mod pulse;
pub mod readiness;
mod site;
mod standing;
mod store;

pub use readiness::Readiness;
pub use site::Site;
pub use standing::Standing;
pub use store::Watched;
