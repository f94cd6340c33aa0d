//! What is known of a request, tried against listeners that misbehave.

use super::*;
use reqwest::dns::Resolve;
use std::{future::Future, io::ErrorKind, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;

/// Longer than anything here takes that ends.
const LONG: Duration = Duration::from_secs(25);
const ONE_SECOND: Duration = Duration::from_secs(1);

/// The host of an address, as somebody allowed it.
fn host(base: &str) -> Vec<HostPattern> {
    vec![HostPattern(base.split_once("://").unwrap().1.to_owned())]
}

fn to(hosts: &[HostPattern]) -> Destination<'_> {
    Destination { hosts, roots: Roots::System, minimum_tls: MinimumTls::Tls12, networks: &[] }
}

fn post(base: &str) -> Outgoing {
    Outgoing {
        method: Method::POST,
        url: format!("{base}/token").parse().unwrap(),
        headers: HeaderMap::new(),
        body: b"refresh_token=canary".to_vec(),
        presenting: None,
    }
}

fn egress() -> Egress {
    Egress::new(AddressPolicy::LoopbackOnly).unwrap()
}

async fn send(base: &str, time: Duration) -> Result<Reply, Evidence> {
    egress().send(&to(&host(base)), post(base), time).await
}

/// Sends to a listener that does this with each connection; gives what became of it, and how many connections came.
async fn against<F, Done>(scheme: &str, time: Duration, server: F) -> (Result<Reply, Evidence>, usize)
where
    F: Fn(TcpStream) -> Done + Send + 'static,
    Done: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("{scheme}://{}", listener.local_addr().unwrap());
    let (count, counted) = tokio::sync::watch::channel(0);
    let tasks = TaskTracker::new();
    let accepting = tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.send_modify(|count| *count += 1);
            server(stream).await;
        }
    });
    let outcome = send(&base, time).await;
    accepting.abort();
    let connections = *counted.borrow();
    (outcome, connections)
}

/// Reads a whole request, whose body is that of [`post`]; `None` if the client went away.
async fn heard(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"refresh_token=canary") {
        stream.read_buf(&mut read).await.ok().filter(|n| *n > 0)?;
    }
    String::from_utf8(read).ok()
}

async fn request(stream: &mut TcpStream) -> String {
    heard(stream).await.expect("a whole request")
}

async fn hang(stream: TcpStream) {
    let mut stream = stream;
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
}

fn fate_of(outcome: Result<Reply, Evidence>) -> Evidence {
    outcome.err().expect("an answer came")
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(fate_of(send(&base, LONG).await), Evidence::NotSent(Trouble::Connect));
}

#[tokio::test]
async fn a_broken_handshake_proves_that_nothing_was_sent() {
    let (outcome, connections) = against("https", LONG, async |mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        hang(stream).await;
    })
    .await;
    assert_eq!((fate_of(outcome), connections), (Evidence::NotSent(Trouble::Tls), 1));
    let (outcome, connections) = against("https", LONG, async |stream| drop(stream)).await;
    assert!(matches!(fate_of(outcome), Evidence::NotSent(Trouble::Tls | Trouble::Connect)));
    assert_eq!(connections, 1);
}

#[tokio::test]
async fn a_handshake_that_hangs_proves_that_nothing_was_sent() {
    let (outcome, _) = against("https", LONG, hang).await;
    assert_eq!(fate_of(outcome), Evidence::NotSent(Trouble::Timeout));
}

#[tokio::test]
async fn after_the_connection_every_silence_leaves_the_fate_open_and_nothing_is_sent_twice() {
    let (outcome, connections) = against("http", LONG, async |stream| drop(stream)).await;
    assert_eq!((fate_of(outcome), connections), (Evidence::Lost(Trouble::Reset), 1));

    let (outcome, connections) = against("http", LONG, async |mut stream| {
        request(&mut stream).await;
    })
    .await;
    assert_eq!((fate_of(outcome), connections), (Evidence::Lost(Trouble::Reset), 1));

    let (outcome, connections) = against("http", ONE_SECOND, hang).await;
    assert_eq!((fate_of(outcome), connections), (Evidence::Lost(Trouble::Timeout), 1));

    let (outcome, connections) = against("http", ONE_SECOND, async |mut stream| {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").await.unwrap();
        hang(stream).await;
    })
    .await;
    assert_eq!((fate_of(outcome), connections), (Evidence::Lost(Trouble::Timeout), 1));

    let (outcome, connections) = against("http", LONG, async |mut stream| {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").await.unwrap();
    })
    .await;
    assert_eq!((fate_of(outcome), connections), (Evidence::Lost(Trouble::Reset), 1));
}

