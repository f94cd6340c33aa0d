//! Where connections come in: sockets of this machine, TCP, TCP with TLS. Says of each who is on the other end, and
//! bounds what those cost who are nobody yet: handshakes are many at once, short, and the oldest makes room for the next.

use crate::{access::caller::Peer, limits::Strikes, tls};
use futures_util::{Stream, stream};
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsFd as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{AbortHandle, JoinSet},
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// After an error of the system's, such as too many open files: the next try would end the same.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refused connections are told at most this often; those between are counted.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(1);

/// One place to listen at.
#[derive(Debug)]
pub enum Door {
    Tcp(TcpListener),
    Tls(TcpListener, Arc<tls::Server>),
    Unix(UnixListener),
}

/// What connections may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest handshake, and longest wait for the first byte after it.
    pub handshake: Duration,
    /// Handshakes at once at one door.
    pub handshakes: usize,
    /// Connections at once at one door, handshakes among them.
    pub connections: usize,
    /// Longest that a connection is kept after its handshake, whatever is under way on it. To be longer than any call
    /// takes that was begun before the peer was asked to leave: a peer may ignore that.
    pub longest: Duration,
}

/// What calls are told of the connection that they came by.
#[derive(Debug, Clone)]
pub struct Joined {
    pub peer: Peer,
    pub strikes: Arc<Strikes>,
}

/// A connection whose other end is known.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    joined: Joined,
    patience: Patience,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// How long a connection is kept.
#[derive(Debug)]
enum Patience {
    /// Nothing was read yet: until when it has to be, and until when the connection may last.
    FirstByte(Pin<Box<Sleep>>, Instant),
    /// As long as the client's certificate, and as [`Bounds::longest`] at most.
    Lasting(Pin<Box<Sleep>>),
}

struct Acceptor {
    door: Door,
    bounds: Bounds,
    room: Arc<Semaphore>,
    shaking: JoinSet<Result<Connection, Refused>>,
    /// The same handshakes, oldest first.
    order: VecDeque<AbortHandle>,
    complaints: Complaints,
}

struct Refused {
    from: SocketAddr,
    why: String,
}

/// So that strangers cannot fill the log.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

/// All connections of all doors. Dropped, the doors are closed and handshakes broken off.
pub fn incoming(doors: Vec<Door>, bounds: Bounds) -> impl Stream<Item = io::Result<Connection>> {
    stream::select_all(doors.into_iter().map(|door| {
        let acceptor = Acceptor {
            door,
            bounds,
            room: Arc::new(Semaphore::new(bounds.connections)),
            shaking: JoinSet::new(),
            order: VecDeque::new(),
            complaints: Complaints::default(),
        };
        Box::pin(stream::unfold(acceptor, |mut acceptor| async {
            let connection = acceptor.next().await;
            Some((Ok(connection), acceptor))
        }))
    }))
}

impl Door {
    /// The same place to listen at, once more: whichever accepts has the connection.
    pub fn another(&self) -> io::Result<Self> {
        let tcp = |listener: &TcpListener| {
            TcpListener::from_std(std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?))
        };
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(tcp(listener)?),
            Self::Tls(listener, server) => Self::Tls(tcp(listener)?, server.clone()),
            Self::Unix(listener) => {
                let again = listener.as_fd().try_clone_to_owned()?;
                Self::Unix(UnixListener::from_std(std::os::unix::net::UnixListener::from(again))?)
            }
        })
    }
}

