//! The records as generated from `proto/bursar/store/v1`. Only `codec` speaks them.

#![allow(clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]

tonic::include_proto!("bursar.store.v1");
