//! A plugin that keeps the contract strictly, and one that breaks it in every way, in this process and under paused
//! time. Real processes of another make are in tests/it/keys.

use super::*;
use crate::seal::Outlook;
use parking_lot::Mutex;
use std::{collections::BTreeMap, collections::HashSet, sync::Arc};
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tokio_util::task::TaskTracker;
use tonic::{Request, transport::Server};
use wire::key_management_service_server::{KeyManagementService, KeyManagementServiceServer};

/// What the stand-in answers with.
#[derive(Clone)]
struct Manner {
    status: wire::StatusResponse,
    /// Of what Encrypt gives.
    key_id: String,
    annotations: BTreeMap<String, Vec<u8>>,
    ciphertext_length: usize,
    fails: Option<Code>,
    decrypt_fails: Option<Code>,
    plaintext: Option<Vec<u8>>,
    hangs: bool,
}

impl Default for Manner {
    fn default() -> Self {
        let status =
            wire::StatusResponse { version: "v2".into(), healthz: "ok".into(), key_id: "key-1".into() };
        Self {
            status,
            key_id: "key-1".into(),
            annotations: [("version.example.org".to_owned(), vec![1])].into(),
            ciphertext_length: 60,
            fails: None,
            decrypt_fails: None,
            plaintext: None,
            hangs: false,
        }
    }
}

#[derive(Default)]
struct Held {
    manner: Manner,
    uids: HashSet<String>,
    /// By ciphertext.
    kept: BTreeMap<Vec<u8>, Kept>,
}

