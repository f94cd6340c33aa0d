//! The server itself, with bounds that are small enough to be met. Over real connections, so time is not paused here;
//! nothing waits longer than a fraction of a second.

use crate::{
    rig::{Rig, name, numbered},
    server::Say,
};
use bursar::{
    access::{Access, caller::ByConnection},
    api::{
        GetConnectionRequest, GetTokenRequest, connection_service_client::ConnectionServiceClient,
        token_service_client::TokenServiceClient,
    },
    audit::Event,
    grpc::{
        self, Limits, Services,
        listening::{Bounds, Door},
    },
    limits::{Rates, Rules},
    monitor::{Measuring, Readiness},
    traces::Tracer,
};
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

/// It only bounds how long a failure takes.
const AT_MOST: Duration = Duration::from_secs(120);
const LIMITS: Limits = Limits {
    rules: Rules {
        calls: 64,
        calls_per_caller: 64,
        waiting: 64,
        waiting_per_caller: 64,
        waiting_per_tenant: 64,
        streams_per_caller: 2,
        strangers: 5,
        rates: Rates { serve: 0, read: 0, write: 0, exchange: 0 },
        burst: Duration::from_secs(1),
    },
    concurrent_requests_per_connection: 32,
    message_bytes: 4096,
    request_timeout: Duration::from_secs(20),
    connection_age: Duration::from_secs(600),
    listening: Bounds {
        handshake: Duration::from_secs(5),
        handshakes: 16,
        connections: 64,
        longest: Duration::from_secs(620),
    },
};

struct Site {
    rig: Rig,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Site {
    /// With a connection whose token is in memory.
    async fn new(limits: Limits) -> Self {
        let rig = Rig::new().await;
        rig.a.ask().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let services = Services {
            broker: rig.a.broker.clone(),
            admin: rig.a.admin.clone(),
            custodian: rig.a.custodian.clone(),
            heartbeat: rig.a.heartbeat(),
            stopping: stop.clone(),
            catalogue: rig.catalogue(),
            access: Arc::new(Access::default()),
            authenticate: Arc::new(ByConnection),
            readiness: watch::Sender::new(Readiness::Ready).subscribe(),
            tracer: Tracer::default(),
            measuring: Measuring::default(),
        };
        let ended = stop.clone().cancelled_owned();
        let serving = async move {
            grpc::serve(vec![Door::Tcp(listener)], services, limits, ended).await.unwrap();
        };
        #[expect(clippy::disallowed_methods, reason = "joined by `end`")]
        let serving = tokio::spawn(serving);
        Self { rig, address, stop, serving }
    }

    /// One connection, made when it is needed, and again if the server ends it.
    fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

async fn token(channel: &Channel) -> Result<(), Status> {
    token_of(channel, &name().to_string()).await
}

async fn token_of(channel: &Channel, name: &str) -> Result<(), Status> {
    let request = GetTokenRequest { name: name.to_owned(), ..GetTokenRequest::default() };
    TokenServiceClient::new(channel.clone()).get_token(request).await.map(drop)
}

async fn look(channel: &Channel, n: u128) -> Result<(), Status> {
    let request = GetConnectionRequest { name: numbered(n).to_string() };
    ConnectionServiceClient::new(channel.clone()).get_connection(request).await.map(drop)
}

async fn healthy(channel: &Channel) {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel.clone()).check(request).await.unwrap();
}

/// Reason, bound, and whether it is said when to ask again.
fn told(status: &Status) -> (String, String, Option<Duration>) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no reason: {status:?}")).clone();
    let limit = info.metadata.get("limit").cloned().unwrap_or_default();
    (info.reason, limit, details.retry_info().and_then(|info| info.retry_delay))
}

