//! Key services that own a KEK elsewhere, each a [`seal::Kek`](crate::seal::Kek): what leaves is a root key bound to
//! its place, what comes back is checked against its protocol and its bounds. Never logs or repeats what a service
//! writes, and never knows what root keys protect.

#[cfg(test)]
pub(crate) mod conformance;
pub mod kms_plugin;
pub mod transit;

pub use kms_plugin::KmsPlugin;
pub use transit::Transit;
