//! Strangers at the doors: they are told apart, they do not hold others up, and they do not stay.

use super::*;
use crate::{
    access::caller::Identity,
    tls::{Anchors, Clients, Server, authority},
};
use futures_util::StreamExt as _;
use rustls::version::TLS13;
use std::fmt::Debug;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsConnector, client};

const ID: &str = "spiffe://example.org/billing";
const BOUNDS: Bounds = Bounds {
    handshake: Duration::from_secs(5),
    handshakes: 8,
    connections: 32,
    longest: Duration::from_hours(2),
};
/// For what takes milliseconds, on a machine that builds something else meanwhile.
const SOON: Duration = Duration::from_secs(20);

struct House {
    authority: authority::Authority,
    address: SocketAddr,
}

/// A listener with TLS whose connections come out of the stream.
async fn house(bounds: Bounds) -> (House, impl Stream<Item = io::Result<Connection>> + Unpin) {
    let authority = authority::Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let anchors =
        Anchors { files: [("example.org".parse().unwrap(), authority.roots())].into(), ..Anchors::default() };
    let server: Server = authority::server(&authority, anchors, Clients::Required, &[]);
    let incoming = incoming(vec![Door::Tls(listener, Arc::new(server))], bounds);
    (House { authority, address }, Box::pin(incoming))
}

impl House {
    async fn call(&self) -> io::Result<client::TlsStream<TcpStream>> {
        let svid = self.authority.svid(ID);
        let config = authority::client(&self.authority, Some(&svid), &[&TLS13]);
        let stream = TcpStream::connect(self.address).await?;
        let name = authority::SERVER_NAME.try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it should not take so long")
}

/// The next connection, while a client does something.
async fn next<S, C>(incoming: &mut S, client: impl Future<Output = io::Result<C>>) -> (Connection, C)
where
    S: Stream<Item = io::Result<Connection>> + Unpin,
    C: Debug,
{
    let (came, client) = soon(async { tokio::join!(incoming.next(), client) }).await;
    (came.unwrap().unwrap(), client.unwrap())
}

#[tokio::test]
async fn who_is_silent_holds_nobody_up() {
    let (house, mut incoming) = house(Bounds { handshakes: 4, ..BOUNDS }).await;
    // More than there is room for, and some that begin well.
    let mut silent = Vec::new();
    for number in 0..10 {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await.unwrap();
        }
        silent.push(stream);
    }
    let (connection, _client) = next(&mut incoming, house.call()).await;
    let Peer::Tls(Some(shown)) = connection.connect_info().peer else { panic!("no certificate") };
    assert_eq!(shown.identity, Identity::Spiffe(ID.into()));
    // The oldest made room, and were told by the end of their connection.
    let driven = async {
        let _ = incoming.next().await;
    };
    let ended = async {
        for stream in &mut silent[..4] {
            assert!(matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)));
        }
    };
    soon(async {
        tokio::select! { () = driven => unreachable!("nobody else calls"), () = ended => {} }
    })
    .await;
}

#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let (house, mut incoming) = house(Bounds { handshake: Duration::from_millis(50), ..BOUNDS }).await;
    let mut silent = TcpStream::connect(house.address).await.unwrap();
    let driven = async {
        let _ = incoming.next().await;
    };
    let ended = async {
        let mut rest = Vec::new();
        let _ = silent.read_to_end(&mut rest).await;
    };
    soon(async {
        tokio::select! { () = driven => unreachable!("nobody else calls"), () = ended => {} }
    })
    .await;
}

#[tokio::test]
async fn who_says_nothing_after_the_handshake_is_let_go() {
    let (house, mut incoming) = house(BOUNDS).await;
    let (mut connection, mut client) = next(&mut incoming, house.call()).await;
    tokio::time::pause();
    tokio::time::advance(BOUNDS.handshake + Duration::from_millis(1)).await;
    let read = connection.read(&mut [0; 8]).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    tokio::time::resume();

    drop(connection);
    let (mut connection, mut talking) = next(&mut incoming, house.call()).await;
    talking.write_all(b"PRI").await.unwrap();
    let mut begun = [0; 3];
    soon(connection.read_exact(&mut begun)).await.unwrap();
    // As long as the certificate, an hour, and not longer.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3590)).await;
    tokio::time::resume();
    talking.write_all(b" * ").await.unwrap();
    soon(connection.read_exact(&mut begun)).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    talking.write_all(b"HTT").await.unwrap();
    assert_eq!(connection.read(&mut begun).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    drop(client.shutdown().await);
}

/// Whether or not it reads and writes, and however long its certificate is good.
#[tokio::test]
async fn nobody_stays_longer_than_connections_are_kept() {
    let bounds = Bounds { longest: Duration::from_mins(10), ..BOUNDS };
    let (house, mut incoming) = house(bounds).await;
    let (mut connection, mut client) = next(&mut incoming, house.call()).await;
    stays_no_longer(bounds.longest, &mut connection, &mut client).await;

    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let mut incoming = Box::pin(super::incoming(vec![Door::Tcp(tcp)], bounds));
    let (mut connection, mut client) = next(&mut incoming, TcpStream::connect(address)).await;
    stays_no_longer(bounds.longest, &mut connection, &mut client).await;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let mut incoming = Box::pin(super::incoming(vec![Door::Unix(unix)], bounds));
    let (mut connection, mut client) = next(&mut incoming, UnixStream::connect(&path)).await;
    stays_no_longer(bounds.longest, &mut connection, &mut client).await;
}

/// What a busy machine may take for a few bytes.
const SPARE: Duration = Duration::from_secs(10);

async fn stays_no_longer(
    longest: Duration,
    connection: &mut Connection,
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
) {
    let mut bytes = [0; 3];
    client.write_all(b"PRI").await.unwrap();
    soon(connection.read_exact(&mut bytes)).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(longest.saturating_sub(SPARE)).await;
    tokio::time::resume();
    client.write_all(b" * ").await.unwrap();
    soon(connection.read_exact(&mut bytes)).await.unwrap();
    connection.write_all(b"...").await.unwrap();
    connection.flush().await.unwrap();
    soon(client.read_exact(&mut bytes)).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(SPARE + Duration::from_secs(1)).await;
    client.write_all(b"HTT").await.unwrap();
    let late = |ended: io::Result<()>| assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    late(connection.read(&mut bytes).await.map(drop));
    late(connection.write(b"...").await.map(drop));
    late(connection.write_vectored(&[IoSlice::new(b"...")]).await.map(drop));
    late(connection.flush().await);
    late(connection.shutdown().await);
    tokio::time::resume();
}

#[tokio::test]
async fn there_are_as_many_connections_as_there_may_be() {
    let (house, mut incoming) = house(Bounds { connections: 1, ..BOUNDS }).await;
    let (first, _client) = next(&mut incoming, house.call()).await;
    let refused = async {
        tokio::select! {
            _ = incoming.next() => unreachable!("there is no room"),
            called = house.call() => called.is_err(),
        }
    };
    assert!(soon(refused).await);
    drop(first);
    let (_second, _client) = next(&mut incoming, house.call()).await;
}

#[tokio::test]
async fn each_door_says_who_came() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let mut incoming = Box::pin(incoming(vec![Door::Unix(unix), Door::Tcp(tcp)], BOUNDS));
    let (local, _client) = next(&mut incoming, TcpStream::connect(address)).await;
    assert_eq!(local.connect_info().peer, Peer::Loopback);
    let (socket, _client) = next(&mut incoming, UnixStream::connect(&path)).await;
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    assert_eq!(socket.connect_info().peer, Peer::Unix { uid, gid });
}