#[tokio::test]
async fn who_asks_too_fast_is_told_when_to_come_again_and_probes_are_answered() {
    let rates = Rates { serve: 4, read: 1, ..LIMITS.rules.rates };
    let site = Site::new(Limits { rules: Rules { rates, ..LIMITS.rules }, ..LIMITS }).await;
    let channel = site.channel();
    let mut refused = None;
    for _ in 0..50 {
        if let Err(status) = token(&channel).await {
            refused = Some(status);
            break;
        }
    }
    let refused = refused.expect("four a second, and four at once");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let (reason, limit, retry) = told(&refused);
    assert_eq!((reason.as_str(), limit.as_str()), ("CALLER_THROTTLED", "limits.serve_per_second"));
    let retry = retry.unwrap();
    assert!(!retry.is_zero() && retry <= Duration::from_millis(250), "{retry:?}");
    // Other kinds of calls have buckets of their own, and probes have none.
    look(&channel, 0).await.unwrap();
    for _ in 0..100 {
        healthy(&channel).await;
    }
    sleep(retry).await;
    token(&channel).await.unwrap();
    let lines = site.rig.a.trail.0.lock().clone();
    let throttled = lines.iter().any(|event| {
        matches!(event, Event::Throttled { caller, limit, count: 1 }
            if caller.as_str() == "local" && limit.as_str() == "limits.serve_per_second")
    });
    assert!(throttled, "{lines:?}");
    site.end().await;
}