#[tokio::test]
async fn a_body_that_does_not_come_whole_leaves_the_fate_open() {
    let (outcome, _) = against("http", LONG, async |mut stream| {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\":").await.unwrap();
    })
    .await;
    assert_eq!(fate_of(outcome), Evidence::Lost(Trouble::Truncated));

    let (outcome, _) = against("http", ONE_SECOND, async |mut stream| {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await.unwrap();
        // A byte every so often keeps the connection alive; the deadline is for the whole.
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(fate_of(outcome), Evidence::Lost(Trouble::Timeout));
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_not_read_on() {
    for (status, length) in [(200, "Content-Length: 10000000\r\n"), (200, ""), (500, "")] {
        let (outcome, _) = against("http", LONG, move |mut stream| async move {
            request(&mut stream).await;
            let head = format!("HTTP/1.1 {status} X\r\n{length}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut written = 0;
            loop {
                match stream.write_all(&[b' '; 4096]).await {
                    Ok(()) => written += 4096,
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
                        break;
                    }
                }
                assert!(written < 100_000_000, "somebody reads it all");
            }
        })
        .await;
        match outcome {
            Ok(reply) => assert_eq!((status, reply.status, reply.body.len()), (500, 500, 0)),
            Err(evidence) => {
                assert_eq!(status, 200);
                assert_eq!(evidence, Evidence::Unreadable { status: 200, trouble: Trouble::TooLarge });
            }
        }
    }
}

#[tokio::test]
async fn a_request_has_a_length_and_asks_for_no_compression() {
    let (outcome, _) = against("http", LONG, async |mut stream| {
        let request = request(&mut stream).await.to_lowercase();
        assert!(request.starts_with("post /token http/1.1\r\n"), "{request}");
        assert!(request.contains("content-length: 20\r\n"), "{request}");
        for absent in ["transfer-encoding", "accept-encoding", "cookie", "referer"] {
            assert!(!request.contains(absent), "{request}");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    })
    .await;
    assert_eq!(*outcome.ok().unwrap().body, b"{}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_an_order() {
    let (outcome, connections) = against("http", LONG, async |mut stream| {
        request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
    })
    .await;
    assert_eq!((outcome.ok().unwrap().status, connections), (307, 1));
}

/// A kept connection that the server closes just as it is used again makes HTTP stacks send twice.
#[tokio::test]
async fn no_connection_is_used_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let tasks = TaskTracker::new();
    let (count, counted) = tokio::sync::watch::channel(0);
    let connections = tasks.clone();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.send_modify(|count| *count += 1);
            connections.spawn(async move {
                // A server that is glad to be asked again on the same connection.
                while heard(&mut stream).await.is_some() {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
                }
            });
        }
    });
    let (egress, hosts) = (egress(), host(&base));
    for asked in 1..=3 {
        assert_eq!(egress.send(&to(&hosts), post(&base), LONG).await.ok().unwrap().status, 200);
        // Time for a client that keeps connections to take this one back.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(*counted.borrow(), asked);
    }
}

