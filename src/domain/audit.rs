//! The audit trail's key as it is kept: one for a deployment, so that all replicas write tokens alike.

use super::token::{AuditKeyText, Sealed};
use crate::clock::Timestamp;
use std::fmt;
use uuid::Uuid;

/// There is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditKeyName;

#[derive(Debug, Clone, PartialEq)]
pub struct KeptAuditKey {
    pub uid: Uuid,
    pub created_at: Timestamp,
    /// For the uid as its family, at generation 0.
    pub sealed: Sealed<AuditKeyText>,
}

impl fmt::Display for AuditKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("platform/audit-key")
    }
}