#[tokio::test]
async fn a_tenants_slow_calls_end_at_its_own_bound_and_hold_up_nobody_else() {
    let rules = Rules { calls: 8, waiting: 6, waiting_per_tenant: 3, ..LIMITS.rules };
    let site = Site::new(Limits { rules, ..LIMITS }).await;
    site.rig.seed(1).await;
    site.rig.server.then([Say::Late(Duration::from_secs(60))]);
    // Read once more after its renewal, and from memory from then on.
    site.rig.a.ask().await.unwrap();
    let slow = site.channel();
    let waits = || token_of(&slow, "tenants/t/connections/c1");
    let waiting = async { tokio::join!(waits(), waits(), waits()) };
    let meanwhile = async {
        while !site.rig.a.broker.refresher.is_under_way(&numbered(1)) {
            sleep(Duration::from_millis(5)).await;
        }
        // Until all three are inside: who only looks takes no place of theirs for long.
        let refused = loop {
            sleep(Duration::from_millis(100)).await;
            if let Err(status) = look(&site.channel(), 0).await {
                break status;
            }
        };
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let (reason, limit, retry) = told(&refused);
        let want = ("TENANT_BUSY", "limits.waiting_requests_per_tenant");
        assert_eq!((reason.as_str(), limit.as_str()), want);
        assert!(retry.is_some());
        // In memory, over the same connection and over another; and probes.
        for channel in [&slow, &site.channel()] {
            for _ in 0..50 {
                token(channel).await.unwrap();
            }
            healthy(channel).await;
        }
        // Another tenant's calls wait where they like: there is none, which is found out in the store.
        let request = GetConnectionRequest { name: "tenants/u/connections/c0".into() };
        let missing = ConnectionServiceClient::new(site.channel()).get_connection(request).await.unwrap_err();
        assert_eq!(missing.code(), Code::NotFound, "{missing:?}");
    };
    tokio::select! {
        answers = waiting => panic!("the provider takes longer: {answers:?}"),
        () = meanwhile => {}
    }
    // Who hangs up gives its place back.
    let free = async {
        while look(&slow, 0).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(AT_MOST, free).await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn messages_and_headers_have_a_size_and_what_is_larger_costs_only_itself() {
    let site = Site::new(LIMITS).await;
    let channel = site.channel();
    let large = token_of(&channel, &"x".repeat(LIMITS.message_bytes + 1)).await.unwrap_err();
    assert_eq!(large.code(), Code::InvalidArgument, "{large:?}");
    let (reason, limit, _) = told(&large);
    assert_eq!((reason.as_str(), limit.as_str()), ("INVALID_ARGUMENT", "limits.message_bytes"));
    let mut request = Request::new(GetTokenRequest { name: name().to_string(), ..Default::default() });
    request.metadata_mut().insert("x-large", "y".repeat(20 * 1024).parse().unwrap());
    let refused = TokenServiceClient::new(channel.clone()).get_token(request).await.unwrap_err();
    assert_ne!(refused.code(), Code::Ok, "{refused:?}");
    token(&channel).await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn a_connection_has_so_many_calls_at_once_and_another_one_is_not_held_up() {
    let site = Site::new(Limits { concurrent_requests_per_connection: 2, ..LIMITS }).await;
    site.rig.seed(1).await;
    site.rig.server.then([Say::Late(Duration::from_secs(8))]);
    let full = site.channel();
    token(&full).await.unwrap();
    let waits = || token_of(&full, "tenants/t/connections/c1");
    let (mut first, mut second) = (Box::pin(waits()), Box::pin(waits()));
    let mut third = Box::pin(async {
        sleep(Duration::from_millis(100)).await;
        token(&full).await.unwrap();
    });
    let other = async {
        sleep(Duration::from_millis(200)).await;
        token(&site.channel()).await.unwrap();
    };
    tokio::select! {
        biased;
        () = other => {}
        () = &mut third => panic!("a third call on a connection of two"),
        _ = &mut first => panic!("the provider takes longer"),
        _ = &mut second => panic!("the provider takes longer"),
    }
    let ended = tokio::join!(first, second, third);
    ended.0.unwrap();
    ended.1.unwrap();
    site.end().await;
}

#[tokio::test]
async fn a_connection_is_ended_gently_when_it_is_old() {
    let site = Site::new(Limits { connection_age: Duration::from_millis(300), ..LIMITS }).await;
    let (told, mut ports) = mpsc::unbounded_channel();
    let address = site.address;
    let connect = tower::service_fn(move |_| {
        let told = told.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            told.send(stream.local_addr()?.port()).unwrap();
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect);
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        token(&channel).await.unwrap();
        sleep(Duration::from_millis(10)).await;
        while let Ok(port) = ports.try_recv() {
            seen.insert(port);
        }
    }
    site.end().await;
}

/// It was asked to leave, and has a stream open that nobody ends.
#[tokio::test]
async fn whoever_stays_after_that_is_put_out() {
    let listening = Bounds { longest: Duration::from_secs(4), ..LIMITS.listening };
    let limits = Limits { connection_age: Duration::from_secs(2), listening, ..LIMITS };
    let site = Site::new(limits).await;
    let request = HealthCheckRequest { service: String::new() };
    let mut watching = HealthClient::new(site.channel()).watch(request).await.unwrap().into_inner();
    watching.message().await.unwrap().expect("the state of now");
    let ended = timeout(AT_MOST, watching.message()).await;
    assert!(matches!(ended, Ok(Err(_) | Ok(None))), "{ended:?}");
    site.end().await;
}

#[tokio::test]
async fn open_streams_of_a_caller_are_counted_and_closed_ones_are_not() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    let site = Site::new(LIMITS).await;
    let channel = site.channel();
    let open = || async {
        let (into, requests) = mpsc::channel(1);
        let ask = MessageRequest::ListServices(String::new());
        into.send(ServerReflectionRequest { message_request: Some(ask), ..Default::default() })
            .await
            .unwrap();
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let mut client = ServerReflectionClient::new(channel.clone());
        let mut answers = client.server_reflection_info(requests).await?.into_inner();
        assert!(answers.message().await?.is_some());
        Ok::<_, Status>((into, answers))
    };
    let (first, second) = (open().await.unwrap(), open().await.unwrap());
    let refused = open().await.map(drop).unwrap_err();
    assert_eq!(told(&refused).1, "limits.streams_per_caller");
    token(&channel).await.unwrap();
    drop(first);
    let again = async {
        while open().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(AT_MOST, again).await.unwrap();
    drop(second);
    site.end().await;
}