#[tokio::test]
async fn hosts_outside_the_list_or_the_policy_see_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (base, egress) = (format!("http://127.0.0.1:{port}"), egress());

    let other = [HostPattern("127.0.0.2:*".into())];
    let evidence = fate_of(egress.send(&to(&other), post(&base), LONG).await);
    assert_eq!(evidence, Evidence::HostRefused { host: "127.0.0.1".into() });

    // `example.com` may never be asked for here, not even by the resolver.
    let foreign = "https://example.com";
    let evidence = fate_of(egress.send(&to(&host(foreign)), post(foreign), LONG).await);
    assert_eq!(evidence, Evidence::HostRefused { host: "example.com".into() });

    // What stands before an `@` would go out as Basic credentials.
    for given in [format!("http://user@127.0.0.1:{port}"), format!("http://:word@127.0.0.1:{port}")] {
        let evidence = fate_of(egress.send(&to(&host(&base)), post(&given), LONG).await);
        assert_eq!(evidence, Evidence::HostRefused { host: "127.0.0.1".into() });
    }
    // Not even a listed host is talked to in the clear, unless it is this machine.
    let clear = "http://192.0.2.1";
    let open = Egress::new(AddressPolicy::Private).unwrap();
    let evidence = fate_of(open.send(&to(&host(clear)), post(clear), LONG).await);
    assert_eq!(evidence, Evidence::HostRefused { host: "192.0.2.1".into() });

    let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "somebody connected");
}

#[tokio::test]
async fn a_name_of_this_machine_is_resolved_to_this_machine_only() {
    let resolved = |policy, name: &'static str| async move {
        let way = Way { policy, proxy: None };
        Resolver::new(&way, &[]).resolve(name.parse().unwrap()).await.map(Iterator::collect::<Vec<_>>)
    };
    for policy in [AddressPolicy::LoopbackOnly, AddressPolicy::Public] {
        let addresses = resolved(policy, "localhost").await.unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback()));
    }
    // A literal passes the system's resolver untouched, so that the check can be seen without a network.
    let refused = resolved(AddressPolicy::LoopbackOnly, "192.0.2.1").await.unwrap_err();
    assert!(refused.is::<AddressRefused>());
    assert!(resolved(AddressPolicy::Public, "9.9.9.9").await.is_ok());
}

/// A name, the policy, what is opened, what the name leads to, and whether that is admitted.
type Case<'a> = (&'a str, AddressPolicy, &'a [Network], &'a [&'a str], bool);

#[test]
fn a_name_is_refused_if_any_of_its_addresses_is() {
    let way = |policy| Way { policy, proxy: Some("https://proxy.example:3128".parse().unwrap()) };
    let opened = ["10.20.0.0/16".parse().unwrap()];
    let cases: [Case<'_>; 12] = [
        ("idp.example", AddressPolicy::Public, &[], &["9.9.9.9", "2620:fe::fe"], true),
        ("idp.example", AddressPolicy::Public, &[], &["9.9.9.9", "10.0.0.1"], false),
        ("idp.example", AddressPolicy::Public, &[], &["9.9.9.9", "169.254.169.254"], false),
        ("idp.example", AddressPolicy::Public, &[], &["127.0.0.1"], false),
        ("idp.example", AddressPolicy::Public, &opened, &["10.20.1.1", "9.9.9.9"], true),
        ("idp.example", AddressPolicy::Public, &opened, &["10.21.1.1"], false),
        ("idp.example", AddressPolicy::LoopbackOnly, &opened, &["10.20.1.1"], false),
        ("idp.example", AddressPolicy::Private, &[], &["10.21.1.1"], true),
        ("idp.example", AddressPolicy::Private, &[], &["fe80::1"], false),
        ("localhost", AddressPolicy::Private, &opened, &["10.20.1.1"], false),
        // The operator's own word, so it may be anywhere but where metadata are.
        ("proxy.example", AddressPolicy::Public, &[], &["10.0.0.1"], true),
        ("proxy.example", AddressPolicy::Public, &[], &["169.254.169.254"], false),
    ];
    for (name, policy, networks, addresses, admitted) in cases {
        let found: Vec<SocketAddr> =
            addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 443)).collect();
        let judged = Resolver::new(&way(policy), networks).judged(name, &found);
        assert_eq!(judged.is_ok(), admitted, "{name} {policy:?} {addresses:?}");
    }
}

#[test]
fn errors_do_not_print_what_was_sent() {
    let refused = refused(&Url::parse("https://example.com/?canary").unwrap());
    assert!(!format!("{refused:?}").contains("canary"));
}

