//! Messages of the API seen through their descriptors, so that every resource is shown by the same code.
//! Field names are those of the proto files.

use crate::api;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::{Serialize, Serializer};
use std::sync::LazyLock;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(api::DESCRIPTORS).expect("the API's own descriptors are valid"));

/// A message that the command line shows.
pub(super) trait Resource: prost::Message {
    /// Full name of the message.
    const TYPE: &str;
    /// Heading and path of each column of a list.
    const COLUMNS: &[(&str, &str)];
}

/// Keys are there whether or not they have a value; only messages that are not set are left out.
pub(super) struct Shown<'a>(pub &'a DynamicMessage);

pub(super) fn pool() -> &'static DescriptorPool {
    &POOL
}

pub(super) fn descriptor<R: Resource>() -> MessageDescriptor {
    POOL.get_message_by_name(R::TYPE).expect("resources are messages of the API")
}

pub(super) fn dynamic<R: Resource>(resource: &R) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor::<R>());
    message.transcode_from(resource).expect("a message decodes as what it is");
    message
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let options = SerializeOptions::new()
            .stringify_64_bit_integers(false)
            .use_proto_field_name(true)
            .skip_default_fields(false);
        self.0.serialize_with_options(serializer, &options)
    }
}
