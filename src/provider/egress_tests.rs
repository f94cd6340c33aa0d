//! What is known of a request, tried against listeners that misbehave.

use super::*;
use crate::provider::rig;
use std::{future::Future, io::ErrorKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;

const ONE_SECOND: &str = "exchange_timeout = \"1s\"";

fn profile(base: &str, lines: &str) -> Profile {
    rig::profile("generic-oauth2", &format!("token_endpoint = \"{base}/token\"\n{lines}"))
}

fn post(profile: &Profile) -> Outgoing {
    Outgoing {
        method: Method::POST,
        url: profile.token_endpoint.clone().unwrap(),
        headers: HeaderMap::new(),
        body: b"refresh_token=canary".to_vec(),
    }
}

async fn send(profile: &Profile) -> Result<Reply, Evidence> {
    Egress::new(AddressPolicy::LoopbackOnly)
        .unwrap()
        .send(profile, post(profile), profile.exchange_timeout)
        .await
}

/// Sends to a listener that does this with each connection; gives what became of it, and how many connections came.
async fn against<F, Done>(scheme: &str, lines: &str, server: F) -> (Result<Reply, Evidence>, usize)
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
    let outcome = send(&profile(&base, lines)).await;
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
    assert_eq!(fate_of(send(&profile(&base, "")).await), Evidence::NotSent(Trouble::Connect));
}

#[tokio::test]
async fn a_broken_handshake_proves_that_nothing_was_sent() {
    let (outcome, connections) = against("https", "", async |mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        hang(stream).await;
    })
    .await;
    assert_eq!((fate_of(outcome), connections), (Evidence::NotSent(Trouble::Tls), 1));
    let (outcome, connections) = against("https", "", async |stream| drop(stream)).await;
    assert!(matches!(fate_of(outcome), Evidence::NotSent(Trouble::Tls | Trouble::Connect)));
    assert_eq!(connections, 1);
}

#[tokio::test]
async fn a_handshake_that_hangs_proves_that_nothing_was_sent() {
    let (outcome, _) = against("https", "", hang).await;
    assert_eq!(fate_of(outcome), Evidence::NotSent(Trouble::Timeout));
}

#[tokio::test]
async fn after_the_connection_every_silence_leaves_the_fate_open_and_nothing_is_sent_twice() {
    let (outcome, connections) = against("http", "", async |stream| drop(stream)).await;
    assert_eq!((fate_of(outcome), connections), (Evidence::Lost(Trouble::Reset), 1));

    let (outcome, connections) = against("http", "", async |mut stream| {
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

    let (outcome, connections) = against("http", "", async |mut stream| {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").await.unwrap();
    })
    .await;
    assert_eq!((fate_of(outcome), connections), (Evidence::Lost(Trouble::Reset), 1));
}

#[tokio::test]
async fn a_body_that_does_not_come_whole_leaves_the_fate_open() {
    let (outcome, _) = against("http", "", async |mut stream| {
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
        let (outcome, _) = against("http", "", move |mut stream| async move {
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
    let (outcome, _) = against("http", "", async |mut stream| {
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
    let (outcome, connections) = against("http", "", async |mut stream| {
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
    let profile = profile(&format!("http://{}", listener.local_addr().unwrap()), "");
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
    let egress = Egress::new(AddressPolicy::LoopbackOnly).unwrap();
    for asked in 1..=3 {
        assert_eq!(
            egress.send(&profile, post(&profile), profile.exchange_timeout).await.ok().unwrap().status,
            200
        );
        // Time for a client that keeps connections to take this one back.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(*counted.borrow(), asked);
    }
}

#[tokio::test]
async fn hosts_outside_the_profile_or_the_policy_see_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut profile = profile(&format!("http://127.0.0.1:{port}"), "");
    let egress = Egress::new(AddressPolicy::LoopbackOnly).unwrap();

    profile.hosts = vec![crate::domain::profile::HostPattern("127.0.0.2:*".into())];
    let evidence = fate_of(egress.send(&profile, post(&profile), profile.exchange_timeout).await);
    assert_eq!(evidence, Evidence::HostRefused { host: "127.0.0.1".into() });

    // `example.com` may never be asked for here, not even by the resolver.
    let foreign = rig::profile("generic-oauth2", "token_endpoint = \"https://example.com/token\"");
    let evidence = fate_of(egress.send(&foreign, post(&foreign), foreign.exchange_timeout).await);
    assert_eq!(evidence, Evidence::HostRefused { host: "example.com".into() });

    let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "somebody connected");
}

#[tokio::test]
async fn a_name_of_this_machine_is_resolved_to_this_machine_only() {
    let resolved = |policy, name: &'static str| async move {
        Resolver(policy).resolve(name.parse().unwrap()).await.map(Iterator::collect::<Vec<_>>)
    };
    for policy in [AddressPolicy::LoopbackOnly, AddressPolicy::Public] {
        let addresses = resolved(policy, "localhost").await.unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback()));
    }
    // A literal passes the system's resolver untouched, so that the check can be seen without a network.
    let refused = resolved(AddressPolicy::LoopbackOnly, "192.0.2.1").await.unwrap_err();
    assert!(refused.is::<AddressRefused>());
    assert!(resolved(AddressPolicy::Public, "192.0.2.1").await.is_ok());
}

#[test]
fn errors_do_not_print_what_was_sent() {
    let refused = refused(&Url::parse("https://example.com/?canary").unwrap());
    assert!(!format!("{refused:?}").contains("canary"));
}
