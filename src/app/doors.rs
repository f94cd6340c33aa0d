//! Opens the places where the API listens, by the configuration: TCP, TCP with TLS, a Unix socket.

use crate::{
    clock::Clock,
    config::{self, Config, Disk, PemFiles, PemTrouble, SocketAccess, UnixSocket},
    grpc::listening::Door,
    monitor::Certificate,
    tls::{
        self, Anchors, Parts, Rules,
        pem::PemError,
        reload::{self, Checked, Texts, Which},
        workload::{self, Taken, WorkloadApi},
    },
};
use anyhow::{Context, anyhow};
use futures_util::future::BoxFuture;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Everything that is listened at, and what has to run beside it.
pub struct Doors {
    pub open: Vec<Door>,
    /// Of TCP, as it was bound.
    pub address: Option<SocketAddr>,
    pub socket: Option<PathBuf>,
    /// Each ends with the token that it was opened with.
    pub tasks: Vec<BoxFuture<'static, ()>>,
    /// What becomes of new certificates and bundles.
    pub news: Option<mpsc::Receiver<tls::News>>,
}

/// The files of the configuration, read again and again.
struct FilesOnDisk(config::Tls);

impl Doors {
    /// A listener on the loopback alone.
    pub fn of(listener: TcpListener) -> io::Result<Self> {
        let address = Some(listener.local_addr()?);
        let open = vec![Door::Tcp(listener)];
        Ok(Self { open, address, socket: None, tasks: Vec::new(), news: None })
    }

    pub async fn open(
        config: &Config,
        clock: &Arc<dyn Clock>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let mut all = Self { open: Vec::new(), address: None, socket: None, tasks: Vec::new(), news: None };
        if let Some(listen) = config.listen {
            let server = match &config.tls {
                Some(tls) => Some(all.tls(tls, clock, stop).await?),
                None => None,
            };
            let listener = TcpListener::bind(listen)
                .await
                .with_context(|| format!("listen: {listen} cannot be bound; is another process there?"))?;
            all.address = Some(listener.local_addr()?);
            all.open.push(match server {
                Some(server) => Door::Tls(listener, server),
                None => Door::Tcp(listener),
            });
        }
        if let Some(socket) = &config.unix {
            all.open.push(Door::Unix(unix(socket)?));
            all.socket = Some(socket.path.clone());
        }
        Ok(all)
    }

    async fn tls(
        &mut self,
        tls: &config::Tls,
        clock: &Arc<dyn Clock>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Arc<tls::Server>> {
        let (used, checked) = read(tls)?;
        let agent = match (&tls.workload_api, taken(tls)) {
            (Some(address), Some(taken)) => {
                tracing::info!(address, "asking the SPIFFE agent for an identity");
                let agent = WorkloadApi::connect(address, taken).await;
                Some(agent.context("identity.spiffe.workload_api")?)
            }
            (Some(_) | None, _) => None,
        };
        let given = agent.as_ref().map(WorkloadApi::given).transpose()?;
        let certificate = checked.certificate().or(given.as_ref().map(workload::Given::certificate));
        let certificate = certificate.ok_or_else(|| anyhow!("tls.certificate: there is none"))?;
        let mut parts = Parts { certificate, anchors: Anchors::default() };
        checked.put(&mut parts);
        if let (Some(agent), Some(given)) = (&agent, given) {
            agent.put(given, &mut parts);
        }
        let clients = match tls.clients {
            config::Clients::Required => tls::Clients::Required,
            config::Clients::Optional => tls::Clients::Optional,
        };
        let rules = Rules { clients, names: tls.names.clone() };
        let server = Arc::new(tls::Server::new(parts, rules, clock.clone())?);
        server.warn_of_the_end();
        self.news = server.news();
        let source = Arc::new(FilesOnDisk(tls.clone()));
        self.tasks.push(Box::pin(reload::follow(server.clone(), source, used, tls.reload, stop.clone())));
        if let Some(agent) = agent {
            self.tasks.push(Box::pin(agent.follow(server.clone(), stop.clone())));
        }
        Ok(server)
    }
}

/// Looks at the certificate that whoever comes in is shown at the time.
pub(super) fn certificate(open: &[Door]) -> Certificate {
    let server = open.iter().find_map(|door| match door {
        Door::Tls(_, server) => Some(Arc::downgrade(server)),
        Door::Tcp(_) | Door::Unix(_) => None,
    });
    Box::new(move || server.as_ref()?.upgrade()?.validity())
}

/// What can be said of the configuration without listening.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    config.tls.as_ref().map_or(Ok(()), |tls| Ok(read(tls).map(drop)?))
}