/// Plaintext, key id and annotations.
type Kept = (Vec<u8>, String, BTreeMap<String, Vec<u8>>);
/// What is broken, and how.
type Case = (&'static str, fn(&mut Manner));

/// Keeps what it "encrypts": opens it for exactly what it gave back with it.
#[derive(Clone, Default)]
struct StandIn(Arc<Mutex<Held>>);

impl StandIn {
    async fn entered(&self, uid: Option<String>) -> Result<Manner, Status> {
        let manner = {
            let mut held = self.0.lock();
            if let Some(uid) = uid {
                assert!(uid.len() == 36 && held.uids.insert(uid), "a uid is for one request");
            }
            held.manner.clone()
        };
        if manner.hangs {
            std::future::pending::<()>().await;
        }
        match manner.fails {
            Some(code) => Err(Status::new(code, "canary of the plugin")),
            None => Ok(manner),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.0.lock().manner);
    }
}

#[tonic::async_trait]
impl KeyManagementService for StandIn {
    async fn status(
        &self,
        _: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        Ok(Response::new(self.entered(None).await?.status))
    }

    async fn encrypt(
        &self,
        request: Request<wire::EncryptRequest>,
    ) -> Result<Response<wire::EncryptResponse>, Status> {
        let wire::EncryptRequest { plaintext, uid } = request.into_inner();
        let Manner { key_id, annotations, ciphertext_length, .. } = self.entered(Some(uid.clone())).await?;
        let mut ciphertext = uid.into_bytes();
        ciphertext.resize(ciphertext_length, 0);
        let kept = (plaintext, key_id.clone(), annotations.clone());
        self.0.lock().kept.insert(ciphertext.clone(), kept);
        Ok(Response::new(wire::EncryptResponse { ciphertext, key_id, annotations }))
    }

    async fn decrypt(
        &self,
        request: Request<wire::DecryptRequest>,
    ) -> Result<Response<wire::DecryptResponse>, Status> {
        let wire::DecryptRequest { ciphertext, uid, key_id, annotations } = request.into_inner();
        let manner = self.entered(Some(uid)).await?;
        if let Some(code) = manner.decrypt_fails {
            return Err(Status::new(code, "canary of the plugin"));
        }
        match (manner.plaintext, self.0.lock().kept.get(&ciphertext)) {
            (Some(plaintext), _) => Ok(Response::new(wire::DecryptResponse { plaintext })),
            (None, Some((plaintext, key, back))) if *key == key_id && *back == annotations => {
                Ok(Response::new(wire::DecryptResponse { plaintext: plaintext.clone() }))
            }
            (None, _) => Err(Status::internal("canary of the plugin")),
        }
    }
}

/// A plugin at the other end of a pipe: no socket, so that time can be paused.
fn piped(stand_in: &StandIn) -> KmsPlugin {
    let (to, connections) = mpsc::unbounded_channel::<DuplexStream>();
    let service = KeyManagementServiceServer::new(stand_in.clone());
    let incoming = UnboundedReceiverStream::new(connections).map(Ok::<_, std::io::Error>);
    TaskTracker::new().spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let connect = tower::service_fn(move |_: http::Uri| {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let sent = to.send(there).map_err(std::io::Error::other);
        async { sent.map(|()| hyper_util::rt::TokioIo::new(here)) }
    });
    KmsPlugin::over(Endpoint::from_static("http://plugin").connect_with_connector_lazy(connect))
}

async fn refused(manner: impl FnOnce(&mut Manner)) -> KekError {
    let stand_in = StandIn::default();
    stand_in.change(manner);
    let kek = piped(&stand_in);
    let refusal = kek.wrap(b"here", &KeyBytes::generate()).await.unwrap_err();
    assert_eq!(kek.probe().await.unwrap_err(), refusal);
    assert!(!refusal.to_string().contains("canary"), "{refusal}");
    refusal
}

#[tokio::test(start_paused = true)]
async fn a_key_comes_back_with_all_that_the_plugin_gave_beside_it() {
    let stand_in = StandIn::default();
    let (kek, key) = (piped(&stand_in), KeyBytes::generate());
    let wrapped = kek.wrap(b"here", &key).await.unwrap();
    let parts = Wrapped::parse(&wrapped).unwrap();
    assert_eq!(parts.key, kek.present().await.unwrap());
    assert_eq!(parts.annotations, Manner::default().annotations);
    assert_eq!(kek.unwrap(b"here", &wrapped).await.unwrap().expose(), key.expose());
    // The strict one opens with its own annotations and key id only.
    let without = Wrapped { annotations: BTreeMap::new(), ..parts.clone() };
    let renamed = Wrapped { key: KekKey { id: "key-2".into(), ..parts.key.clone() }, ..parts };
    assert_eq!(kek.unwrap(b"here", &without.encode()).await.unwrap_err(), KekError::Broken);
    let wanted = renamed.key.clone();
    assert_eq!(kek.unwrap(b"here", &renamed.encode()).await.unwrap_err(), KekError::Unknown { wanted });
}

#[tokio::test(start_paused = true)]
async fn what_the_plugin_opens_is_compared_with_the_context() {
    let stand_in = StandIn::default();
    let kek = piped(&stand_in);
    let [here, there] = [b"here", b"ther"].map(|context| (context, KeyBytes::generate()));
    let wrapped = kek.wrap(here.0, &here.1).await.unwrap();
    assert_eq!(kek.unwrap(there.0, &wrapped).await.unwrap_err(), KekError::Broken);
    // A plugin that opens something else, as one does whose key was swapped, or an evil one.
    for plaintext in [vec![], vec![0; 32], bound(there.0, &there.1).to_vec(), vec![0; 48 * 1024]] {
        stand_in.change(|manner| manner.plaintext = Some(plaintext));
        assert_eq!(kek.unwrap(here.0, &wrapped).await.unwrap_err(), KekError::Broken);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_at_the_owner_shows_and_the_old_one_still_opens() {
    let stand_in = StandIn::default();
    let (kek, key) = (piped(&stand_in), KeyBytes::generate());
    let old = kek.wrap(b"here", &key).await.unwrap();
    stand_in.change(|manner| (manner.status.key_id, manner.key_id) = ("key-2".into(), "key-2".into()));
    assert_eq!(kek.present().await.unwrap().id, "key-2");
    assert_eq!(kek.probe().await.unwrap().id, "key-2");
    let new = kek.wrap(b"here", &key).await.unwrap();
    for wrapped in [old, new] {
        assert_eq!(kek.unwrap(b"here", &wrapped).await.unwrap().expose(), key.expose());
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_the_contract_does_not_allow_are_refused() {
    let long = || "k".repeat(1025);
    let cases: [Case; 8] = [
        ("another version", |manner| manner.status.version = "v1beta1".into()),
        ("key id", |manner| manner.status.key_id.clear()),
        ("key id", |manner| manner.key_id.clear()),
        ("ciphertext", |manner| manner.ciphertext_length = 0),
        ("ciphertext", |manner| manner.ciphertext_length = 1025),
        ("32 kB", |manner| drop(manner.annotations.insert("a.b".into(), vec![0; 32 * 1024]))),
        ("domain", |manner| drop(manner.annotations.insert("single".into(), vec![]))),
        ("KMS v2 plugin", |manner| manner.fails = Some(Code::Unimplemented)),
    ];
    for (at, change) in cases {
        match refused(change).await {
            KekError::Misbehaved { what } => assert!(what.contains(at), "{what}, {at}"),
            other => panic!("{other} for {at}"),
        }
    }
    assert!(matches!(refused(|manner| manner.status.key_id = long()).await, KekError::Misbehaved { .. }));
    assert!(matches!(refused(|manner| manner.key_id = long()).await, KekError::Misbehaved { .. }));
    // More than fits an answer at all.
    let huge = refused(|manner| manner.ciphertext_length = 1024 * 1024).await;
    assert_eq!(huge.outlook(), Outlook::MayPass, "{huge}");
}

#[tokio::test(start_paused = true)]
async fn bounds_of_the_contract_are_taken() {
    let stand_in = StandIn::default();
    stand_in.change(|manner| {
        manner.status.version = "v2beta1".into();
        manner.key_id = "k".repeat(1024);
        manner.ciphertext_length = 1024;
        manner.annotations = [("a.b".to_owned(), vec![0; 32 * 1024 - 3])].into();
    });
    let (kek, key) = (piped(&stand_in), KeyBytes::generate());
    let wrapped = kek.wrap(b"here", &key).await.unwrap();
    assert_eq!(kek.unwrap(b"here", &wrapped).await.unwrap().expose(), key.expose());
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_unwell_is_an_outage_and_its_words_are_cut() {
    let said = refused(|manner| manner.status.healthz = "vault is\n\u{1b}down".into()).await;
    assert_eq!(
        said,
        KekError::Unavailable { cause: "its plugin says that it is not healthy: vaultisdown".into() }
    );
    for (code, said) in [
        (Code::Unavailable, "does not answer on keys.kms_plugin.socket"),
        (Code::Internal, "answered Internal"),
        (Code::Unknown, "answered Unknown"),
    ] {
        let told = refused(|manner| manner.fails = Some(code)).await;
        assert!(matches!(&told, KekError::Unavailable { cause } if cause.contains(said)), "{told}");
    }
    let told = refused(|manner| manner.fails = Some(Code::PermissionDenied)).await;
    assert!(matches!(&told, KekError::Refused { mend } if mend.contains("identity")), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_does_not_answer_is_not_waited_for() {
    let start = tokio::time::Instant::now();
    let said = {
        let stand_in = StandIn::default();
        stand_in.change(|manner| manner.hangs = true);
        piped(&stand_in).wrap(b"here", &KeyBytes::generate()).await.unwrap_err()
    };
    assert_eq!(said, KekError::Unavailable { cause: "its plugin did not answer within 6 s".into() });
    assert_eq!(start.elapsed().as_secs(), CALL_MAX.as_secs());
}

/// Many plugins answer one code for everything. An outage that was taken for a wrong key would end a replica that only
/// has to wait.
#[tokio::test(start_paused = true)]
async fn whether_it_is_the_key_or_the_plugin_is_settled_by_a_probe() {
    let stand_in = StandIn::default();
    let kek = piped(&stand_in);
    let wrapped = kek.wrap(b"here", &KeyBytes::generate()).await.unwrap();
    for code in
        [Code::Internal, Code::Unknown, Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition]
    {
        stand_in.change(|manner| manner.decrypt_fails = Some(code));
        let said = kek.unwrap(b"here", &wrapped).await.unwrap_err();
        assert_eq!(said.outlook(), Outlook::MayPass, "{said}");
    }
    stand_in.change(|manner| manner.decrypt_fails = None);
    stand_in.0.lock().kept.clear();
    assert_eq!(kek.unwrap(b"here", &wrapped).await.unwrap_err(), KekError::Broken);
    stand_in.change(|manner| manner.key_id = "key-2".into());
    let wanted = KekKey::that_wrapped(&wrapped).unwrap();
    assert_eq!(kek.unwrap(b"here", &wrapped).await.unwrap_err(), KekError::Unknown { wanted });
    for other in [&b"BSK1"[..], &wrapped[..20]] {
        assert_eq!(kek.unwrap(b"here", other).await.unwrap_err(), KekError::Broken);
    }
}

#[test]
fn names_of_annotations_are_domains() {
    let long = format!("{}.org", "a".repeat(63));
    for good in ["a.b", "version.encryption.example.com", "x-1.example.org.", "1.2", long.as_str()] {
        assert!(is_domain(good), "{good}");
    }
    let (label, whole) = (format!("{}.org", "a".repeat(64)), "a.".repeat(128));
    for bad in ["", ".", "a", "a..b", "A.b", "-a.b", "a-.b", "a_b.c", "a.b..", "ä.b", " a.b", &label, &whole]
    {
        assert!(!is_domain(bad), "{bad}");
    }
}

#[test]
fn what_is_secret_on_the_wire_is_not_printed() {
    let request = wire::EncryptRequest { plaintext: b"canary".to_vec(), uid: "canary".into() };
    let answer = wire::DecryptResponse { plaintext: b"canary".to_vec() };
    assert_eq!(format!("{request:?} {answer:?}"), "EncryptRequest [secret] DecryptResponse [secret]");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_does_what_every_kek_has_to_do() {
    let stand_in = StandIn::default();
    let kek = piped(&stand_in);
    crate::kek::conformance::conforms(&kek, async || {
        stand_in.change(|manner| {
            manner.key_id = "key-2".into();
            manner.status.key_id = "key-2".into();
        });
    })
    .await;
}
