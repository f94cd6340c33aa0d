//! Typed records over documents.

/// Placeholder of the room that reads and writes records.
pub struct Ledger;
impl Ledger {
    pub fn claim() {}
}
