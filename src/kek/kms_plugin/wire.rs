//! The KMS v2 protocol as generated from `proto/kubernetes/kms/v2`: this program is its client. Nothing by hand but how
//! what holds a secret is printed.

#![allow(clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]
#![allow(dead_code, unreachable_pub, reason = "the server's half is for tests")]

use std::fmt;

tonic::include_proto!("v2");

impl fmt::Debug for EncryptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptRequest [secret]")
    }
}

impl fmt::Debug for DecryptResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecryptResponse [secret]")
    }
}
