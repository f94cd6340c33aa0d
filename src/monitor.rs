//! What is shown to whoever runs this replica: whether it lives, whether it is ready and if not why, and what it counts.
//! Looks on from the seams of the other rooms: decides nothing for a caller, holds nothing up, names nobody.

mod audit;
mod calls;
pub mod catalogue;
mod census;
mod exchanges;
mod feed;
mod keks;
mod labels;
mod metrics;
mod process;
mod pulse;
pub mod readiness;
mod scrape;
mod site;
mod standing;
mod store;

pub use audit::{WatchedAudit, WatchedShelf};
pub use calls::Measuring;
pub use census::Census;
pub use exchanges::WatchedProvider;
pub use keks::WatchedKek;
pub use metrics::Metrics;
pub use readiness::Readiness;
pub use scrape::{Certificate, Sources};
pub use site::Site;
pub use standing::Standing;
pub use store::Watched;
