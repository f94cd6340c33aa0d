//! The public API as generated from `proto/bursar/v1`: messages, server traits, clients. Nothing by hand.

#![expect(clippy::pedantic, reason = "generated code")]
#![allow(unreachable_pub, reason = "generated code")]

tonic::include_proto!("bursar.v1");

/// Every file of the API, for reflection and for JSON with the proto's field names.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("api_descriptor");