#[test]
fn a_policy_admits_the_addresses_that_it_names_and_no_others() {
    use AddressPolicy::{LoopbackOnly, Private, Public};
    for (url, admitted) in [
        ("https://127.0.0.1:1", &[LoopbackOnly, Public, Private] as &[_]),
        ("http://[::1]:1", &[LoopbackOnly, Public, Private]),
        ("https://1.1.1.1", &[Public, Private]),
        ("https://10.0.0.1", &[Private]),
        ("https://[fd00::1]", &[Private]),
        ("https://[::ffff:10.0.0.1]", &[Private]),
        ("https://100.64.0.1", &[Private]),
        ("https://169.254.169.254", &[]),
        ("https://2852039166", &[]),
        ("https://0xa9.0xfe.0xa9.0xfe", &[]),
        ("https://[::ffff:169.254.169.254]", &[]),
        ("https://[64:ff9b::a9fe:a9fe]", &[]),
        ("https://[fe80::1]", &[]),
        ("https://0.0.0.0", &[]),
        ("https://[::]", &[]),
        ("https://[::ffff:127.0.0.1]", &[]),
        ("https://100.100.100.200", &[]),
        ("https://198.18.0.1", &[]),
        ("https://192.0.2.1", &[]),
        ("https://[2002:7f00:1::1]", &[]),
    ] {
        let parsed = Url::parse(url).unwrap();
        for policy in [LoopbackOnly, Public, Private] {
            assert_eq!(policy.admits(&parsed, &[]), admitted.contains(&policy), "{url} {policy:?}");
        }
    }
    // A network that is opened for one destination.
    let opened: [Network; 2] = ["10.0.0.0/8".parse().unwrap(), "0.0.0.0/0".parse().unwrap()];
    for (url, admitted) in
        [("https://10.0.0.1", true), ("https://169.254.169.254", false), ("https://[::ffff:10.0.0.1]", true)]
    {
        assert_eq!(Public.admits(&Url::parse(url).unwrap(), &opened), admitted, "{url}");
    }
    for (network, private) in
        [("10.0.0.0/8", true), ("fd00::/8", true), ("0.0.0.0/0", false), ("9.0.0.0/8", false)]
    {
        assert_eq!(is_private(&network.parse().unwrap()), private, "{network}");
    }
}

/// Answers `CONNECT` with this, tells what was asked, and breaks off.
async fn proxied(answer: &'static str) -> (Evidence, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let tasks = TaskTracker::new();
    let proxying = tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(read).unwrap()
    });
    let egress = Egress::through(AddressPolicy::Public, Some(proxy.parse().unwrap())).unwrap();
    let base = "https://idp.example.com";
    let evidence = fate_of(egress.send(&to(&host(base)), post(base), LONG).await);
    (evidence, proxying.await.unwrap())
}

#[tokio::test]
async fn a_configured_proxy_is_asked_for_a_tunnel_and_told_nothing_else() {
    for answer in ["HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "HTTP/1.1 502 Bad Gateway\r\n\r\n"] {
        let (evidence, asked) = proxied(answer).await;
        assert!(asked.starts_with("CONNECT idp.example.com:443 HTTP/1.1\r\n"), "{asked}");
        assert!(!asked.contains("canary") && !asked.contains("/token"), "{asked}");
        assert!(matches!(evidence, Evidence::NotSent(_)), "{evidence:?}");
    }
    // A tunnel that leads to nobody who speaks TLS.
    let (evidence, _) = proxied("HTTP/1.1 200 OK\r\n\r\nnot TLS").await;
    assert!(matches!(evidence, Evidence::NotSent(_)), "{evidence:?}");
}

#[tokio::test]
async fn a_proxy_is_not_asked_for_this_machine_nor_for_addresses_that_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let egress = Egress::through(AddressPolicy::Public, Some(proxy)).unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let local = format!("https://{gone}");
    let evidence = fate_of(egress.send(&to(&host(&local)), post(&local), LONG).await);
    assert_eq!(evidence, Evidence::NotSent(Trouble::Connect));
    for closed in ["https://10.0.0.1", "https://169.254.169.254"] {
        let evidence = fate_of(egress.send(&to(&host(closed)), post(closed), LONG).await);
        assert!(matches!(evidence, Evidence::HostRefused { .. }), "{closed}");
    }
    let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "the proxy was asked");
}
