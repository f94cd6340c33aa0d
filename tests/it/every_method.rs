//! Every method that the API's descriptors name, called with nothing in the request: each answers, or says in the API's own
//! words why not. One that is designed and not there yet is no exception.

use crate::support::{
    process::Broker,
    scene::{Place, Scene, Settings},
};
use bursar::api::{DESCRIPTORS, ErrorReason};
use prost_reflect::DescriptorPool;
use tonic::{Code, Request, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

/// What none of the answers here can be without having been asked something.
const UNEXPECTED: [Code; 4] = [Code::Unknown, Code::Internal, Code::DeadlineExceeded, Code::Unavailable];

#[tokio::test]
async fn every_method_answers_or_gives_a_reason() {
    let scene = Scene::new(Settings::default()).await;
    let broker = Broker::serve(&scene.config("one", &Place::Embedded)).await;
    let channel = Channel::from_shared(format!("http://{}", broker.address())).unwrap().connect_lazy();
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let ours = pool.services().filter(|service| service.package_name() == "bursar.v1");
    let methods: Vec<_> = ours
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| {
            (method.name().to_owned(), format!("/{}/{}", method.parent_service().full_name(), method.name()))
        })
        .collect();
    assert!(methods.len() > 30, "{methods:?}");

    let (mut answered, mut absent) = (Vec::new(), Vec::new());
    for (name, path) in &methods {
        let Err(status) = called(&channel, path).await else {
            answered.push(name.as_str());
            continue;
        };
        let told = reason(&status).unwrap_or_else(|| panic!("{path}: no reason: {status:?}"));
        assert!(!UNEXPECTED.contains(&status.code()), "{path}: {status:?}");
        assert!(!status.message().is_empty(), "{path}");
        let missing = told == ErrorReason::MethodNotImplemented;
        assert_eq!(missing, status.code() == Code::Unimplemented, "{path}: {status:?}");
        if missing {
            assert!(status.message().contains(name.as_str()), "{path}: {status:?}");
            absent.push(name.as_str());
        }
    }
    println!("answered nothing with something: {answered:?}; not implemented: {absent:?}");
    // Lists need nothing to be asked for.
    assert!(["ListProviders", "ListTenants"].iter().all(|list| answered.contains(list)), "{answered:?}");

    // What is on nobody's list says so too, and not as a transport would.
    let status = called(&channel, "/bursar.v1.TokenService/Steal").await.unwrap_err();
    let told = (status.code(), reason(&status));
    assert_eq!(told, (Code::Unimplemented, Some(ErrorReason::MethodNotImplemented)), "{status:?}");
}

/// Calls with an empty message; of a stream, the first answer.
async fn called(channel: &Channel, path: &str) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let answer = client.server_streaming(Request::new(()), path.parse().unwrap(), codec).await?;
    answer.into_inner().message().await.map(|_| ())
}

fn reason(status: &Status) -> Option<ErrorReason> {
    let details = status.get_error_details();
    let info = details.error_info()?;
    assert_eq!(info.domain, "bursar");
    ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason))
}