/// What a listening socket gave.
enum Came {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Acceptor {
    async fn next(&mut self) -> Connection {
        loop {
            let came = tokio::select! {
                came = accept(&self.door) => came,
                Some(shaken) = self.shaking.join_next() => match shaken {
                    Ok(Ok(connection)) => return connection,
                    Ok(Err(refused)) => {
                        self.complaints.say(refused.from, &refused.why);
                        continue;
                    }
                    // One that made room for another, and was counted then.
                    Err(_) => continue,
                },
            };
            match came {
                Ok(came) => {
                    if let Some(connection) = self.take(came) {
                        return connection;
                    }
                }
                Err(err) if is_of_one_connection(&err) => {}
                Err(err) => {
                    tracing::error!(kind = %err.kind(), "connections cannot be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A connection that is ready at once; one with a handshake to do comes later.
    fn take(&mut self, came: Came) -> Option<Connection> {
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            if let Came::Tcp(_, from) = came {
                self.complaints
                    .say(from, "there are as many connections as there may be (limits.connections)");
            }
            return None;
        };
        match came {
            Came::Unix(stream) => {
                let of = stream.peer_cred().ok()?;
                let peer = Peer::Unix { uid: of.uid(), gid: of.gid() };
                Some(Connection::new(Io::Unix(stream), peer, self.bounds, None, room))
            }
            Came::Tcp(stream, from) => {
                // Without this, an answer in two packets waits until the peer has acknowledged the first, which a
                // peer may put off for 40 ms (RFC 896, RFC 1122 section 4.2.3.2).
                stream.set_nodelay(true).ok()?;
                let Door::Tls(_, server) = &self.door else {
                    let io = Io::Tcp(stream);
                    return Some(Connection::new(io, Peer::Loopback, self.bounds, None, room));
                };
                let shaken = shake(server.clone(), stream, from, self.bounds, room);
                self.order.push_back(self.shaking.spawn(shaken));
                self.make_room(from);
                None
            }
        }
    }

    /// Somebody who is silent must not keep others out: honest handshakes take milliseconds, so the oldest goes.
    fn make_room(&mut self, from: SocketAddr) {
        self.order.retain(|handshake| !handshake.is_finished());
        if self.order.len() > self.bounds.handshakes
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
            self.complaints.say(from, "handshakes are broken off before their time: there are too many");
        }
    }
}

async fn accept(door: &Door) -> io::Result<Came> {
    match door {
        Door::Tcp(listener) | Door::Tls(listener, _) => {
            let (stream, from) = listener.accept().await?;
            Ok(Came::Tcp(stream, from))
        }
        Door::Unix(listener) => Ok(Came::Unix(listener.accept().await?.0)),
    }
}

/// What went wrong with one connection says nothing of the next.
fn is_of_one_connection(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn shake(
    server: Arc<tls::Server>,
    stream: TcpStream,
    from: SocketAddr,
    bounds: Bounds,
    room: OwnedSemaphorePermit,
) -> Result<Connection, Refused> {
    let refused = |err| Refused { from, why: tls::why(&err) };
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let shaken = timeout(bounds.handshake, server.accept(stream)).await.map_err(late).map_err(refused)?;
    let (stream, client) = shaken.map_err(refused)?;
    let proven = client.as_ref().map(|client| server.left(client));
    let peer = Peer::Tls(client.map(|client| client.certificate));
    Ok(Connection::new(Io::Tls(Box::new(stream)), peer, bounds, proven, room))
}

impl Complaints {
    fn say(&mut self, from: SocketAddr, why: &str) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now < last + COMPLAINT_PAUSE) {
            self.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        self.last = Some(now);
        tracing::info!(%from, why, unsaid, "connection refused");
    }
}

impl Connection {
    fn new(io: Io, peer: Peer, bounds: Bounds, proven: Option<Duration>, room: OwnedSemaphorePermit) -> Self {
        let joined = Joined { peer, strikes: Arc::default() };
        let until = Instant::now() + proven.map_or(bounds.longest, |proven| proven.min(bounds.longest));
        let patience = Patience::FirstByte(Box::pin(sleep(bounds.handshake)), until);
        Self { io, joined, patience, _room: room }
    }
}

impl Connected for Connection {
    type ConnectInfo = Joined;

    fn connect_info(&self) -> Joined {
        self.joined.clone()
    }
}

impl Patience {
    /// To be asked before anything is read or written: who reads nothing keeps its server writing, and would never be read
    /// from again.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let (Self::FirstByte(sleep, _) | Self::Lasting(sleep)) = self;
        match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn first_byte_came(&mut self) {
        if let Self::FirstByte(_, until) = self {
            *self = Self::Lasting(Box::pin(sleep_until(*until)));
        }
    }
}

macro_rules! with {
    ($io:expr, $each:ident => $do:expr) => {
        match $io {
            Io::Tcp($each) => $do,
            Io::Tls($each) => $do,
            Io::Unix($each) => $do,
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.patience.poll_over(cx)?;
        let before = buf.filled().len();
        let polled = with!(&mut self.io, io => Pin::new(io).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.patience.first_byte_came();
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.patience.poll_over(cx)?;
        with!(&mut self.io, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.patience.poll_over(cx)?;
        with!(&mut self.io, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        with!(&self.io, io => io.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.patience.poll_over(cx)?;
        with!(&mut self.io, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.patience.poll_over(cx)?;
        with!(&mut self.io, io => Pin::new(io).poll_shutdown(cx))
    }
}

#[cfg(test)]
#[path = "listening_tests.rs"]
mod tests;