pub(super) fn taken(tls: &config::Tls) -> Option<Taken> {
    let certificate = tls.certificate == config::Certificate::WorkloadApi;
    let bundles = tls.bundles == config::Bundles::WorkloadApi;
    match (certificate, bundles) {
        (true, true) => Some(Taken::Both),
        (true, false) => Some(Taken::Certificate),
        (false, true) => Some(Taken::Bundles),
        (false, false) => None,
    }
}

pub(super) fn read(tls: &config::Tls) -> Result<(Texts, Checked), PemTrouble> {
    let files = tls.read(&Disk)?;
    let texts = texts(files);
    let checked = texts.check().map_err(|(which, err)| trouble(tls, &which, err))?;
    Ok((texts, checked))
}

fn texts(files: PemFiles) -> Texts {
    Texts {
        certificate: files.certificate.map(|(chain, key)| (chain.text, key.text)),
        bundles: files.bundles.into_iter().map(|(domain, pem)| (domain, pem.text)).collect(),
        pki: files.ca.map(|pem| pem.text),
    }
}

/// Names the key, the file and the mend.
fn trouble(tls: &config::Tls, which: &Which, err: PemError) -> PemTrouble {
    let (cert, key) = match &tls.certificate {
        config::Certificate::Files { cert, key } => (cert.clone(), key.clone()),
        config::Certificate::WorkloadApi => (PathBuf::new(), PathBuf::new()),
    };
    let (name, path) = match which {
        Which::Chain => ("tls.cert_file", cert),
        Which::Key => ("tls.key_file", key),
        Which::Pki => ("identity.dns.ca_file", tls.ca_file.clone().unwrap_or_default()),
        Which::Bundle(domain) => {
            let folder = match &tls.bundles {
                config::Bundles::Files(folder) => folder.clone(),
                config::Bundles::Nowhere | config::Bundles::WorkloadApi => PathBuf::new(),
            };
            ("identity.spiffe.bundles_dir", folder.join(format!("{domain}.pem")))
        }
    };
    PemTrouble { key: name, path, problem: err.to_string(), mend: err.mend().to_owned() }
}

impl reload::Source for FilesOnDisk {
    fn read(&self) -> Result<Texts, String> {
        self.0.read(&Disk).map(texts).map_err(|trouble| trouble.to_string())
    }

    fn tell(&self, which: &Which, err: PemError) -> String {
        trouble(&self.0, which, err).to_string()
    }
}

/// Binds the socket, with its mode set before anybody can connect.
fn unix(socket: &UnixSocket) -> anyhow::Result<UnixListener> {
    let path = &socket.path;
    let told = || format!("unix.path: {}", path.display());
    free(path).with_context(told)?;
    let mode = match socket.access {
        SocketAccess::Owner => 0o600,
        SocketAccess::Group => 0o660,
    };
    let bound = || -> io::Result<UnixListener> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        rustix::net::listen(&fd, BACKLOG)?;
        UnixListener::from_std(fd.into())
    };
    bound()
        .with_context(told)
        .context("the socket cannot be made; does its folder exist, and may this process write there?")
}

/// Removes what a process left there that is gone.
fn free(path: &Path) -> anyhow::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err).context("cannot be looked at"),
    };
    anyhow::ensure!(
        there.file_type().is_socket(),
        "is there and is no socket: choose another path, or remove it"
    );
    match UnixStream::connect(path) {
        Ok(_) => Err(anyhow!("another process listens there: stop it, or choose another path")),
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).context("a socket is left there that cannot be removed")
        }
        Err(err) => Err(err).context("a socket is there that cannot be asked whether somebody listens"),
    }
}
