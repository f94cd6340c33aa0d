//! A client of any method: requests are written as JSON by the API's own descriptors, answers are looked at as bytes.

use super::world::Spot;
use bursar::api;
use bytes::{Buf, BufMut};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use std::{collections::BTreeMap, net::SocketAddr, sync::LazyLock};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(api::DESCRIPTORS).unwrap());

/// All methods of the API, as the descriptors have them.
pub(crate) fn methods() -> Vec<MethodDescriptor> {
    let ours = POOL.services().filter(|service| service.package_name() == "bursar.v1");
    ours.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// What came of a call, and what is on record of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Metadata of the reason.
    pub(crate) info: BTreeMap<String, String>,
    details: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) events: Vec<serde_json::Value>,
}

impl Answer {
    /// All that the caller sees, with the object's own names taken out. Names of two objects have the same length, so
    /// that what is encoded keeps its shape.
    pub(crate) fn without(&self, spot: &Spot) -> (Code, String, Vec<u8>, Vec<u8>) {
        self.without_names(&spot.names())
    }

    pub(crate) fn without_names(&self, names: &[String]) -> (Code, String, Vec<u8>, Vec<u8>) {
        let bare = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            for (number, name) in names.iter().enumerate() {
                let name = name.as_bytes();
                while let Some(at) = bytes.windows(name.len()).position(|part| part == name) {
                    bytes[at..at + name.len()].fill(b'0' + u8::try_from(number).unwrap());
                }
            }
            bytes
        };
        let message = String::from_utf8(bare(self.message.as_bytes())).unwrap();
        (self.code, message, bare(&self.details), bare(&self.body))
    }

    /// Whether the text is in the answer.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

pub(crate) async fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Calls the method of this name.
pub(crate) async fn call(
    channel: &Channel,
    bearer: Option<&str>,
    method: &str,
    request: &serde_json::Value,
) -> Answer {
    let method = methods().into_iter().find(|known| known.name() == method).unwrap();
    let message = DynamicMessage::deserialize(method.input(), request).unwrap_or_else(|err| {
        panic!("{}: {err} in {request}", method.name());
    });
    let mut request = Request::new(message.encode_to_vec());
    if let Some(bearer) = bearer {
        request.metadata_mut().insert("authorization", format!("Bearer {bearer}").parse().unwrap());
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = path.parse().unwrap();
    let answer = if method.is_server_streaming() {
        // What a stream brings is another matter.
        grpc.server_streaming(request, path, Raw).await.map(|_| Vec::new())
    } else {
        grpc.unary(request, path, Raw).await.map(tonic::Response::into_inner)
    };
    answered(answer)
}

fn answered(answer: Result<Vec<u8>, Status>) -> Answer {
    let (status, body) = match answer {
        Ok(body) => (Status::ok(""), body),
        Err(status) => (status, Vec::new()),
    };
    let info = status.get_error_details().error_info().map(|info| {
        let metadata = info.metadata.iter().map(|(key, value)| (key.clone(), value.clone()));
        metadata.chain([("reason".to_owned(), info.reason.clone())]).collect()
    });
    Answer {
        code: status.code(),
        message: status.message().to_owned(),
        info: info.unwrap_or_default(),
        details: sorted(status.details()),
        body,
        events: Vec::new(),
    }
}

/// Maps are encoded in any order: entries of the details are brought into one.
fn sorted(details: &[u8]) -> Vec<u8> {
    let Ok(mut status) = tonic_types::pb::Status::decode(details) else { return details.to_vec() };
    for detail in &mut status.details {
        if detail.type_url.ends_with("ErrorInfo") {
            let info = tonic_types::pb::ErrorInfo::decode(&*detail.value).unwrap();
            let mut parts: Vec<_> = info.metadata.into_iter().collect();
            parts.sort();
            detail.value = format!("{} {} {parts:?}", info.reason, info.domain).into_bytes();
        }
    }
    status.encode_to_vec()
}

/// Messages as the bytes that they are.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}
